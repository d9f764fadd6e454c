"""Styles of words and figures: the one place that says what a colour or a weight means.

Each colour is readable on a dark and on a light background. A word never depends on its colour: the
text says the same. Nothing is styled where stdout is no terminal, or `NO_COLOR` is set.
"""

from __future__ import annotations

STYLES = {
    "heading": "bold",
    "done": "#008700",
    "waiting": "#0087d7",
    "provisional": "#008787",
    "refused": "bold #ff0000",
    "failed": "bold #d700af",
    "missing": "bold",
}
"""A style for each meaning: done, waiting for a time, may still change, refused by WeChat, failed
by the network or by an answer that does not fit, and missing for one of these reasons or none."""

_MEANINGS = {
    "done": ("complete", "final", "works", "covered"),
    "waiting": ("unfinished", "stopped", "quota", "minute_limit", "not_ready", "not ready"),
    "provisional": ("provisional", "deferred"),
    "refused": ("partial", "unauthorised", "refused"),
    "failed": ("bug", "failed", "quarantined", "no answer"),
    "missing": ("missing", "incomplete"),
}
_STYLE_OF = {word: style for style, words in _MEANINGS.items() for word in words}


def style_of(word: str) -> str:
    """Return the style of an outcome, a state or a reason; none for any other word."""
    return _STYLE_OF.get(word, "")

"""Texts without secrets.

Everything that is printed, logged or recorded goes through here, however sure its author is of it.
What this process knows to be a secret is found in every form in which a URL, JSON or Python writes
it; what nobody told us of is found by the name in front of it, as in ``access_token=…``.
"""

from __future__ import annotations

import html
import json
import re
from urllib.parse import quote, quote_plus

from harvester.core.secret_words import MASK, mask_named

SHORTEST = 8
"""A shorter value is not looked for: it would mask ordinary words and still give itself away."""

_PERCENT = re.compile(r"%[0-9A-F]{2}")

# The forms of every known value by their first characters and their length, the longest first: all
# refresh tokens begin alike. Nothing is ever taken out: a token that was replaced is still secret,
# and a run knows some ten thousand at most.
_KNOWN: dict[str, dict[int, set[str]]] = {}


def conceal(value: str) -> None:
    """Let no text that passes `masked` or `redacted` from now on show this value."""
    for form in _forms(value):
        head, length = form[:SHORTEST], len(form)
        known = _KNOWN.get(head, {})
        if length not in known:
            known = _KNOWN[head] = dict(sorted({**known, length: set()}.items(), reverse=True))
        known[length].add(form)


def masked(text: str) -> str:
    """The text with ``***`` for every secret that is known; right for words of our own.

    Values that overlap are masked as one, so that no tail of the second is left. Cut a text only
    after this: half a secret is not recognised.
    """
    parts: list[str] = []
    done = 0
    last = len(text) - SHORTEST
    for start in [at for at in range(last + 1) if text[at : at + SHORTEST] in _KNOWN]:
        for length, forms in _KNOWN[text[start : start + SHORTEST]].items():
            if text[start : start + length] in forms:
                if start >= done:
                    parts += (text[done:start], MASK)
                done = max(done, start + length)
                break
    return "".join(parts) + text[done:]


def redacted(text: str) -> str:
    """As `masked`, and what is called a token, a secret or a ticket; right for foreign words."""
    return mask_named(masked(text))


def redacted_bytes(data: bytes) -> bytes:
    """As `redacted`, for an answer that is kept; all other bytes stay as they are."""
    return redacted(data.decode(errors="surrogateescape")).encode(errors="surrogateescape")


def _forms(value: str) -> set[str]:
    if len(value) < SHORTEST:
        return set()
    quoted = {quote(value, safe="", errors="replace"), quote(value, errors="replace")}
    quoted |= {quote_plus(value, errors="replace")}
    lower = {_PERCENT.sub(lambda match: match[0].lower(), text) for text in quoted}
    return {
        value,
        repr(value)[1:-1],
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        html.escape(value),
        *quoted,
        *lower,
    }

"""Phrases that several answers use: counts, lists, days and durations as text."""

from __future__ import annotations

from collections.abc import Iterable

from harvester.verbs.progress import duration_text


def counted(count: int, noun: str) -> str:
    """Return a number of things as text: ``1 account``, ``1,200 accounts``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def listed(items: Iterable[str], shown: int = 3) -> str:
    """Return the first items of a list, and how many more there are."""
    first = list(items)
    more = f" and {len(first) - shown:,} more" if len(first) > shown else ""
    return ", ".join(first[:shown]) + more


def seconds_text(seconds: float) -> str:
    """Write a duration as `duration_text` does, but seconds with a decimal: 9.4 s."""
    return f"{seconds:.1f} s" if seconds < 120 else duration_text(seconds)

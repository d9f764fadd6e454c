"""Phrases that several answers use: counts, lists, moments and durations as text."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

from harvester.verbs.progress import duration_text

BEIJING = dt.timezone(dt.timedelta(hours=8))


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


def full_minute(moment: dt.datetime) -> dt.datetime:
    """Return the next full minute in the time of this machine: no text is earlier than its moment.

    ``moment`` knows its time zone.
    """
    return dt.datetime.fromtimestamp(-(-moment.timestamp() // 60) * 60, dt.UTC).astimezone()


def minute_text(moment: dt.datetime) -> str:
    """Write a moment without its seconds: 2026-05-20 16:05."""
    return f"{moment:%Y-%m-%d %H:%M}"

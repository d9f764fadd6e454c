"""Phrases that several answers use: lists, moments and durations as text."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

from harvester.verbs.progress import duration_text

_BEIJING = dt.timezone(dt.timedelta(hours=8))


def listed(items: Iterable[str], shown: int = 3) -> str:
    """Return the first items of a list, and how many more there are."""
    first = list(items)
    more = f" and {len(first) - shown:,} more" if len(first) > shown else ""
    return ", ".join(first[:shown]) + more


def days_text(first: dt.date, last: dt.date) -> str:
    """Write the days between two, as ``2024-01-31`` or ``2024-01-01..2024-01-31``."""
    return str(first) if first == last else f"{first}..{last}"


def seconds_text(seconds: float) -> str:
    """Write a duration as `duration_text` does, but seconds with a decimal: 9.4 s."""
    return f"{seconds:.1f} s" if seconds < 120 else duration_text(seconds)


def minute_texts(moment: float) -> tuple[str, str]:
    """Write a moment in the time of this machine and in Beijing's, equal ones in the same zone.

    ``moment`` is in seconds since the Unix epoch.

    Both are of the next full minute, because no text may be earlier than the moment.
    """
    whole = dt.datetime.fromtimestamp(-(-moment // 60) * 60, dt.UTC)
    return f"{whole.astimezone():%Y-%m-%d %H:%M}", f"{whole.astimezone(_BEIJING):%Y-%m-%d %H:%M}"

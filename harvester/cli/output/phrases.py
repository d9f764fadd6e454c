"""Phrases that several answers use: accounts, counts, lists and days as text."""

from __future__ import annotations

from collections.abc import Iterable

from harvester.core.calendar import Day, day_text
from harvester.core.inert_text import inert


def named(appid: str, name: str) -> str:
    """Return an account as text: its appid, and the name beside it if there is one."""
    return f"{appid} {inert(name)}" if name else appid


def counted(count: int, noun: str) -> str:
    """Return a number of things as text: ``1 account``, ``1,200 accounts``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def listed(items: Iterable[str], shown: int = 3) -> str:
    """Return the first items of a list, and how many more there are."""
    first = list(items)
    more = f" and {len(first) - shown:,} more" if len(first) > shown else ""
    return ", ".join(first[:shown]) + more


def range_text(begin: Day, end: Day) -> str:
    """Write days as ``2024-01-31`` or ``2024-01-01..2024-01-31``."""
    return day_text(begin) if begin == end else f"{day_text(begin)}..{day_text(end)}"


def seconds_text(seconds: float) -> str:
    """Write a duration in its largest unit: 9.4 s, 12 min, 3.5 h, 9.2 days."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    if seconds < 7_200:
        return f"{seconds / 60:.0f} min"
    if seconds < 172_800:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86_400:.1f} days"

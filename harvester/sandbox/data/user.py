"""Rows of the two user datasets: new and lost followers by channel, and their number.

The number of followers is a function of the day alone. New and lost followers are derived from it,
so the net of ``user_summary`` is exactly the change of ``user_cumulate``.
"""

from __future__ import annotations

from harvester.core.calendar import Day
from harvester.sandbox.data.account import Row, audience_of, followers, split, words

CHANNELS = (0, 1, 17, 30, 57, 100, 149, 161, 200, 201)
"""``user_source``: through which people begin to follow an account."""

_CAME = (40, 250, 60, 330, 150, 50, 40, 50, 20, 10)
_LEFT = (80, 230, 40, 400, 130, 70, 20, 20, 5, 5)
"""New and lost followers of each of CHANNELS, in thousandths."""


def summary_rows(appid: str, day: Day) -> list[Row]:
    """Return a row for each channel with new or lost followers.

    A day without any has one row of zeros, and sometimes no row.
    """
    *_, churn = audience_of(appid)
    lucky, lot, left_lot, idle = words(f"user {day} {appid}", 4)
    count = followers(appid, day)
    change = count - followers(appid, day - 1)
    left = max(count * churn + (lucky << 4) >> 20, -change)
    came_by = split(left + change, _CAME, lot)
    left_by = split(left, _LEFT, left_lot)
    rows = [
        _row(source, came, gone)
        for source, came, gone in zip(CHANNELS, came_by, left_by, strict=True)
        if came or gone
    ]
    return rows or ([_row(0, 0, 0)] if idle % 4 else [])


def cumulate_rows(appid: str, day: Day) -> list[Row]:
    """Return the number of followers at the end of the day; every account has this row daily."""
    return [{"user_source": 0, "cumulate_user": followers(appid, day)}]


def _row(source: int, came: int, left: int) -> Row:
    return {"user_source": source, "new_user": came, "cancel_user": left}

"""Rows of the two user datasets: new and lost followers by channel, and their number.

The number of followers is a function of the day alone. New and lost followers are derived from it,
so the net of ``user_summary`` is exactly the change of ``user_cumulate``.
"""

from __future__ import annotations

from typing import NamedTuple

from harvester.core.calendar import Day
from harvester.sandbox.data.account import Row, audience_of, followers, split, words


class Channel(NamedTuple):
    """A source of followers: its share of new and lost ones in thousandths."""

    source: int
    came: int
    left: int


CHANNELS = (
    Channel(0, 40, 80),
    Channel(1, 250, 230),
    Channel(17, 60, 40),
    Channel(30, 330, 400),
    Channel(57, 150, 130),
    Channel(100, 50, 70),
    Channel(149, 40, 20),
    Channel(161, 50, 20),
    Channel(200, 20, 5),
    Channel(201, 10, 5),
)
"""Channels through which people begin to follow an account."""


def summary_rows(appid: str, day: Day) -> list[Row]:
    """Return a row for each channel with new or lost followers.

    A day without any has one row of zeros, and sometimes no row.
    """
    lucky, lot, left_lot, idle = words(f"user {day} {appid}", 4)
    count = followers(appid, day)
    change = count - followers(appid, day - 1)
    left = max(count * audience_of(appid).churn + (lucky << 4) >> 20, -change)
    came_by = split(left + change, [channel.came for channel in CHANNELS], lot)
    left_by = split(left, [channel.left for channel in CHANNELS], left_lot)
    rows = [
        _row(channel.source, came, gone)
        for channel, came, gone in zip(CHANNELS, came_by, left_by, strict=True)
        if came or gone
    ]
    return rows or ([_row(0, 0, 0)] if idle % 4 else [])


def cumulate_rows(appid: str, day: Day) -> list[Row]:
    """Return the number of followers at the end of the day; every account has this row daily."""
    return [{"user_source": 0, "cumulate_user": followers(appid, day)}]


def _row(source: int, came: int, left: int) -> Row:
    return {"user_source": source, "new_user": came, "cancel_user": left}

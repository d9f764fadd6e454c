"""Followers: who came through which door, who left, and how many there are.

The number of followers is a function of the day alone, and what came and went is made to fit: the
net of ``user_summary`` is the change of ``user_cumulate``, to the last follower.
"""

from __future__ import annotations

from typing import NamedTuple

from harvester.core.calendar import FIRST_DAY, Day, day_text, parse_day
from harvester.sandbox.data.account import Row, audience_of, followers, split, words


class Door(NamedTuple):
    """A ``user_source``: how many of 1000 come and go through it, and since when it exists."""

    source: int
    came: int
    left: int
    since: Day


DOORS = (
    Door(0, 40, 80, FIRST_DAY),
    Door(1, 250, 230, FIRST_DAY),
    Door(17, 60, 40, FIRST_DAY),
    Door(30, 330, 400, FIRST_DAY),
    Door(57, 150, 130, parse_day("2016-01-01")),
    Door(100, 50, 70, parse_day("2016-06-01")),
    Door(149, 40, 20, parse_day("2018-01-01")),
    Door(161, 50, 20, parse_day("2020-04-01")),
    Door(200, 20, 5, parse_day("2021-01-20")),
    Door(201, 10, 5, parse_day("2021-01-20")),
)
"""The channels by which people follow; numbers appear in answers when WeChat invents them."""


def summary_rows(appid: str, day: Day) -> list[Row]:
    """A row for each channel by which anybody came or had come who left.

    If nobody did, there is one row of zeros, and now and then none.
    """
    lucky, lot, left_lot, idle = words(f"user {day} {appid}", 4)
    count = followers(appid, day)
    change = count - followers(appid, day - 1)
    left = max(count * audience_of(appid).churn + (lucky << 4) >> 20, -change)
    doors = [door for door in DOORS if door.since <= day]
    came_by = split(left + change, [door.came for door in doors], lot)
    left_by = split(left, [door.left for door in doors], left_lot)
    rows = [
        _row(day, door.source, came, gone)
        for door, came, gone in zip(doors, came_by, left_by, strict=True)
        if came or gone
    ]
    return rows or ([_row(day, 0, 0, 0)] if idle % 4 else [])


def cumulate_rows(appid: str, day: Day) -> list[Row]:
    """How many followers there are at the end of the day. Every account has this row every day."""
    return [{"ref_date": day_text(day), "user_source": 0, "cumulate_user": followers(appid, day)}]


def _row(day: Day, source: int, came: int, left: int) -> Row:
    return {
        "ref_date": day_text(day),
        "user_source": source,
        "new_user": came,
        "cancel_user": left,
    }

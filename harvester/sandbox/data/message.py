"""Rows of the message datasets: messages of followers by hour, day, week and month.

Each message is one of the account's callbacks, so hours without callbacks have no messages.
Messages add up from hours to days, weeks and months; their writers do not.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from itertools import chain

from harvester.core.calendar import Day, date_of, month_begin, month_end, month_of
from harvester.core.dataset import Grain
from harvester.sandbox.data import interface
from harvester.sandbox.data.account import Row, overlap, share_of, split, words

KINDS = {1: 640, 2: 150, 3: 90, 4: 40, 6: 80}
"""``msg_type``: text, image, voice, video, link; shares of messages in thousandths."""

_NEW_WRITERS_HOURLY = 700
_NEW_WRITERS_DAILY = 450
_SINGLE_KIND_WRITERS = 600
"""New writers of 1024 in a further hour, day or kind: those who wrote in no other one."""


def period_of(grain: Grain, day: Day) -> range:
    """Return the days of the period that begins on a day; empty if none begins."""
    if grain is Grain.WEEK:
        return range(day, day if date_of(day).weekday() else day + 7)
    if grain is Grain.MONTH:
        month = month_of(day)
        return range(day, month_end(month) + 1 if day == month_begin(month) else day)
    return range(day, day + 1)


def hourly_rows(appid: str, day: Day) -> list[Row]:
    """Return a row for each hour and kind; ``ref_hour`` is the hour × 100, as in WeChat."""
    often, repeated, kinds = _habits_of(appid)
    chance = words(f"messages {day} {appid}", 48)
    rows: list[Row] = []
    for asked in interface.hourly_rows(appid, day):
        hour = asked["ref_hour"] // 100
        messages = share_of(asked["callback_count"], often, chance[hour])
        counts = split(messages, kinds, chance[24 + hour])
        rows += [
            {"ref_hour": asked["ref_hour"], **_row(kind, count - (count * repeated >> 10), count)}
            for kind, count in zip(KINDS, counts, strict=True)
            if count
        ]
    return rows


def rows_of(grain: Grain, appid: str, day: Day) -> list[Row]:
    """Return a row for each kind of messages in the period that begins on this day."""
    days = (_daily_rows(appid, each) for each in period_of(grain, day))
    return _merged(chain.from_iterable(days), _NEW_WRITERS_DAILY)


@functools.lru_cache(maxsize=16_384)
def _daily_rows(appid: str, day: Day) -> list[Row]:
    return _merged(hourly_rows(appid, day), _NEW_WRITERS_HOURLY)


def distribution_rows(grain: Grain, appid: str, day: Day) -> list[Row]:
    """Return the numbers of people who wrote 1 to 5, 6 to 10, and 10 or more messages."""
    rows = rows_of(grain, appid, day)
    users = overlap([row["msg_user"] for row in rows], _SINGLE_KIND_WRITERS)
    messages = sum(row["msg_count"] for row in rows)
    return [
        {"user_source": 0, "count_interval": interval, "msg_user": people}
        for interval, people in enumerate(_intervals(users, messages), 1)
        if people
    ]


def _intervals(users: int, messages: int) -> tuple[int, int, int]:
    """Spread people over the intervals so that they could have written that many messages."""
    spare = messages - users
    # Rounded up: 9 spare messages put a person into the highest interval, 5 into the middle one,
    # because people of the interval below could not have written all messages.
    many = min((spare + 15) // 24, users)
    some = min((spare - 9 * many + 11) // 16, users - many)
    return users - many - some, some, many


def _merged(rows: Iterable[Row], new_writers: int) -> list[Row]:
    """Merge the rows of several periods by kind; ``new_writers`` is for `overlap`."""
    by_kind: dict[int, list[Row]] = {kind: [] for kind in KINDS}
    for row in rows:
        by_kind[row["msg_type"]].append(row)
    return [
        _row(
            kind,
            overlap([row["msg_user"] for row in found], new_writers),
            sum(row["msg_count"] for row in found),
        )
        for kind, found in by_kind.items()
        if found
    ]


def _row(kind: int, users: int, messages: int) -> Row:
    """Return the members of a row for the messages of one kind, and the number of their writers."""
    return {"user_source": 0, "msg_type": kind, "msg_user": users, "msg_count": messages}


def _habits_of(appid: str) -> tuple[int, int, list[int]]:
    """Return the writing habits of an account's followers.

    These are the messages per 65536 callbacks, how many of 1024 messages are not the first one of
    their writer in an hour, and the share of each kind in 65536ths.
    """
    messages, repeated, *tastes = words(f"messages {appid}", 2 + len(KINDS))
    liked = zip(KINDS.values(), tastes, strict=True)
    shares = split(65_536, [share * (512 + taste % 1024) for share, taste in liked], 0)
    return 26_000 + messages % 26_000, repeated % 420, shares

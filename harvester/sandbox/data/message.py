"""Rows of the message datasets: messages of followers by hour, day, week and month.

Each message is one of the account's callbacks, so hours without callbacks have no messages.
Messages add up from hours to days, weeks and months; their writers do not.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from itertools import accumulate, pairwise
from typing import NamedTuple, TypeAlias

from harvester.core.calendar import Day, day_text, month_begin, month_end, month_of
from harvester.sandbox.data.account import Row, overlap, share_of, split, words
from harvester.sandbox.data.interface import hours_of

KINDS = (1, 2, 3, 4, 6)
"""``msg_type``: text, image, voice, video, link. 5 is not used."""

_KIND_SHARES = (640, 150, 90, 40, 80)
"""Messages of each kind, in thousandths."""

_NEW_WRITERS_HOURLY = 700
_NEW_WRITERS_DAILY = 450
_SINGLE_KIND_WRITERS = 600
"""New writers of 1024 in a further hour, day or kind: those who wrote in no other one."""


Period: TypeAlias = Callable[[Day], range]
"""A function that returns the days of the period that begins on a day; empty if none begins."""


class _Habit(NamedTuple):
    """Writing habits of an account's followers.

    Attributes:
        messages: Number of messages per 65536 callbacks.
        repeated: Number per 1024 messages that are not the first of their writer in the hour.
        kinds: Cumulative shares of the kinds, in the order of KINDS: messages per 65536.
    """

    messages: int
    repeated: int
    kinds: tuple[int, ...]


def week_from(day: Day) -> range:
    """Return the days of the week that begins with this day; none unless it is a Monday."""
    is_monday = (day + 3) % 7 == 0  # 1970-01-01 was a Thursday
    return range(day, day + 7 if is_monday else day)


def month_from(day: Day) -> range:
    """Return the days of the month that begins with this day; none unless it is the first."""
    month = month_of(day)
    return range(day, month_end(month) + 1 if day == month_begin(month) else day)


def single_day(day: Day) -> range:
    """Return this day alone."""
    return range(day, day + 1)


def hourly_rows(appid: str, day: Day) -> list[Row]:
    """Return a row for each hour and kind; ``ref_hour`` is the hour × 100, as in WeChat."""
    date = day_text(day)
    return [
        {"ref_date": date, "ref_hour": hour * 100, **count}
        for hour, counts in _hours(appid, day)
        for count in counts
    ]


def rows_of(appid: str, day: Day, period: Period) -> list[Row]:
    """Return a row for each kind of messages in the period that begins with this day."""
    date = day_text(day)
    return [{"ref_date": date, **count} for count in _counts(appid, period(day))]


def _count(kind: int, users: int, messages: int) -> Row:
    """Return the members of a row for the messages of one kind, and the number of their writers."""
    return {"user_source": 0, "msg_type": kind, "msg_user": users, "msg_count": messages}


def distribution_rows(appid: str, day: Day, period: Period) -> list[Row]:
    """Return the numbers of people who wrote 1 to 5, 6 to 10, and 10 or more messages."""
    counts = _counts(appid, period(day))
    users = overlap([count["msg_user"] for count in counts], _SINGLE_KIND_WRITERS)
    messages = sum(count["msg_count"] for count in counts)
    date = day_text(day)
    return [
        {"ref_date": date, "user_source": 0, "count_interval": interval, "msg_user": people}
        for interval, people in enumerate(_intervals(users, messages), 1)
        if people
    ]


def _intervals(users: int, messages: int) -> tuple[int, int, int]:
    """Spread people over the intervals so that they could have written that many messages."""
    spare = messages - users
    many = min(spare // 24, users)
    some = min((spare - 9 * many) // 16, users - many)
    few = users - many - some
    if many or messages <= 5 * few + 10 * some:
        return few, some, many
    # These people can write no more than that, so one of them moves to a higher interval.
    if spare < 9:
        return few - 1, some + 1, 0
    return (few - 1, some, 1) if few else (0, some - 1, 1)


def _counts(appid: str, days: Iterable[Day]) -> list[Row]:
    """Return the messages of all these days by kind."""
    return _merged((_day(appid, day) for day in days), _NEW_WRITERS_DAILY)


@functools.lru_cache(maxsize=16_384)
def _day(appid: str, day: Day) -> list[Row]:
    return _merged((counts for _, counts in _hours(appid, day)), _NEW_WRITERS_HOURLY)


def _merged(parts: Iterable[list[Row]], new_writers: int) -> list[Row]:
    """Merge the counts of several periods; ``new_writers`` is for `overlap`."""
    users: dict[int, list[int]] = {}
    messages: dict[int, int] = dict.fromkeys(KINDS, 0)
    for part in parts:
        for count in part:
            users.setdefault(count["msg_type"], []).append(count["msg_user"])
            messages[count["msg_type"]] += count["msg_count"]
    return [
        _count(kind, overlap(users[kind], new_writers), messages[kind])
        for kind in KINDS
        if kind in users
    ]


def _hours(appid: str, day: Day) -> list[tuple[int, list[Row]]]:
    """Return the hours with messages, in order."""
    habit = _habit_of(appid)
    chance = words(f"messages {day} {appid}", 48)
    return [
        (hour, _by_kind(habit, messages, chance[24 + hour]))
        for hour, figures in hours_of(appid, day)
        if (messages := share_of(figures["callback_count"], habit.messages, chance[hour]))
    ]


def _by_kind(habit: _Habit, messages: int, chance: int) -> list[Row]:
    """Split messages by kind; ``chance`` of 65536 decides the kind of the remainder."""
    edges = [share_of(messages, share, chance) for share in habit.kinds]
    counts = [end - begin for begin, end in pairwise([0, *edges])]
    return [
        _count(kind, count - (count * habit.repeated >> 10), count)
        for kind, count in zip(KINDS, counts, strict=True)
        if count
    ]


def _habit_of(appid: str) -> _Habit:
    messages, repeated, *tastes = words(f"messages {appid}", 2 + len(KINDS))
    liked = zip(_KIND_SHARES, tastes, strict=True)
    shares = split(65_536, [share * (512 + taste % 1024) for share, taste in liked], 0)
    return _Habit(26_000 + messages % 26_000, repeated % 420, tuple(accumulate(shares)))

"""Messages that followers wrote, by hour, day, week and month, and how many each of them wrote.

They are a part of what the account's server was asked about, so hours without callbacks have no
messages. Messages add up from hours to days, weeks and months; the people who wrote them do not.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from itertools import accumulate
from typing import NamedTuple, TypeAlias

from harvester.core.calendar import Day, day_text, month_begin, month_end, month_of
from harvester.sandbox.data.account import Row, overlap, share_of, split, words
from harvester.sandbox.data.interface import hours_of

KINDS = (1, 2, 3, 4, 6)
"""``msg_type``: text, image, voice, video, link. There is no 5."""

_KIND_SHARES = (640, 150, 90, 40, 80)
_NEW_FACES_AN_HOUR = 700
_NEW_FACES_A_DAY = 450
_BOTH_KINDS = 600


class Wrote(NamedTuple):
    """So many people wrote so many messages of one kind."""

    kind: int
    users: int
    messages: int


Days: TypeAlias = Callable[[Day], range]


class _Habit(NamedTuple):
    """How the account's followers write.

    ``wordy`` of 65536 callbacks are messages, ``again`` of 1024 messages are not their writer's
    first of the hour. ``kinds`` has each kind with how many of 65536 messages are of it or of one
    before it.
    """

    wordy: int
    again: int
    kinds: tuple[tuple[int, int], ...]


def is_monday(day: Day) -> bool:
    """Whether a week begins with this day."""
    return (day + 3) % 7 == 0  # 1970-01-01 was a Thursday


def week_of(day: Day) -> range:
    """The days of the week that begins with this day; none if it is no Monday."""
    return range(day, day + 7 if is_monday(day) else day)


def month_from(day: Day) -> range:
    """The days of the month that begins with this day; none if it is not the first."""
    month = month_of(day)
    return range(day, month_end(month) + 1 if day == month_begin(month) else day)


def just(day: Day) -> range:
    """This day alone."""
    return range(day, day + 1)


def hourly_rows(appid: str, day: Day) -> list[Row]:
    """A row for each hour and kind; ``ref_hour`` is the hour × 100, as WeChat writes it."""
    date = day_text(day)
    return [
        {
            "ref_date": date,
            "ref_hour": hour * 100,
            "user_source": 0,
            "msg_type": kind,
            "msg_user": users,
            "msg_count": messages,
        }
        for hour, wrote in _hours(appid, day)
        for kind, users, messages in wrote
    ]


def rows_of(appid: str, day: Day, days: Days) -> list[Row]:
    """A row for each kind of messages in the day, week or month that begins with this day."""
    date = day_text(day)
    return [
        {
            "ref_date": date,
            "user_source": 0,
            "msg_type": kind,
            "msg_user": users,
            "msg_count": messages,
        }
        for kind, users, messages in _period(appid, days(day))
    ]


def distribution_rows(appid: str, day: Day, days: Days) -> list[Row]:
    """How many people wrote 1 to 5, 6 to 10, and 10 messages or more in the period."""
    wrote = _period(appid, days(day))
    users = overlap([kind.users for kind in wrote], _BOTH_KINDS)
    messages = sum(kind.messages for kind in wrote)
    date = day_text(day)
    return [
        {"ref_date": date, "user_source": 0, "count_interval": interval, "msg_user": people}
        for interval, people in enumerate(_intervals(users, messages), 1)
        if people
    ]


def _intervals(users: int, messages: int) -> tuple[int, int, int]:
    """So many people could have written so many messages: 1 to 5, 6 to 10, at least 10 each."""
    spare = messages - users
    many = min(spare // 24, users)
    some = min((spare - 9 * many) // 16, users - many)
    few = users - many - some
    if many or messages <= 5 * few + 10 * some:
        return few, some, many
    # Too few people for that: one of them wrote more.
    if spare < 9:
        return few - 1, some + 1, 0
    return (few - 1, some, 1) if few else (0, some - 1, 1)


def _period(appid: str, days: Iterable[Day]) -> list[Wrote]:
    """What was written in all of these days, by kind."""
    return _together((_day(appid, day) for day in days), _NEW_FACES_A_DAY)


@functools.lru_cache(maxsize=16_384)
def _day(appid: str, day: Day) -> list[Wrote]:
    return _together((wrote for _, wrote in _hours(appid, day)), _NEW_FACES_AN_HOUR)


def _together(parts: Iterable[list[Wrote]], new_faces: int) -> list[Wrote]:
    """Several stretches of time as one."""
    users: dict[int, list[int]] = {}
    messages: dict[int, int] = dict.fromkeys(KINDS, 0)
    for part in parts:
        for wrote in part:
            users.setdefault(wrote.kind, []).append(wrote.users)
            messages[wrote.kind] += wrote.messages
    return [
        Wrote(kind, overlap(users[kind], new_faces), messages[kind])
        for kind in KINDS
        if kind in users
    ]


def _hours(appid: str, day: Day) -> list[tuple[int, list[Wrote]]]:
    """The hours in which anything was written, in order."""
    habit = _habit_of(appid)
    chance = words(f"messages {day} {appid}", 48)
    found = []
    for hour, callbacks, *_ in hours_of(appid, day):
        messages = share_of(callbacks, habit.wordy, chance[hour])
        if messages:
            found.append((hour, _wrote(habit, messages, chance[24 + hour])))
    return found


def _wrote(habit: _Habit, messages: int, chance: int) -> list[Wrote]:
    """So many messages by kind; chance says of which kind the odd ones are."""
    wrote, before = [], 0
    for kind, share in habit.kinds:
        after = share_of(messages, share, chance)
        count = after - before
        if count:
            wrote.append(Wrote(kind, count - (count * habit.again >> 10), count))
        before = after
    return wrote


@functools.lru_cache(maxsize=16_384)
def _habit_of(appid: str) -> _Habit:
    wordy, again, *taste = words(f"messages {appid}", 2 + len(KINDS))
    liked = zip(_KIND_SHARES, taste, strict=True)
    shares = split(65_536, [share * (512 + likes % 1024) for share, likes in liked], 0)
    kinds = tuple(zip(KINDS, accumulate(shares), strict=True))
    return _Habit(26_000 + wordy % 26_000, again % 420, kinds)

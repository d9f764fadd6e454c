"""Beijing days, months and sets of days.

A *day* is the number of days since 1970-01-01, which is also how Arrow stores a ``date32``. WeChat
counts in Beijing days: a fixed +08:00, since China has had no daylight saving time since 1991 and
the statistics begin on 2014-12-01.

A *month* is ``year * 12 + month - 1``, so that months compare and count like numbers.

A *day set* is an integer: bit ``n`` stands for the day ``FIRST_DAY + n``. Union, difference and
intersection are ``|``, ``& ~`` and ``&``, and ten years of one account cost 560 bytes.
"""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Callable, Iterator
from typing import TypeAlias

Day: TypeAlias = int
Month: TypeAlias = int
DaySet: TypeAlias = int

Clock: TypeAlias = Callable[[], float]
"""A source of the time, in seconds since the Unix epoch."""

EMULATED = " (emulated)"
"""Comment in the ``Date`` of an emulator that lives on another day, which is no wrong clock."""

_EPOCH = dt.date(1970, 1, 1).toordinal()


def day_of(date: dt.date) -> Day:
    """Return the day number of a calendar date."""
    return date.toordinal() - _EPOCH


FIRST_DAY: Day = day_of(dt.date(2014, 12, 1))
"""The first day WeChat has statistics for."""

NO_DAYS: DaySet = 0


def date_of(day: Day) -> dt.date:
    """Return the calendar date of a day number."""
    return dt.date.fromordinal(day + _EPOCH)


@functools.lru_cache(maxsize=16_384)
def day_text(day: Day) -> str:
    """Return the day in WeChat's spelling, ``2024-01-31``."""
    return date_of(day).isoformat()


def range_text(begin: Day, end: Day) -> str:
    """Write days as ``2024-01-31`` or ``2024-01-01..2024-01-31``."""
    return day_text(begin) if begin == end else f"{day_text(begin)}..{day_text(end)}"


@functools.lru_cache(maxsize=16_384)
def parse_day(text: str) -> Day:
    """Return the day of ``2024-01-31``, zero-padded as WeChat writes it.

    Raises ValueError for any other spelling and for days that do not exist.
    """
    if len(text) != 10 or text[4] != "-" or text[7] != "-":
        raise ValueError(f"not a day like 2024-01-31: {text[:40]!r}")
    return day_of(dt.date.fromisoformat(text))


def today(now: float) -> Day:
    """Return the Beijing day of an instant. ``now`` is in seconds since the Unix epoch."""
    return int((now + 8 * 3600) // 86_400)


def instant(day: Day, minutes: int = 0) -> float:
    """Return the instant ``minutes`` after a Beijing day begins, in seconds since 1970 UTC."""
    return day * 86_400 - 8 * 3600 + minutes * 60.0


def clock_text(minutes: int) -> str:
    """Write a time of day, in minutes since midnight, such as ``10:00``."""
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def utc_text(seconds: float) -> str:
    """Return an instant as RFC 3339 in UTC, to the second."""
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@functools.lru_cache(maxsize=16_384)
def month_of(day: Day) -> Month:
    """Return the month of a day."""
    date = date_of(day)
    return date.year * 12 + date.month - 1


def month_text(month: Month) -> str:
    """Return the month as paths spell it, ``2024-01``."""
    return f"{month // 12:04d}-{month % 12 + 1:02d}"


def parse_month(text: str) -> Month:
    """Return the month of ``2024-01``. Raises ValueError for any other text."""
    return month_of(parse_day(f"{text}-01"))


@functools.lru_cache(maxsize=1_024)
def month_begin(month: Month) -> Day:
    """Return the first day of a month."""
    return day_of(dt.date(month // 12, month % 12 + 1, 1))


def month_end(month: Month) -> Day:
    """Return the last day of a month."""
    return month_begin(month + 1) - 1


def month_length(month: Month) -> int:
    """Return the number of days in a month."""
    return month_begin(month + 1) - month_begin(month)


def day_range(begin: Day, end: Day) -> DaySet:
    """Return the days from ``begin`` to ``end``, both included; none if ``begin`` is after ``end``.

    Days before FIRST_DAY are left out because WeChat has no statistics for them.
    """
    begin = max(begin, FIRST_DAY)
    return ((1 << (end - begin + 1)) - 1) << (begin - FIRST_DAY) if begin <= end else NO_DAYS


def one_day(day: Day) -> DaySet:
    """Return the set of a single day."""
    return 1 << (day - FIRST_DAY)


def has_day(days: DaySet, day: Day) -> bool:
    """Return whether a day is in the set."""
    return day >= FIRST_DAY and bool(days >> (day - FIRST_DAY) & 1)


def newest(days: DaySet) -> Day:
    """Return the last day of a set that is not empty."""
    return FIRST_DAY + days.bit_length() - 1


def oldest(days: DaySet) -> Day:
    """Return the first day of a set that is not empty."""
    return FIRST_DAY + (days & -days).bit_length() - 1


def count_days(days: DaySet) -> int:
    """Return the number of days in the set."""
    return days.bit_count()


def add_to_counts(counts: list[DaySet], days: DaySet, level: int = 0) -> None:
    """Add ``2 ** level`` to the counts of some days: those in set ``n`` have bit ``n`` in theirs.

    So a few operations count an account on all of its days.
    """
    while days:
        counts += [NO_DAYS] * (level + 1 - len(counts))
        counts[level], days = counts[level] ^ days, counts[level] & days
        level += 1


def each_day(days: DaySet) -> Iterator[Day]:
    """Yield the days of a set, oldest first."""
    while days:
        low = days & -days
        yield FIRST_DAY + low.bit_length() - 1
        days ^= low


@functools.lru_cache(maxsize=1_024)
def month_days(month: Month) -> DaySet:
    """Return all days of a month."""
    return day_range(month_begin(month), month_end(month))


def each_month(days: DaySet) -> Iterator[Month]:
    """Yield the months that hold a day of the set, newest first."""
    while days:
        month = month_of(newest(days))
        yield month
        days &= (1 << max(0, month_begin(month) - FIRST_DAY)) - 1


def month_mask(days: DaySet, month: Month) -> int:
    """Return the month's part of a day set as a mask whose bit 0 is the first of the month."""
    offset = month_begin(month) - FIRST_DAY
    window = (1 << month_length(month)) - 1
    return days >> offset & window if offset >= 0 else NO_DAYS


def from_month_mask(mask: int, month: Month) -> DaySet:
    """Return the day set of a month's mask."""
    return mask << (month_begin(month) - FIRST_DAY)


def day_ranges(days: DaySet) -> Iterator[tuple[Day, Day]]:
    """Yield the runs of consecutive days of a set as (first, last), oldest first."""
    while days:
        begin = oldest(days)
        shifted = days >> (begin - FIRST_DAY)
        length = (~shifted & (shifted + 1)).bit_length() - 1
        yield begin, begin + length - 1
        days &= ~day_range(begin, begin + length - 1)

"""Readiness: from when on a period may be asked, and from when on an answer about it is final.

A *period* is what one row sums up: a day, a week from Monday, or a month. Its name is its first
day, as in WeChat's answers, and its age counts from its last day. All of this is arithmetic on
Beijing days. docs/datasets.md has the times of each dataset.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable

from harvester.core import calendar
from harvester.core.calendar import Day, DaySet
from harvester.core.dataset import Dataset, Grain

_WEEK = 7


def period_begin(grain: Grain, day: Day) -> Day:
    """Return the first day of the period that a day lies in."""
    if grain is Grain.WEEK:
        # FIRST_DAY is a Monday.
        return day - (day - calendar.FIRST_DAY) % _WEEK
    if grain is Grain.MONTH:
        return calendar.month_begin(calendar.month_of(day))
    return day


def period_end(grain: Grain, begin: Day) -> Day:
    """Return the last day of the period that begins on a day."""
    if grain is Grain.MONTH:
        return calendar.month_end(calendar.month_of(begin))
    return begin + _WEEK - 1 if grain is Grain.WEEK else begin


def newest_ended(grain: Grain, day: Day) -> Day:
    """Return the first day of the newest period that is over at the end of a day."""
    return period_begin(grain, period_begin(grain, day + 1) - 1)


def newest_ready(dataset: Dataset, now: float) -> Day:
    """Return the first day of the newest period that may be asked at ``now``.

    ``now`` is in seconds since the Unix epoch. A period may be asked from ``ready_minutes`` after
    the midnight that ends it.
    """
    return newest_ended(dataset.grain, _unready(dataset, now) - 1)


def newest_ready_day(datasets: Iterable[Dataset], now: float) -> Day:
    """Return the newest day up to which every period that is over may be asked at ``now``."""
    unready = (period_end(each.grain, _unready(each, now)) for each in datasets)
    return min([calendar.today(now), *unready]) - 1


def next_ready(dataset: Dataset, now: float) -> tuple[Day, float]:
    """Return the period that gets ready next, by its first day, and the moment, after ``now``.

    Both times are in seconds since the Unix epoch.
    """
    begin = _unready(dataset, now)
    return begin, ready_at(dataset, begin)


def ready_at(dataset: Dataset, begin: Day) -> float:
    """Return the moment at which the period that begins on a day gets ready."""
    return calendar.instant(period_end(dataset.grain, begin) + 1, dataset.ready_minutes)


def _unready(dataset: Dataset, now: float) -> Day:
    """Return the first day of the oldest period that may not be asked yet."""
    return period_begin(dataset.grain, calendar.today(now - dataset.ready_minutes * 60))


@functools.lru_cache(maxsize=4_096)
def periods(grain: Grain, begin: Day, end: Day) -> DaySet:
    """Return the first days of all periods that begin from ``begin`` to ``end``, both included."""
    inside = calendar.day_range(begin, end)
    if grain is Grain.WEEK:
        # The quotient is a number with a bit for each Monday since FIRST_DAY.
        weeks = (max(end, calendar.FIRST_DAY) - calendar.FIRST_DAY) // _WEEK + 1
        return inside & ((1 << _WEEK * weeks) - 1) // ((1 << _WEEK) - 1)
    if grain is Grain.MONTH:
        firsts = map(calendar.month_begin, calendar.each_month(inside))
        return inside & sum(map(calendar.one_day, firsts))
    return inside


def settled_before(dataset: Dataset, asked_at: float) -> Day:
    """Return the first day of the oldest period that an answer with rows leaves provisional.

    ``asked_at`` is the time of the request in seconds since the Unix epoch. Every older period is
    settled: its age in Beijing days is more than the dataset's ``settle``.
    """
    return period_begin(dataset.grain, calendar.today(asked_at) - dataset.settle)


def ages_from(dataset: Dataset, day: Day, first: Day) -> Day:
    """Return the Beijing day from which the ages of a period's rows count.

    That is the period's last day; or that of its first answer, if the rows were settled by then.
    """
    is_settled = day < settled_before(dataset, calendar.instant(first))
    return first if is_settled else period_end(dataset.grain, day)

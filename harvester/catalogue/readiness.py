"""When a period may be asked, and since when an answer about it can be trusted.

A *period* is what one row sums up: a day, a week from Monday, a month from its first. It is named
by its first day, as WeChat does, and its age counts from its last. All of it is arithmetic on
Beijing days; docs/datasets.md has each dataset's clock.
"""

from __future__ import annotations

import functools

from harvester.core import calendar
from harvester.core.calendar import Day, DaySet
from harvester.core.dataset import FINAL_IF_EMPTY, Dataset, Grain

_WEEK = 7


def period_begin(grain: Grain, day: Day) -> Day:
    """The first day of the period that a day lies in."""
    if grain is Grain.WEEK:
        # FIRST_DAY is a Monday.
        return day - (day - calendar.FIRST_DAY) % _WEEK
    if grain is Grain.MONTH:
        return calendar.month_begin(calendar.month_of(day))
    return day


def period_end(grain: Grain, day: Day) -> Day:
    """The last day of the period that a day lies in."""
    if grain is Grain.WEEK:
        return period_begin(grain, day) + _WEEK - 1
    if grain is Grain.MONTH:
        return calendar.month_end(calendar.month_of(day))
    return day


def newest_ready(dataset: Dataset, now: float) -> Day:
    """The first day of the newest period that may be asked at ``now``.

    ``now`` is in seconds since the Unix epoch. A period may be asked from the ready hour of the day
    after its last.
    """
    over = calendar.today(now - dataset.ready_minutes * 60) - 1
    begin = period_begin(dataset.grain, over)
    if period_end(dataset.grain, over) > over:
        begin = period_begin(dataset.grain, begin - 1)
    return begin


@functools.lru_cache(maxsize=4_096)
def periods(grain: Grain, begin: Day, end: Day) -> DaySet:
    """The first days of the periods that begin between two days, both included."""
    inside = calendar.day_range(begin, end)
    if grain is Grain.WEEK:
        weeks = (max(end, calendar.FIRST_DAY) - calendar.FIRST_DAY) // _WEEK + 1
        return inside & ((1 << _WEEK * weeks) - 1) // ((1 << _WEEK) - 1)
    if grain is Grain.MONTH:
        firsts = (
            calendar.one_day(calendar.month_begin(month)) for month in calendar.each_month(inside)
        )
        return inside & functools.reduce(int.__or__, firsts, calendar.NO_DAYS)
    return inside


def settled_before(dataset: Dataset, asked_at: float, *, empty: bool) -> Day:
    """The first day of which an answer asked for at ``asked_at`` leaves the period provisional.

    Everything before it is settled: older, in Beijing days, than the dataset's settling time, and
    if the answer has no rows older than 3 days too.
    """
    age = max(FINAL_IF_EMPTY, dataset.settle) if empty else dataset.settle
    newest_last = calendar.today(asked_at) - age - 1
    begin = period_begin(dataset.grain, newest_last)
    if period_end(dataset.grain, newest_last) > newest_last:
        return begin
    return newest_last + 1


def boundary(dataset: Dataset, today: Day) -> Day:
    """The day at which windows are cut, so that one late day never holds a whole window.

    Only answers that may be marked ``is_delay`` are judged as a whole. All others are judged day by
    day, and a cut would cost a call a day for nothing: for them it lies before all days.
    """
    return today - dataset.settle if dataset.may_be_delayed else calendar.FIRST_DAY

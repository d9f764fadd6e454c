"""Evidence for empty days: what other days, other tables and other accounts say of an account's.

An empty day rests on two answers, of different Beijing days, the second at its last age. All else
decides only when it is asked again, and is derived from the footers each time: see docs/days.md.
An account is *usual* if it had rows in half of its last 14 answered periods. A day that is empty
for 90% of the usual accounts is *empty everywhere*.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, reduce
from typing import NamedTuple

from harvester.core import calendar, readiness
from harvester.core.calendar import FIRST_DAY, NO_DAYS, Day, DaySet, has_day
from harvester.core.dataset import Dataset, Grain
from harvester.core.model import Window
from harvester.tables.coverage import AccountEvidence, AskTimes

MIN_USUAL = 5
"""Usual accounts without which no day is empty everywhere, and of such a day the sentinels."""

_PERIODS = 14
_EMPTY_SHARE = 0.9
_PICKS = 4
"""Equal parts of a stretch of old days between the days that are asked again."""
HOURLY_RUNS = 2
"""Full hours after its first answer in which a day that is empty everywhere is asked again."""
_HOUR = 3600
_LONGEST_HOLE = 35
"""Days before a day in which quiet days do not count: a longer silence makes no account usual."""
_LOOK_BACK = 450
"""Days back to which a day may be empty everywhere: 14 months and more."""
_GUIDED_AGE = 2
"""Least age at which an empty day is asked again whose guide is silent so far."""
_LIES = 20
"""A guide lies for an account if it is silent about one of so many days with rows."""
DENSE_AGES = (1, 2, 3, 7, 14, 28)
"""Ages of an empty day that is contradicted, and of one for which an account asks for the others.

A guide has rows of a contradicted day, or it lies between rows of a dataset without gaps.
"""

_NEWER = 7
"""Days after a single day that say what is usual, as far as they were answered."""

_AROUND = 14
"""Days around a single day that say so, together with those before it."""

_EXPECTED = 13
"""So many of them have rows where rows are to be expected."""


class History(NamedTuple):
    """Days of one account that were answered, and those of them that have rows.

    The rows of ``late`` days came after an empty answer, and those of ``filled`` ones did a few
    days ago.
    """

    answered: DaySet = NO_DAYS
    with_rows: DaySet = NO_DAYS
    late: DaySet = NO_DAYS
    filled: DaySet = NO_DAYS

    @property
    def empty(self) -> DaySet:
        """Days that were answered without rows."""
        return self.answered & ~self.with_rows


class GuideDays(NamedTuple):
    """Days of an account as the table has them that guides another one.

    On ``active`` days its count is above 0. ``sure`` days with another count are silent for good,
    and those in ``asked`` since their last answer.
    """

    answered: DaySet
    active: DaySet
    sure: DaySet
    asked: Mapping[Day, AskTimes]

    def is_silent(self, days: DaySet, since: float) -> bool:
        """Return whether its silence about all of these days is of a Beijing day after a time."""
        last = (self.asked.get(day, _NEVER).last for day in calendar.each_day(days & ~self.sure))
        return all(calendar.today(at) > calendar.today(since) for at in last)


_NEVER = AskTimes(0, 0)


class _DayCounts:
    """Numbers of accounts by day, which share most days."""

    def __init__(self, found: Iterable[DaySet]) -> None:
        self._counts: list[DaySet] = []
        for days in found:
            calendar.add_to_counts(self._counts, days)

    def __getitem__(self, day: Day) -> int:
        return sum(has_day(days, day) << level for level, days in enumerate(self._counts))


@dataclass
class Evidence:
    """Days of one dataset of all accounts of a run's buckets, as the files have them.

    ``histories`` are by appid, at ``now`` in seconds since the Unix epoch. ``wanted`` has the days
    that the run wants of its accounts. ``accounts`` has what was found for each that has open days.
    """

    dataset: Dataset
    now: float
    histories: Mapping[str, History]
    wanted: Mapping[str, DaySet]
    accounts: dict[str, AccountEvidence] = field(default_factory=dict)
    # Kept, because thousands of accounts have the same empty day.
    _usual: dict[Day, tuple[str, ...]] = field(default_factory=dict, init=False)
    _sentinels: dict[Day, frozenset[str]] = field(default_factory=dict, init=False)

    @property
    def today(self) -> Day:
        """The Beijing day on which the run began."""
        return calendar.today(self.now)

    def usual(self, day: Day) -> tuple[str, ...]:
        """Return the accounts that usually have rows around a day."""
        if day not in self._usual:
            quiet = self._quiet | calendar.one_day(day)
            self._usual[day] = tuple(
                appid
                for appid, history in self.histories.items()
                # One that left the manifest says nothing of the days since then.
                if history.with_rows
                and has_day(history.answered | self.wanted.get(appid, NO_DAYS), day)
                and _is_usual(history, quiet, day)
            )
        return self._usual[day]

    @cached_property
    def empty_everywhere(self) -> DaySet:
        """The recent days that are empty for 90% of the usual accounts that were asked for them."""
        return self._quiet & ~self._filled_anywhere & self.was_empty

    @cached_property
    def reopened(self) -> DaySet:
        """The days of stretches that were empty everywhere until an account got late rows.

        The days beside such a stretch are as well.
        """
        now_filled = reduce(int.__or__, (x.filled for x in self.histories.values()), NO_DAYS)
        found = NO_DAYS
        for begin, end in calendar.day_ranges(self.was_empty if now_filled else NO_DAYS):
            if calendar.day_range(begin, end) & now_filled:
                found |= calendar.day_range(max(FIRST_DAY, begin - 1), end + 1)
        return found

    @cached_property
    def was_empty(self) -> DaySet:
        """The quiet days that were empty for 90% of the usual accounts, before late rows came."""
        found = NO_DAYS
        for day in calendar.each_day(self._quiet):
            asked = [
                has_day(history.with_rows & ~history.late, day)
                for history in map(self.histories.__getitem__, self.usual(day))
                if has_day(history.answered, day)
            ]
            if len(asked) >= MIN_USUAL and asked.count(False) >= _EMPTY_SHARE * len(asked):
                found |= calendar.one_day(day)
        return found

    @cached_property
    def _filled_anywhere(self) -> DaySet:
        """The quiet days of which late rows came for more than a tenth of the accounts."""
        late = _DayCounts(history.late for history in self.histories.values())
        asked = _DayCounts(history.answered for history in self.histories.values())
        return sum(
            calendar.one_day(day)
            for day in calendar.each_day(self._quiet)
            if late[day] > (1 - _EMPTY_SHARE) * asked[day]
        )

    def expects(self, window: Window, found: DaySet) -> bool:
        """Return whether rows were to be expected of a window. Days known as empty owe none.

        ``found`` are the days of its account that had rows in this run, or may still have some.
        """
        history = self.histories.get(window.appid, History())
        days = calendar.day_range(window.begin, window.end) & ~history.empty
        own = self.accounts.get(window.appid, AccountEvidence())
        if not days or (self.dataset.span == 1 and days & own.active):
            return bool(days)
        answered = history.answered | self.wanted.get(window.appid, NO_DAYS)
        return expects_rows(self.dataset, window, History(answered, history.with_rows | found))

    def hear_guide(self, appid: str, days: DaySet) -> None:
        """Take in that an exact guide has rows of some days."""
        own = self.accounts.get(appid, AccountEvidence())
        self.accounts[appid] = own._replace(active=own.active | days)

    def sentinels(self, day: Day) -> frozenset[str]:
        """Return the accounts that are asked at each age for a day that is empty everywhere."""
        if day not in self._sentinels:
            by_digest = sorted(self.usual(day), key=lambda x: hashlib.sha256(x.encode()).digest())
            self._sentinels[day] = frozenset(by_digest[:MIN_USUAL])
        return self._sentinels[day]

    def is_due(self, appid: str, day: Day, asked: AskTimes) -> bool:
        """Return whether a provisional day without rows must be asked now."""
        today, last = self.today, calendar.today(asked.last)
        if not asked.last or last > today:
            return True
        own, first = self.accounts[appid], asked.first
        is_everywhere = has_day(self.empty_everywhere, day)
        is_sentinel = is_everywhere and appid in self.sentinels(day)
        if last == today:
            hour, since = self.now // _HOUR, first // _HOUR
            is_hourly = is_sentinel and calendar.today(first) == today
            return is_hourly and asked.last // _HOUR < hour <= since + HOURLY_RUNS
        if self.is_reopened(appid, day, asked):
            return True
        history, ages = self.histories[appid], self.dataset.refresh.empty
        if is_sentinel or has_day(own.contradicted, day):
            ages = DENSE_AGES
        elif has_day(own.thinned, day):
            ages = ages[-1:]
        elif is_everywhere or history.with_rows & after(day):
            ages = self.dataset.refresh.thin
        if has_day(own.waiting, day):
            # Its guide is asked again this morning, and may spare the question.
            ages = tuple(max(_GUIDED_AGE, age) for age in ages)
        return _is_due(ages, calendar.today(first), last, today)

    def is_reopened(self, appid: str, day: Day, asked: AskTimes) -> bool:
        """Return whether late rows, or those of a guide, took all that an empty day rests on."""
        if not asked.first:
            return True
        if not has_day(self.reopened, day):
            return False
        return has_day(self.accounts[appid].contradicted, day) or appid in self.usual(day)

    def is_due_with_rows(self, day: Day, asked: AskTimes, *, is_late: bool) -> bool:
        """Return whether a provisional day with rows must be asked now."""
        today, last = self.today, calendar.today(asked.last)
        if not asked.last or last >= today:
            return not asked.last or last > today
        first = calendar.today(asked.first)
        ages, base = self._ages_of_rows, readiness.ages_from(self.dataset, day, first)
        if is_late:
            base = calendar.today(asked.rests_on or asked.first)
        elif base != first:
            if day >= self._settled_before(last) and day < self._settled_before(today):
                return True
            ages = tuple(age for age in ages if age != self.dataset.settle)
        return _is_due(ages, base, last, today)

    @cached_property
    def _ages_of_rows(self) -> tuple[int, ...]:
        """Ages of a day with rows. Past the last one it is still open if that answer had none."""
        refresh = self.dataset.refresh
        further = (self.dataset.last_age + age for age in refresh.rows)
        return (*refresh.rows, *refresh.empty, *further)

    def _settled_before(self, on: Day) -> Day:
        return readiness.settled_before(self.dataset, calendar.instant(on))

    @cached_property
    def _quiet(self) -> DaySet:
        """The recent days without rows in time of 90% of the accounts that ever have any."""
        alive = [history for history in self.histories.values() if history.with_rows]
        recent = after(self.today - _LOOK_BACK)
        asked = _DayCounts(history.answered & recent for history in alive)
        in_time = _DayCounts(history.with_rows & ~history.late & recent for history in alive)
        empty = reduce(int.__or__, (history.empty | history.late for history in alive), NO_DAYS)
        return sum(
            calendar.one_day(day)
            for day in calendar.each_day(empty & recent)
            if asked[day] - in_time[day] >= _EMPTY_SHARE * asked[day]
        )


class GuidedDays(NamedTuple):
    """Empty days by what a guide says of them: ``silent``, ``waiting`` for it, or ``denied``."""

    silent: DaySet = NO_DAYS
    waiting: DaySet = NO_DAYS
    denied: DaySet = NO_DAYS


def guided_days(
    dataset: Dataset, with_rows: DaySet, asked: Mapping[Day, AskTimes], guide: GuideDays
) -> GuidedDays:
    """Return what a guide says of the empty days in ``asked``.

    One that is silent about a twentieth of the days with rows does not count for this account.
    """
    silent, waiting, denied = NO_DAYS, NO_DAYS, NO_DAYS
    compared = with_rows & guide.answered if _is_daily(dataset) else NO_DAYS
    lies = _LIES * calendar.count_days(compared & ~guide.active) > calendar.count_days(compared)
    for day, times in asked.items():
        period = calendar.day_range(day, readiness.period_end(dataset.grain, day))
        if period & guide.active:
            denied |= calendar.one_day(day)
        elif times.first and not lies and not period & ~guide.answered:
            if guide.is_silent(period, times.first):
                silent |= calendar.one_day(day)
            else:
                waiting |= calendar.one_day(day)
    return GuidedDays(silent, waiting, denied)


def _is_daily(dataset: Dataset) -> bool:
    return dataset.grain in (Grain.DAY, Grain.HOUR)


def old_days_to_ask(history: History, once: DaySet, again: DaySet) -> DaySet:
    """Return the old empty days that must be asked again on a later Beijing day.

    ``once`` are those that were asked once, and ``again`` those that were asked again. Of a stretch
    of empty days these are the newest, the oldest and three between, and all days if one of them
    has rows by now.
    """
    due = NO_DAYS
    for begin, end in calendar.day_ranges(once | again):
        stretch = calendar.day_range(begin, end)
        if again & history.with_rows & stretch:
            due |= once & stretch
        else:
            picks = (begin + (end - begin) * place // _PICKS for place in range(_PICKS + 1))
            due |= once & reduce(int.__or__, map(calendar.one_day, picks))
    return due


def _is_usual(history: History, quiet: DaySet, day: Day) -> bool:
    """Return whether an account had rows in half of its answered periods around a day.

    These are the last 14 before the day, and later ones if there are fewer. Quiet days do not
    count.
    """
    # Of thousands of accounts most of a sparse dataset have too few rows wherever the 14 lie.
    near = calendar.day_range(day - _LONGEST_HOLE - _PERIODS, day - 1)
    if near == history.answered & near and 2 * (history.with_rows & near).bit_count() < _PERIODS:
        return False
    known = history.answered & ~(quiet & after(day - _LONGEST_HOLE))
    older, newer = _newest(known & before(day)), known & after(day)
    counted = older
    while newer and calendar.count_days(counted) < _PERIODS:
        counted |= newer & -newer
        newer &= newer - 1
    with_rows = calendar.count_days(counted & history.with_rows)
    return 2 * with_rows >= calendar.count_days(counted) > 0


def _newest(days: DaySet) -> DaySet:
    """Return the newest 14 days of a set, or all if there are fewer."""
    length, width = days.bit_length(), 2 * _PERIODS
    while (part := days >> max(0, length - width)).bit_count() < _PERIODS and width < length:
        width *= 2
    for _ in range(part.bit_count() - _PERIODS):
        part &= part - 1
    return part << max(0, length - width)


def _is_due(ages: Iterable[int], base: Day, last: Day, today: Day) -> bool:
    """Return whether an age passed since a day was asked last. Ages count from the day ``base``."""
    return any(last - base < age <= today - base for age in ages)


def before(day: Day) -> DaySet:
    """Return all earlier days."""
    return calendar.day_range(FIRST_DAY, day - 1)


def after(day: Day) -> DaySet:
    """Return all later days; the set has no end."""
    return -1 << max(0, day + 1 - FIRST_DAY)


def expects_rows(dataset: Dataset, window: Window, history: History) -> bool:
    """Return whether an answer without rows contradicts the other days of its account."""
    begin, end = window.begin - FIRST_DAY, window.end - FIRST_DAY + 1
    rows = history.with_rows
    if dataset.gapless:
        return bool(rows & ((1 << end) - 1))
    if dataset.span > 1:
        # A row inside is one that this answer lacks.
        from_begin = rows >> begin
        inside = from_begin & ((1 << end - begin) - 1)
        return bool(inside or (from_begin and rows & ((1 << begin) - 1)))
    week = (1 << _NEWER) - 1
    older = _AROUND - calendar.count_days(history.answered >> end & week)
    before = rows >> max(0, begin - older) & ((1 << min(begin, older)) - 1)
    after = rows >> end & week
    return calendar.count_days(before) + calendar.count_days(after) >= _EXPECTED

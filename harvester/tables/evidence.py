"""Evidence for empty days: what the other days and accounts say of an answer without rows.

An empty answer is *confirmed* if it was given no earlier than the one that gave a later day of the
same account rows, or after half of the usual accounts had rows for that very day. An account is
*usual* if it had rows in half of its last 14 answered periods. A day that is empty for 90% of the
usual accounts is *empty everywhere*: WeChat may fill it after newer days, so no later day confirms
it. Old days, first asked more than `merge.OLD_AGE` days after they were over, need no peers: see
`old_days_to_ask`.
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import NamedTuple

from harvester.core import calendar, readiness
from harvester.core.calendar import FIRST_DAY, NO_DAYS, Day, DaySet, Month
from harvester.core.dataset import Dataset
from harvester.tables.coverage import AccountDays, AskTimes
from harvester.tables.merge import EmptyAnswer

MIN_USUAL = 5
"""Usual accounts without which no day is empty everywhere, and of such a day the sentinels."""

_PERIODS = 14
_EMPTY_SHARE = 0.9
_RESUMED_DAYS = 7
"""Days after the first day with rows behind a stretch of empty days until it may be final."""
_PICKS = 4
"""Equal parts of a stretch of old days between the days that are asked again."""
HOURLY_RUNS = 2
"""Full hours after its first answer in which a day that is empty everywhere is asked again."""
_HOUR = 3600
_LONGEST_HOLE = 35
"""Days before a day in which quiet days do not count: a longer silence makes no account usual."""
_MARGIN_DAYS = 40
"""Days by which a period and a delay of its first answer lengthen the time of the ages."""
_LOOK_BACK = 450
"""Days back to which a day may be empty everywhere: 14 months and more."""


class History(NamedTuple):
    """Days of one account that were answered, and those of them that have rows."""

    answered: DaySet = NO_DAYS
    with_rows: DaySet = NO_DAYS

    @property
    def empty(self) -> DaySet:
        """Days that were answered without rows."""
        return self.answered & ~self.with_rows


class _DayCounts:
    """Numbers of accounts by day, in bit planes: a few operations add an account to all days."""

    def __init__(self, found: Iterable[DaySet]) -> None:
        self._planes: list[DaySet] = []
        for carry in found:
            self._add(carry)

    def _add(self, carry: DaySet) -> None:
        for place, plane in enumerate(self._planes):
            self._planes[place], carry = plane ^ carry, plane & carry
            if not carry:
                return
        self._planes.append(carry)

    def __getitem__(self, day: Day) -> int:
        return sum(_has(plane, day) << place for place, plane in enumerate(self._planes))


@dataclass
class Evidence:
    """Days of one dataset of all accounts of a run's buckets, as the files have them.

    ``histories`` are by appid, and ``before`` is what they were when the run began at ``now``, in
    seconds since the Unix epoch. ``known_usual`` are the usual accounts by day, as far as they were
    looked up.
    """

    dataset: Dataset
    now: float
    histories: Mapping[str, History]
    before: Mapping[str, History]
    known_usual: dict[Day, tuple[str, ...]] = field(default_factory=dict)
    # Kept, because thousands of accounts have the same empty day.
    _verdicts: dict[Day, bool] = field(default_factory=dict, init=False)
    _sentinels: dict[Day, frozenset[str]] = field(default_factory=dict, init=False)

    @property
    def today(self) -> Day:
        """The Beijing day on which the run began."""
        return calendar.today(self.now)

    def with_month(self, month: Month, known: Mapping[str, AccountDays]) -> Evidence:
        """Return what the files say once accounts have these days of a month."""
        inside = calendar.month_days(month)
        found = dict(self.histories)
        for appid, days in known.items():
            old = found.get(appid, History())
            answered = calendar.from_month_mask(days.final | days.provisional, month)
            with_rows = calendar.from_month_mask(days.with_rows, month)
            found[appid] = History(
                old.answered & ~inside | answered, old.with_rows & ~inside | with_rows
            )
        return Evidence(self.dataset, self.now, found, self.before, self.known_usual)

    def reaches(self, month: Month) -> bool:
        """Return whether days of a month say anything about recent ones."""
        return calendar.month_end(month) > self.today - _LOOK_BACK

    def usual(self, day: Day) -> tuple[str, ...]:
        """Return the accounts that usually have rows around a day."""
        found = self.known_usual.get(day)
        # Looked up again in a new output, whose accounts have no rows before their first publish.
        if found is None or (len(found) < MIN_USUAL and self._is_new):
            quiet = self._quiet | calendar.one_day(day)
            found = tuple(
                appid
                for appid, history in self.histories.items()
                if history.with_rows and _is_usual(history, quiet, day)
            )
            self.known_usual[day] = found
        return found

    def is_empty_everywhere(self, day: Day) -> bool:
        """Return whether a day is empty for 90% of the usual accounts that were asked for it."""
        if not _has(self._quiet, day):
            return False
        if day not in self._verdicts:
            self._verdicts[day] = self._judge(day)
        return self._verdicts[day]

    def _judge(self, day: Day) -> bool:
        asked = [each for each in self._of_usual(day) if _has(each.answered, day)]
        empty = sum(not _has(each.with_rows, day) for each in asked)
        return len(asked) >= MIN_USUAL and empty >= _EMPTY_SHARE * len(asked)

    @cached_property
    def empty_everywhere(self) -> DaySet:
        """The recent days that are empty everywhere and may still be provisional."""
        recent = self._quiet & _after(self.today - self.dataset.refresh.empty[-1] - _MARGIN_DAYS)
        found = filter(self.is_empty_everywhere, calendar.each_day(recent))
        return sum(map(calendar.one_day, found))

    def sentinels(self, day: Day) -> frozenset[str]:
        """Return the accounts that are asked for a day that is empty everywhere.

        These are all as soon as one usual account has rows for it.
        """
        if day not in self._sentinels:
            chosen: Iterable[str] = self.histories
            if not any(_has(each.with_rows, day) for each in self._of_usual(day)):
                usual = self.usual(day)
                chosen = sorted(usual, key=lambda x: hashlib.sha256(x.encode()).digest())[
                    :MIN_USUAL
                ]
            self._sentinels[day] = frozenset(chosen)
        return self._sentinels[day]

    def settle(
        self,
        month: Month,
        empty: Mapping[str, Mapping[int, EmptyAnswer]],
        known: Mapping[str, AccountDays],
        answered_at: Mapping[Day, Mapping[str, int]],
    ) -> None:
        """Confirm and settle empty days of a month in ``known``, which is by appid.

        ``empty`` has the empty answers that were merged, and ``answered_at`` when those with rows
        were asked for, by day and appid. These histories have the answers already.
        """
        first = calendar.month_begin(month)
        half_at = cache(lambda day: self._half_at(day, answered_at.get(day, {})))
        for appid, answers in empty.items():
            days = known[appid]
            for bit, answer in answers.items():
                day, mask = first + bit, 1 << bit
                if self._is_confirmed(appid, day, answer, half_at(day)):
                    days.confirmed |= mask
                asked = days.asked.get(bit)
                # A day that is final already was asked again by a user.
                if asked is None:
                    continue
                age = answer.on - calendar.today(asked.first)
                is_confirmed = bool(days.confirmed & mask)
                if age >= self.dataset.refresh.empty[-1] or (
                    is_confirmed and self._may_settle(appid, day, answer.on)
                ):
                    days.final |= mask
                    days.provisional &= ~mask
                    del days.asked[bit]

    def waits(self, appid: str, day: Day, asked: AskTimes, *, confirmed: bool) -> bool:
        """Return whether a provisional day needs no request now."""
        first, last = calendar.today(asked.first), calendar.today(asked.last)
        refresh = self.dataset.refresh
        if not asked.last or last > self.today:
            return False
        if last == self.today:
            return first < last or not self._is_due_this_hour(appid, day, asked)
        if _has(self.histories[appid].with_rows, day):
            # After its last age it is asked every day, as while WeChat calls its rows preliminary.
            is_new = day >= self._settled_before(last, empty=False)
            is_late = is_new or self.today - first > refresh.rows[-1]
            is_settled = is_late and day < self._settled_before(self.today, empty=False)
            return not (is_settled or _is_due(refresh.rows, first, last, self.today))
        is_everywhere = self.is_empty_everywhere(day)
        if confirmed and not is_everywhere and self._may_settle(appid, day, self.today):
            return False
        is_rare = appid not in self.sentinels(day) if is_everywhere else confirmed
        ages = refresh.empty[-1:] if is_rare else refresh.empty
        return not _is_due(ages, first, last, self.today)

    def _is_due_this_hour(self, appid: str, day: Day, asked: AskTimes) -> bool:
        """Return whether a sentinel is asked again in an hour after its first answer."""
        if not self.is_empty_everywhere(day) or appid not in self.sentinels(day):
            return False
        hour, since = self.now // _HOUR, asked.first // _HOUR
        return asked.last // _HOUR < hour <= since + HOURLY_RUNS

    def _is_confirmed(self, appid: str, day: Day, answer: EmptyAnswer, half_at: float) -> bool:
        """Return whether evidence confirms an empty answer. See `_half_at`."""
        history, before = self.histories[appid], self.before.get(appid, History())
        if self.dataset.gapless and history.with_rows & _before(day):
            return False
        is_followed = answer.is_followed or bool(before.with_rows & _after(day))
        # While few accounts were asked it is not known whether the day is empty everywhere.
        is_known = 2 * self._answered[day] >= len(self.histories)
        is_isolated = is_known and not self.is_empty_everywhere(day)
        return (is_followed and is_isolated) or half_at <= answer.asked_at

    def _half_at(self, day: Day, answered_at: Mapping[str, int]) -> float:
        """Return when half of the usual accounts had rows for a day, 0 before the run.

        ``answered_at`` has when answers with rows were asked for. Without such a time it is
        infinite.
        """
        usual = self.usual(day)
        if len(usual) < MIN_USUAL:
            return math.inf
        times = sorted(
            0.0
            if _has(self.before.get(appid, History()).with_rows, day)
            else answered_at.get(appid, math.inf)
            for appid in usual
        )
        return times[(len(times) - 1) // 2]

    def _may_settle(self, appid: str, day: Day, on: Day) -> bool:
        """Return whether a confirmed empty answer that is given on a day is final."""
        if day >= self._settled_before(on, empty=True):
            return False
        history = self.histories[appid]
        older, newer = history.answered & _before(day), history.answered & _after(day)
        is_alone = (not older or _has(history.with_rows, calendar.newest(older))) and (
            not newer or _has(history.with_rows, calendar.oldest(newer))
        )
        resumed = history.with_rows & _after(day)
        return is_alone or bool(resumed and on >= calendar.oldest(resumed) + _RESUMED_DAYS)

    def _settled_before(self, on: Day, *, empty: bool) -> Day:
        return readiness.settled_before(self.dataset, calendar.instant(on), empty=empty)

    def _of_usual(self, day: Day) -> Iterable[History]:
        return (self.histories.get(appid, History()) for appid in self.usual(day))

    @cached_property
    def _is_new(self) -> bool:
        return not any(history.with_rows for history in self.before.values())

    @cached_property
    def _answered(self) -> _DayCounts:
        return _DayCounts(history.answered for history in self.histories.values())

    @cached_property
    def _quiet(self) -> DaySet:
        """The recent days without rows of 90% of the accounts that ever have any."""
        alive = [history for history in self.histories.values() if history.with_rows]
        recent = _after(self.today - _LOOK_BACK)
        asked = _DayCounts(history.answered & recent for history in alive)
        filled = _DayCounts(history.with_rows & recent for history in alive)
        empty = functools.reduce(int.__or__, (history.empty for history in alive), NO_DAYS)
        return sum(
            calendar.one_day(day)
            for day in calendar.each_day(empty & recent)
            if asked[day] - filled[day] >= _EMPTY_SHARE * asked[day]
        )


def old_days_to_ask(history: History, once: DaySet, again: DaySet) -> DaySet:
    """Return the old empty days that must be asked again on a later Beijing day.

    ``once`` are those that were asked once, and ``again`` those that were asked again. Of a stretch
    of empty days behind the first row these are the newest, the oldest and three between, and all
    days if one of them has rows by now. Before the first row one empty answer is enough.
    """
    due = NO_DAYS
    if not history.with_rows:
        return due
    behind = _after(calendar.oldest(history.with_rows))
    for begin, end in calendar.day_ranges((once | again) & behind):
        stretch = calendar.day_range(begin, end)
        if again & history.with_rows & stretch:
            due |= once & stretch
        else:
            picks = (begin + (end - begin) * place // _PICKS for place in range(_PICKS + 1))
            due |= once & functools.reduce(int.__or__, map(calendar.one_day, picks))
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
    known = history.answered & ~(quiet & _after(day - _LONGEST_HOLE))
    older, newer = _newest(known & _before(day)), known & _after(day)
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


def _is_due(ages: Iterable[int], first: Day, last: Day, today: Day) -> bool:
    """Return whether an age passed since a day was asked last. Ages count from its first answer."""
    return any(last - first < age <= today - first for age in ages)


def _has(days: DaySet, day: Day) -> bool:
    return bool(days >> (day - FIRST_DAY) & 1)


def _before(day: Day) -> DaySet:
    return calendar.day_range(FIRST_DAY, day - 1)


def _after(day: Day) -> DaySet:
    """Return all later days; the set has no end."""
    return -1 << max(0, day + 1 - FIRST_DAY)

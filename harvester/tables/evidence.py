"""Evidence for empty days: what the other days and accounts say of an answer without rows.

An empty answer is *confirmed* if it was given no earlier than the one that gave a later day of the
same account rows, or after half of the usual accounts had rows for that very day. An account is
*usual* if it had rows in half of its last 14 answered periods. A day that is empty for 90% of the
usual accounts is *empty everywhere*: WeChat may fill it after newer days, so no later day confirms
it. Old days, first asked more than `merge.OLD_AGE` days after they were over, need no peers: see
`old_days_to_ask`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, cached_property, reduce
from typing import NamedTuple

from harvester.core import calendar, readiness
from harvester.core.calendar import FIRST_DAY, NO_DAYS, Day, DaySet, Month, has_day
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

    ``histories`` are by appid, and ``before`` is what they were when the run began at ``now``, in
    seconds since the Unix epoch. ``wanted`` has the days that the run wants of its accounts.
    ``known_usual`` are the usual accounts by day, as far as they were looked up.
    """

    dataset: Dataset
    now: float
    histories: Mapping[str, History]
    before: Mapping[str, History]
    wanted: Mapping[str, DaySet]
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
        # Too few are looked up again: new accounts have no rows before their first publish.
        usual = {day: of for day, of in self.known_usual.items() if len(of) >= MIN_USUAL}
        return replace(self, histories=found, known_usual=usual)

    def reaches(self, month: Month) -> bool:
        """Return whether days of a month say anything about recent ones."""
        return calendar.month_end(month) > self.today - _LOOK_BACK

    def usual(self, day: Day) -> tuple[str, ...]:
        """Return the accounts that usually have rows around a day."""
        if day not in self.known_usual:
            quiet = self._quiet | calendar.one_day(day)
            self.known_usual[day] = tuple(
                appid
                for appid, history in self.histories.items()
                # One that left the manifest says nothing of the days since then.
                if history.with_rows
                and has_day(history.answered | self.wanted.get(appid, NO_DAYS), day)
                and _is_usual(history, quiet, day)
            )
        return self.known_usual[day]

    def is_empty_everywhere(self, day: Day) -> bool:
        """Return whether a day is empty for 90% of the usual accounts that were asked for it."""
        if not has_day(self._quiet, day):
            return False
        if day not in self._verdicts:
            self._verdicts[day] = self._judge(day)
        return self._verdicts[day]

    def _judge(self, day: Day) -> bool:
        filled = self._usual_asked(day).values()
        empty = len(filled) - sum(filled)
        return len(filled) >= MIN_USUAL and empty >= _EMPTY_SHARE * len(filled)

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
            asked = self._usual_asked(day)
            by_digest = sorted(asked, key=lambda x: hashlib.sha256(x.encode()).digest())
            chosen = self.histories if any(asked.values()) else by_digest[:MIN_USUAL]
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
                asked = days.asked.get(bit)
                age = answer.on - calendar.today(asked.first if asked else 0)
                if self._confirms(appid, day, answer, half_at(day), age):
                    days.confirmed |= mask
                # A day that is final already was asked again by a user.
                if asked is None:
                    continue
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
        if has_day(self.histories[appid].with_rows, day):
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

    def _confirms(self, appid: str, day: Day, empty: EmptyAnswer, half_at: float, age: int) -> bool:
        """Return whether evidence confirms an empty answer ``age`` days after the first one.

        See `_half_at`.
        """
        history, before = self.histories[appid], self.before.get(appid, History())
        # Wanted days that are not answered yet may have rows.
        owed = self.wanted.get(appid, NO_DAYS) & ~history.answered
        if self.dataset.gapless and (history.with_rows | owed) & _before(day):
            return False
        is_followed = empty.is_followed or bool(before.with_rows & _after(day))
        # While few accounts were asked it is not known whether the day is empty everywhere. On a
        # later day all were asked that can be.
        is_known = age > 0 or 2 * self._answered[day] >= len(self.histories)
        is_isolated = is_known and not self.is_empty_everywhere(day)
        return (is_followed and is_isolated) or half_at <= empty.asked_at

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
            if has_day(self.before.get(appid, History()).with_rows, day)
            else answered_at.get(appid, math.inf)
            for appid in usual
        )
        return times[(len(times) - 1) // 2]

    def _may_settle(self, appid: str, day: Day, on: Day) -> bool:
        """Return whether a confirmed empty answer that is given on a day is final."""
        if day >= self._settled_before(on, empty=True):
            return False
        history = self.histories[appid]
        # As if those that are not answered yet were empty.
        older = (history.answered | self.wanted.get(appid, NO_DAYS)) & _before(day)
        newer = history.answered & _after(day)
        is_alone = (not older or has_day(history.with_rows, calendar.newest(older))) and (
            not newer or has_day(history.with_rows, calendar.oldest(newer))
        )
        resumed = history.with_rows & _after(day)
        return is_alone or bool(resumed and on >= calendar.oldest(resumed) + _RESUMED_DAYS)

    def _settled_before(self, on: Day, *, empty: bool) -> Day:
        return readiness.settled_before(self.dataset, calendar.instant(on), empty=empty)

    def _usual_asked(self, day: Day) -> dict[str, bool]:
        """Return the usual accounts that were asked for a day, and whether they have rows of it."""
        usual = ((appid, self.histories[appid]) for appid in self.usual(day))
        return {appid: has_day(x.with_rows, day) for appid, x in usual if has_day(x.answered, day)}

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
        empty = reduce(int.__or__, (history.empty for history in alive), NO_DAYS)
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


def _before(day: Day) -> DaySet:
    return calendar.day_range(FIRST_DAY, day - 1)


def _after(day: Day) -> DaySet:
    """Return all later days; the set has no end."""
    return -1 << max(0, day + 1 - FIRST_DAY)

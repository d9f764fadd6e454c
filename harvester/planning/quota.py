"""The ledger of the calls spent on a Beijing day, by dataset and account.

Calls are entered in blocks before the first of a block is made, so a killed run has entered too
many rather than too few. `daily_quota` decides how many may be spent.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias, TypeVar

from harvester.core import calendar
from harvester.core.calendar import Day
from harvester.core.model import LearntRefusal, Refusal

T = TypeVar("T")

_MAX_NUMBER = 1 << 40
"""No count of calls and no time, in seconds since the Unix epoch, is greater."""

DATE_ERROR_SECONDS = 2.0
"""Error in seconds of an interval between two times that WeChat told, in whole seconds each."""

WRONG_SECONDS = 600.0
"""Offset of a clock in seconds above which the day of a ledger may be wrong."""

Calls: TypeAlias = dict[str, dict[str, int]]
"""Numbers of calls by dataset and appid."""


class Moment(NamedTuple):
    """A moment by a run's clock, and by the elapsed time of its machine.

    ``at`` is in seconds since the Unix epoch, and ``offset`` is WeChat's time minus ``at``, None if
    WeChat did not tell it. ``elapsed`` counts seconds since the machine's start, which ``boot``
    names; it is empty if the system has no name for it.
    """

    at: float = 0.0
    boot: str = ""
    elapsed: float = 0.0
    offset: float | None = None

    def is_of_boot(self, other: Moment) -> bool:
        """Return whether the elapsed times of two moments can be compared."""
        return bool(self.boot) and self.boot == other.boot


_UNKNOWN = Moment()


@dataclass(slots=True)
class DayLedger:
    """The ledger of one bucket on one Beijing day.

    ``run`` is the run that wrote it, and ``in_use`` is true until that run has ended in order.
    WeChat's rate limit may count ``recent_calls`` of each account until ``idle_from``, in seconds
    since the Unix epoch by the clock of ``written``, the moment of the last writing; of a ledger in
    use their number is unknown, and they count for ``period`` seconds. ``exhausted`` has WeChat's
    refusals of spent quotas, ``deferred`` the refusals for which the rest of a dataset was not
    asked, and ``merged_checks`` the checks whose calls are included.
    """

    day: Day
    run: str = ""
    in_use: bool = False
    period: float = 0.0
    idle_from: float = 0.0
    recent_calls: int = 0
    calls: Calls = field(default_factory=dict)
    exhausted: dict[str, dict[str, Refusal]] = field(default_factory=dict)
    deferred: dict[str, dict[str, LearntRefusal]] = field(default_factory=dict)
    merged_checks: list[str] = field(default_factory=list)
    written: Moment = _UNKNOWN

    def __post_init__(self) -> None:
        """Raise ValueError for numbers that no run enters: negative, infinite or beyond all use."""
        calls = [number for of in self.calls.values() for number in of.values()]
        codes = [refusal.errcode for of in self.exhausted.values() for refusal in of.values()]
        times = (self.period, self.idle_from, self.recent_calls)
        learnt = [each for of in self.deferred.values() for each in of.values()]
        days = [day for each in learnt for day in (each.since, each.on, each.times)]
        codes += [each.refusal.errcode for each in learnt]
        if not are_counts((*times, *calls, *days, *map(abs, codes))):
            raise ValueError("numbers that no ledger has")

    def spent(self, dataset: str, appid: str) -> int:
        """Return the number of calls entered."""
        return self.calls.get(dataset, {}).get(appid, 0)

    def add(self, dataset: str, appid: str, calls: int) -> None:
        """Enter calls; a negative number returns them."""
        of_dataset = self.calls.setdefault(dataset, {})
        of_dataset[appid] = of_dataset.get(appid, 0) + calls

    def exhaust(self, dataset: str, appid: str, refusal: Refusal) -> None:
        """Enter WeChat's refusal of a spent quota."""
        self.exhausted.setdefault(dataset, {})[appid] = refusal

    def exhausted_by(self, dataset: str, appid: str) -> Refusal | None:
        """Return WeChat's refusal of the spent quota, None if there was none."""
        return self.exhausted.get(dataset, {}).get(appid)

    def learn(self, dataset: str, appid: str, refusal: LearntRefusal | None) -> None:
        """Enter the refusal for which the rest of a dataset was not asked; None removes it."""
        if refusal is not None:
            self.deferred.setdefault(dataset, {})[appid] = refusal
        else:
            self.deferred.get(dataset, {}).pop(appid, None)

    def inherit(self, earlier: DayLedger) -> None:
        """Take over what a ledger of an earlier day has learnt, if no run has used this one."""
        if not self.run and earlier.day < self.day:
            self.deferred = earlier.deferred

    def merge(self, check: DayLedger) -> None:
        """Include the calls of a check on this day, once."""
        if check.run in self.merged_checks:
            return
        self.merged_checks.append(check.run)
        for dataset, of_dataset in check.calls.items():
            for appid, calls in of_dataset.items():
                self.add(dataset, appid, calls)
        if not self.run:
            # Without a ledger of its own the bucket has the check's.
            self.written = check.written
        # Both in seconds of one clock, because it may have been set in between.
        own, other = _idle_on_one_clock(self, check)
        together = abs(own - other) < (self if own > other else check).period
        recent = check.recent_calls if other >= own else self.recent_calls
        self.recent_calls = self.recent_calls + check.recent_calls if together else recent
        self.idle_from += max(0.0, other - own)

    def copied_calls(self) -> Calls:
        """Return a copy of the numbers of calls."""
        return {dataset: {**of_dataset} for dataset, of_dataset in self.calls.items()}

    def add_to(self, theirs: DayLedger, base: Calls) -> None:
        """Add what was entered here since ``base`` to the ledger that another run has written."""
        entered, self.calls = self.calls, theirs.copied_calls()
        for dataset, of_dataset in entered.items():
            known = base.get(dataset, {})
            for appid, calls in of_dataset.items():
                self.add(dataset, appid, calls - known.get(appid, 0))
        self.exhausted = _union(theirs.exhausted, self.exhausted)
        self.deferred = _union(theirs.deferred, self.deferred)
        self.merged_checks = [*dict.fromkeys([*theirs.merged_checks, *self.merged_checks])]
        self.in_use |= theirs.in_use
        self.enter_recent(theirs.recent_calls, theirs.idle_from)

    def enter_recent(self, calls: int, idle_from: float) -> None:
        """Enter an account's calls that WeChat's rate limit may count until ``idle_from``."""
        self.recent_calls = max(self.recent_calls, calls)
        self.idle_from = max(self.idle_from, idle_from)

    def forget(self, dataset: str, appid: str) -> None:
        """Treat the quota as unspent, because the user says that it is."""
        self.calls.get(dataset, {}).pop(appid, None)
        self.exhausted.get(dataset, {}).pop(appid, None)

    def wait(self, now: Moment, period: float) -> float:
        """Return the seconds for which calls of the ledger's run may count in a rate limit.

        Within one boot they are counted by elapsed time, whatever was done to the clock. After
        another boot WeChat's time decides, and the clocks alone if it is unknown.
        """
        # After a clock was put back, the wait is still no longer than a period.
        longest = max(self.period, period)
        if self.in_use:
            return longest
        return min(max(0.0, self.idle_from - self._by_its_clock(now)), longest)

    def by_wechat(self, now: Moment) -> float | None:
        """Return WeChat's time at ``now``; None if it was not told in this boot."""
        then = self.written
        if then.offset is None or not then.is_of_boot(now):
            return None
        return self._by_its_clock(now) + then.offset

    def counts_on(self, day: Day) -> bool:
        """Return whether the calls were made on another day than the ledger's, by WeChat's time."""
        then = self.written
        if then.offset is None or abs(then.offset) <= WRONG_SECONDS:
            return False
        return self.day != day == calendar.today(then.at + then.offset)

    def reopen(self, run: str, now: Moment, period: float) -> None:
        """Begin to use the ledger for a run, by the clock of ``now``."""
        idle_from = now.at + self.wait(now, period)
        # In use until the unused calls are returned, so that the next run notices a kill.
        self.run, self.in_use, self.period = run, True, period
        self.idle_from, self.written = idle_from, now

    def _by_its_clock(self, now: Moment) -> float:
        """Return the time at ``now`` by the clock of the ledger's run."""
        then = self.written
        if then.is_of_boot(now):
            return then.at + now.elapsed - then.elapsed
        if then.offset is None or now.offset is None:
            return now.at
        return now.at + now.offset - then.offset - DATE_ERROR_SECONDS


def _union(one: dict[str, dict[str, T]], other: dict[str, dict[str, T]]) -> dict[str, dict[str, T]]:
    """Return the entries of both; those of ``other`` count where both have one."""
    return {name: {**one.get(name, {}), **other.get(name, {})} for name in {*one, *other}}


def _idle_on_one_clock(one: DayLedger, other: DayLedger) -> tuple[float, float]:
    """Return ``idle_from`` of two ledgers in seconds that can be compared."""
    if one.written.is_of_boot(other.written):
        return (
            one.idle_from - one.written.at + one.written.elapsed,
            other.idle_from - other.written.at + other.written.elapsed,
        )
    return (
        one.idle_from + (one.written.offset or 0.0),
        other.idle_from + (other.written.offset or 0.0),
    )


def are_counts(numbers: Iterable[float]) -> bool:
    """Return whether all numbers are counts or times that a file of harvester may have."""
    return all(0 <= number <= _MAX_NUMBER for number in numbers)

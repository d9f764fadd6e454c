"""Ledger of the calls spent, by Beijing day, dataset and account, and of what is known of quotas.

Calls are entered in blocks before the first of a block is made, so a killed run has entered too
many rather than too few. `quota` decides how many may be spent.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from harvester.core.calendar import Day, day_text
from harvester.core.model import Count, LearntRefusal, Rate, Refusal, ReportedQuota, Seconds

DATE_ERROR_SECONDS = 2.0
"""Error in seconds of an interval between two times that WeChat told, in whole seconds each."""

WRONG_SECONDS = 600.0
"""Offset of a clock in seconds above which it is corrected, and a ledger's day may be wrong."""

Calls: TypeAlias = dict[str, dict[str, Count]]
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


class KnownQuota(NamedTuple):
    """The knowledge of the quota of one dataset of one account.

    ``reported`` is the last answer of WeChat. It includes the first ``counted`` calls of the ledger
    of its day. ``questions`` were put on the day ``asked_on``; the next one is due before more than
    ``ask_beyond`` calls of its ledger, None without any that day. ``is_refused`` is True if WeChat
    refused the last question. ``taught`` calls were allowed on the day ``taught_on``, when WeChat
    last said that the quota is spent; 0 if it never did.
    """

    reported: ReportedQuota | None = None
    counted: Count = 0
    asked_on: Count = 0
    questions: Count = 0
    ask_beyond: Count | None = None
    is_refused: bool = False
    taught: Count = 0
    taught_on: Count = 0


_NOTHING_KNOWN = KnownQuota()


@dataclass(slots=True)
class DayCalls:
    """The calls of a Beijing day, and WeChat's refusals of quotas that were spent on it."""

    calls: Calls = field(default_factory=dict)
    exhausted: dict[str, dict[str, Refusal]] = field(default_factory=dict)


@dataclass(slots=True)
class Ledger:
    """The ledger of one bucket: its calls by day, its quotas, and what its last run left.

    ``run`` is the run that wrote it, for the Beijing day ``day``. ``in_use`` is true until that run
    has ended in order. WeChat's rate limit may count ``recent_calls`` of each account until
    ``idle_from``, in seconds since the Unix epoch by the clock of ``written``, the moment of that
    run's last writing; of a ledger in use their number is unknown, and they count for ``period``
    seconds. ``days`` has the calls by ISO day, ``deferred`` the refusals for which the rest of a
    dataset was not asked, and ``known`` the quotas.
    """

    day: Count = 0
    run: str = ""
    in_use: bool = False
    period: Seconds = 0.0
    idle_from: Seconds = 0.0
    recent_calls: Count = 0
    written: Moment = _UNKNOWN
    days: dict[str, DayCalls] = field(default_factory=dict)
    deferred: dict[str, dict[str, LearntRefusal]] = field(default_factory=dict)
    known: dict[str, dict[str, KnownQuota]] = field(default_factory=dict)

    @property
    def today(self) -> DayCalls:
        """The calls of the ledger's day."""
        return self.days.setdefault(day_text(self.day), DayCalls())

    def spent(self, dataset: str, appid: str) -> int:
        """Return the number of calls entered."""
        return self.today.calls.get(dataset, {}).get(appid, 0)

    def add(self, dataset: str, appid: str, calls: int) -> None:
        """Enter calls; a negative number returns them."""
        of_dataset = self.today.calls.setdefault(dataset, {})
        of_dataset[appid] = of_dataset.get(appid, 0) + calls

    def exhaust(self, dataset: str, appid: str, refusal: Refusal) -> None:
        """Enter WeChat's refusal of a spent quota."""
        self.today.exhausted.setdefault(dataset, {})[appid] = refusal

    def exhausted_by(self, dataset: str, appid: str) -> Refusal | None:
        """Return WeChat's refusal of the spent quota, None if there was none."""
        return self.today.exhausted.get(dataset, {}).get(appid)

    def learn(self, dataset: str, appid: str, refusal: LearntRefusal | None) -> None:
        """Enter the refusal for which the rest of a dataset was not asked; None removes it."""
        if refusal is not None:
            self.deferred.setdefault(dataset, {})[appid] = refusal
        else:
            self.deferred.get(dataset, {}).pop(appid, None)

    def quota(self, dataset: str, appid: str) -> KnownQuota:
        """Return what is known of a quota."""
        return self.known.get(dataset, {}).get(appid, _NOTHING_KNOWN)

    def know(self, dataset: str, appid: str, **changes: Any) -> None:
        """Change members of what is known of a quota."""
        known = self.quota(dataset, appid)._replace(**changes)
        self.known.setdefault(dataset, {})[appid] = known

    def open(self, run: str, day: Day, now: Moment, rate: Rate) -> None:
        """Begin to use the ledger for a run, by the clock of ``now``.

        What a killed run has sent is unknown, so its ``recent_calls`` are what the rate allows.
        """
        wait = self.wait(now, rate.period)
        # Bounded, because each of them becomes a slot of each account.
        self.recent_calls = rate.count if self.in_use else min(self.recent_calls, rate.count)
        # In use until the unused calls are returned, so that the next run notices a kill.
        self.run, self.day, self.in_use, self.period = run, day, True, rate.period
        self.idle_from, self.written = now.at + wait, now
        self.expire(now.at)

    def close(self, now: Moment) -> None:
        """End the use of the ledger, and drop the days that no run needs.

        Yesterday's calls stay for a machine whose clock is behind, as do tomorrow's. Later days are
        of a wrong clock, but only if this one is known to be right.
        """
        self.in_use = False
        if now.offset is None or abs(now.offset) <= WRONG_SECONDS:
            first, last = day_text(self.day - 1), day_text(self.day + 1)
            for day in [*self.days]:
                if day < first or (day > last and now.offset is not None):
                    del self.days[day]

    def enter_recent(self, calls: int, idle_from: float) -> None:
        """Enter an account's calls that WeChat's rate limit may count until ``idle_from``."""
        self.recent_calls = max(self.recent_calls, calls)
        self.idle_from = max(self.idle_from, idle_from)

    def add_recent(self, calls: int, now: float) -> None:
        """Add calls of an account that have just ended to its recent calls."""
        self.expire(now)
        self.enter_recent(self.recent_calls + calls, now + self.period)

    def expire(self, now: float) -> None:
        """Forget the recent calls of before if they count no more."""
        if self.idle_from <= now:
            self.recent_calls = 0

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

    def retime(self, now: Moment) -> None:
        """Go over to the clock of ``now``, which has heard another time of WeChat's."""
        self.idle_from, self.written = now.at + self.wait(now, self.period), now

    def agrees_with(self, now: Moment) -> bool | None:
        """Return whether a clock agrees with WeChat's time as it was told; None if it is unknown.

        Within one boot the time that has passed is known. After another boot, or on another
        machine, some has, so an earlier time is wrong and any later one may be right.
        """
        then = self.written
        if then.offset is None:
            return None
        if then.is_of_boot(now):
            return abs(self._by_its_clock(now) + then.offset - now.at) <= WRONG_SECONDS
        return False if now.at < then.at + then.offset - WRONG_SECONDS else None

    def _by_its_clock(self, now: Moment) -> float:
        """Return the time at ``now`` by the clock of the ledger's run."""
        then = self.written
        if then.is_of_boot(now):
            return then.at + now.elapsed - then.elapsed
        if then.offset is None or now.offset is None:
            return now.at
        return now.at + now.offset - then.offset - DATE_ERROR_SECONDS

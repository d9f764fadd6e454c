"""How many calls a Beijing day allows, and how they are noted before they are spent.

WeChat counts calls per account, dataset and Beijing day. What may be spent of that is the quota,
less a reserve for the account's other users, less what notes of the day say is spent, and less what
the day's own work needs as long as that is not ready. Calls are noted in blocks before the first of
a block is made: a run that is killed has noted too many rather than too few.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from harvester.core import calendar
from harvester.core.calendar import Day
from harvester.core.config import Limits, Pace
from harvester.core.model import Refusal, ReportedQuota

BLOCK_SECONDS = 10.0
"""A block lasts so long at the full rate."""

_MIN_BLOCK = 20
_SPARE = 3

Calls: TypeAlias = dict[str, dict[str, int]]
"""A number of calls by dataset and appid."""


class QuotaLimit(NamedTuple):
    """What is known of a quota: how large it is, and whether WeChat said so."""

    quota: int
    reported: bool = False

    @property
    def origin(self) -> str:
        """``read`` from WeChat, or ``assumed``."""
        return "read" if self.reported else "assumed"


@dataclass(slots=True)
class DayLedger:
    """What is written down of one bucket on one Beijing day.

    ``run`` wrote it; it is ``open`` until that run has ended in order. WeChat may count ``recent``
    calls of each account until ``quiet_at``, in seconds since the Unix epoch; of an open one nobody
    knows how many, but they count no longer than ``period`` seconds. ``parked`` has what WeChat
    said of a spent quota. ``heard`` are the checks whose calls are counted in.
    """

    day: Day
    run: str = ""
    in_use: bool = False
    period: float = 0.0
    idle_from: float = 0.0
    recent_calls: int = 0
    calls: Calls = field(default_factory=dict)
    exhausted: dict[str, dict[str, Refusal]] = field(default_factory=dict)
    merged_checks: list[str] = field(default_factory=list)

    def spent(self, dataset: str, appid: str) -> int:
        """How many calls are noted."""
        return self.calls.get(dataset, {}).get(appid, 0)

    def add(self, dataset: str, appid: str, calls: int) -> None:
        """Note so many calls more."""
        of_dataset = self.calls.setdefault(dataset, {})
        of_dataset[appid] = of_dataset.get(appid, 0) + calls

    def exhaust(self, dataset: str, appid: str, refusal: Refusal) -> None:
        """Note that WeChat says the quota is spent."""
        self.exhausted.setdefault(dataset, {})[appid] = refusal

    def exhausted_by(self, dataset: str, appid: str) -> Refusal | None:
        """What WeChat said when the quota was spent, if it did."""
        return self.exhausted.get(dataset, {}).get(appid)

    def merge(self, check: DayLedger) -> None:
        """Count what a check has spent on this day, once."""
        if check.run in self.merged_checks:
            return
        self.merged_checks.append(check.run)
        for dataset, of_dataset in check.calls.items():
            for appid, calls in of_dataset.items():
                self.add(dataset, appid, calls)
        earlier, later = sorted((self, check), key=lambda note: note.idle_from)
        together = earlier.idle_from > later.idle_from - later.period
        self.recent_calls = later.recent_calls + (earlier.recent_calls if together else 0)
        self.idle_from = later.idle_from

    def forget(self, dataset: str, appid: str) -> None:
        """Take the quota for unspent: the user knows that it is."""
        self.calls.get(dataset, {}).pop(appid, None)
        self.exhausted.get(dataset, {}).pop(appid, None)

    def idle_at(self, now: float, period: float) -> float:
        """From when on no call of the run that wrote this can count any more.

        A clock that was put back since then makes nobody wait for longer than a period.
        """
        longest = now + max(self.period, period)
        return longest if self.in_use else min(self.idle_from, longest)


class Quota:
    """What may be spent, by the manifest's limits and what WeChat has told of its own.

    ``told`` has what WeChat said, by appid and dataset, where it was asked.
    """

    def __init__(
        self, limits: Limits, told: Mapping[tuple[str, str], ReportedQuota] | None = None
    ) -> None:
        self._limits = limits
        self._told = told or {}
        self._reserved: Calls = {}

    def reserve(self, calls: Calls) -> None:
        """Leave these calls for the days that get ready later today, in place of earlier ones."""
        self._reserved = calls

    def limit(self, dataset: str, appid: str) -> QuotaLimit:
        """The quota of a dataset of an account."""
        told = self._told.get((appid, dataset))
        if told is None or not told.daily_limit:
            return QuotaLimit(self._limits.daily_quota)
        return QuotaLimit(told.daily_limit, reported=True)

    def budget(self, dataset: str, appid: str) -> int:
        """What a day's runs may spend of it together."""
        quota = self.limit(dataset, appid).quota
        return max(0, quota - self._limits.daily_reserve.of(quota))

    def left(self, note: DayLedger, dataset: str, appid: str) -> int:
        """Return how many calls may still be spent on the day of a ledger."""
        if note.exhausted_by(dataset, appid) is not None:
            return 0
        return max(
            0,
            self.budget(dataset, appid)
            - self.spent(note, dataset, appid)
            - self._kept(dataset, appid),
        )

    def spent(self, note: DayLedger, dataset: str, appid: str) -> int:
        """What is spent of it on the note's day: at least what is noted, and what WeChat told.

        WeChat counts what others spent, and ``check`` itself, until the moment it was asked. Calls
        that are noted after that come on top, so whoever notes some notes this number first.
        """
        noted = note.spent(dataset, appid)
        told = self._told.get((appid, dataset))
        if told is None or calendar.today(told.asked_at) != note.day:
            return noted
        return max(noted, told.used)

    def explain(self, dataset: str, appid: str) -> str:
        """Return the numbers that decide how many calls there are, as words."""
        numbers = self.limit(dataset, appid)
        reserve = self._limits.daily_reserve.of(numbers.quota)
        text = f"{numbers.quota:,} calls a day ({numbers.origin})"
        if reserve:
            text += f", {reserve:,} of them reserved"
        if kept := self._kept(dataset, appid):
            text += f", {kept:,} kept for what gets ready later today"
        return text

    def _kept(self, dataset: str, appid: str) -> int:
        return self._reserved.get(dataset, {}).get(appid, 0)


def block(pace: Pace, windows: int, made: int) -> int:
    """How many calls are noted at once for so many windows that are owed, ``made`` being behind.

    A second's worth at first, then as many as were made, and at most some seconds' worth, so that a
    run that is killed at once loses few. No more than the windows need with some retries.
    """
    rate = pace.count / pace.period
    calls = min(int(BLOCK_SECONDS * rate), max(int(rate), made))
    return min(max(_MIN_BLOCK, calls), windows + windows // 4 + _SPARE)


def with_retries(windows: int) -> int:
    """How many calls so many windows need if one attempt in six fails."""
    return windows + -(-windows // 5)

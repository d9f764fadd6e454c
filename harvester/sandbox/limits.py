"""How much an account may ask, counted as WeChat counts, and how much it asked at its worst."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from typing import NamedTuple

from harvester.core.calendar import today
from harvester.sandbox.call_faults import Refused
from harvester.sandbox.rules import Rules


class PeakLoad(NamedTuple):
    """The most calls of one account that ever arrived within the rule's seconds.

    ``sliding`` looks at every stretch of that length, ``fixed`` only at those that begin at a whole
    multiple of it since the Unix epoch. Calls that were refused count like all others.
    """

    sliding: int = 0
    fixed: int = 0


class Quota(NamedTuple):
    """A day's calls of one API of an account. Without a limit there are always more."""

    limit: int
    used: int

    @property
    def left(self) -> int:
        """How many more calls will be answered today."""
        return max(0, self.limit - self.used)


BOUNDLESS = 10_000_000
"""What is told of a quota that does not exist: nobody asks so much in a day."""


class PeriodCounter:
    """Counts calls by period: the minute of the clock, the Beijing day. Only the newest counts."""

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._spent: dict[Hashable, tuple[int, int]] = {}

    def is_full(self, key: Hashable, period: int) -> bool:
        """Whether one call more would be one too many."""
        return self._limit is not None and self._count(key, period) >= self._limit

    def spend(self, key: Hashable, period: int) -> None:
        """Count one call."""
        self._spent[key] = (period, self._count(key, period) + 1)

    def quota(self, key: Hashable, period: int) -> Quota:
        """What there is, and how much of it is spent."""
        limit = BOUNDLESS if self._limit is None else self._limit
        return Quota(limit, self._count(key, period))

    def _count(self, key: Hashable, period: int) -> int:
        spent_in, count = self._spent.get(key, (period, 0))
        return count if spent_in == period else 0


class SlidingWindow:
    """One account's calls within the last so many seconds, a call that old no longer counting."""

    __slots__ = ("_admitted", "_arrived", "_fixed", "_seconds", "peak")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._arrived: deque[float] = deque()
        self._admitted: deque[float] = deque()
        self._fixed = (0, 0)
        self.peak = PeakLoad()

    def arrive(self, now: float) -> None:
        """Note that a call came, whatever becomes of it."""
        self._forget(self._arrived, now)
        self._arrived.append(now)
        period = int(now // self._seconds)
        begun, count = self._fixed
        self._fixed = (period, count + 1 if begun == period else 1)
        self.peak = PeakLoad(
            max(self.peak.sliding, len(self._arrived)), max(self.peak.fixed, self._fixed[1])
        )

    def admitted(self, now: float) -> int:
        """How many calls were let in within the last seconds."""
        self._forget(self._admitted, now)
        return len(self._admitted)

    def admit(self, now: float) -> None:
        """Let a call in."""
        self._admitted.append(now)

    def _forget(self, calls: deque[float], now: float) -> None:
        while calls and calls[0] <= now - self._seconds:
            calls.popleft()


class Limits:
    """All limits of one world."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._windows: dict[str, SlidingWindow] = {}
        self._minutes = PeriodCounter(rules.minute_limit)
        self._days = PeriodCounter(rules.daily_quota)

    def arrive(self, appid: str, now: float) -> None:
        """Note a call of an account, if the rules have a window to judge it by."""
        if self._rules.window_limit is not None:
            window = self._windows.get(appid)
            if window is None:
                window = self._windows[appid] = SlidingWindow(self._rules.window_limit[1])
            window.arrive(now)

    def admit(self, appid: str, dataset: str, now: float) -> None:
        """Spend one call, or raise Refused 45009 or 45011. A refused call spends nothing."""
        key = (appid, dataset)
        day, minute = today(now), int(now // 60)
        if self._days.is_full(key, day):
            raise Refused(45009)
        if self._minutes.is_full(key, minute):
            raise Refused(45011)
        self._admit_to_window(appid, now)
        self._days.spend(key, day)
        self._minutes.spend(key, minute)

    def quota(self, appid: str, dataset: str, now: float) -> Quota:
        """What an account may ask of a dataset today, and how much of that it has."""
        return self._days.quota((appid, dataset), today(now))

    def peak_load(self) -> dict[str, PeakLoad]:
        """The worst moment of every account. Empty without a ``window_limit``."""
        return {appid: window.peak for appid, window in self._windows.items()}

    def _admit_to_window(self, appid: str, now: float) -> None:
        if self._rules.window_limit is not None:
            window = self._windows[appid]
            if window.admitted(now) >= self._rules.window_limit[0]:
                raise Refused(45011)
            window.admit(now)

"""Limits on data calls, counted as WeChat counts them, and the peak load of each account."""

from __future__ import annotations

from collections import defaultdict, deque
from functools import partial

from harvester.core.calendar import today
from harvester.sandbox.call_faults import Refused
from harvester.sandbox.counters import PeriodCounter
from harvester.sandbox.rules import Rules

UNLIMITED = 10_000_000
"""The daily limit reported where the rules have none: more calls than a day has room for."""


class SlidingWindow:
    """The calls of one account within the last ``seconds``; a call exactly that old is out.

    ``peak`` is the most calls that arrived in any such window, refused ones included.
    """

    __slots__ = ("_admitted", "_arrived", "_seconds", "peak")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._arrived: deque[float] = deque()
        self._admitted: deque[float] = deque()
        self.peak = 0

    def arrive(self, now: float) -> None:
        """Count a call towards the peak load, whether or not it is admitted later."""
        self._drop_old(self._arrived, now)
        self._arrived.append(now)
        self.peak = max(self.peak, len(self._arrived))

    def admit(self, limit: int, now: float) -> None:
        """Admit a call. Raises Refused 45011 if ``limit`` calls were admitted in the window."""
        self._drop_old(self._admitted, now)
        if len(self._admitted) >= limit:
            raise Refused(45011)
        self._admitted.append(now)

    def _drop_old(self, calls: deque[float], now: float) -> None:
        while calls and calls[0] <= now - self._seconds:
            calls.popleft()


class Limits:
    """All limits of one emulator: per day, per minute, and per sliding window."""

    def __init__(self, rules: Rules) -> None:
        self._window_calls: int | None
        self._window_calls, seconds = rules.window_limit or (None, 0.0)
        self._windows = defaultdict[str, SlidingWindow](partial(SlidingWindow, seconds))
        self._minutes = PeriodCounter(rules.minute_limit)
        self._days = PeriodCounter(rules.daily_quota)

    def arrive(self, appid: str, now: float) -> None:
        """Count a call of an account towards its peak load, if the rules have a window limit."""
        if self._window_calls is not None:
            self._windows[appid].arrive(now)

    def admit(self, appid: str, dataset: str, now: float) -> None:
        """Spend one call. Raises Refused 45009 or 45011; a refused call spends nothing."""
        key = (appid, dataset)
        day, minute = today(now), int(now // 60)
        # All limits are checked before the first is spent.
        if self._days.is_full(key, day):
            raise Refused(45009)
        if self._minutes.is_full(key, minute):
            raise Refused(45011)
        if self._window_calls is not None:
            self._windows[appid].admit(self._window_calls, now)
        self._days.add(key, day)
        self._minutes.add(key, minute)

    def quota(self, appid: str, dataset: str, now: float) -> dict[str, int]:
        """Return today's calls of a dataset as the quota endpoint reports them."""
        limit = UNLIMITED if self._days.limit is None else self._days.limit
        used = self._days.count((appid, dataset), today(now))
        return {"daily_limit": limit, "used": used, "remain": max(0, limit - used)}

    def peak_load(self) -> dict[str, int]:
        """Return the peak load by appid; empty without a window limit."""
        return {appid: window.peak for appid, window in self._windows.items()}

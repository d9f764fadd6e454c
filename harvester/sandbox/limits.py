"""Limits on data calls, counted as WeChat counts them."""

from __future__ import annotations

from collections import defaultdict, deque

from harvester.core.calendar import today
from harvester.sandbox.call_faults import Refused
from harvester.sandbox.counters import PeriodCounter
from harvester.sandbox.rules import Rules

UNLIMITED = 10_000_000
"""The daily limit reported where the rules have none: more calls than a day has room for."""


class Limits:
    """All limits of one emulator: per day, per minute, and per sliding window."""

    def __init__(self, rules: Rules) -> None:
        self._window_limit = rules.window_limit
        self._admitted = defaultdict[str, deque[float]](deque)
        self._minutes = PeriodCounter(rules.minute_limit)
        self._days = PeriodCounter(rules.daily_quota)

    def admit(self, appid: str, dataset: str, now: float) -> None:
        """Spend one call. Raises Refused 45009 or 45011; a refused call spends nothing."""
        key = (appid, dataset)
        day, minute = today(now), int(now // 60)
        # All limits are checked before the first is spent.
        if self._days.is_full(key, day):
            raise Refused(45009)
        if self._minutes.is_full(key, minute):
            raise Refused(45011)
        if self._window_limit is not None:
            _admit(self._admitted[appid], *self._window_limit, now)
        self._days.add(key, day)
        self._minutes.add(key, minute)

    def quota(self, appid: str, dataset: str, now: float) -> dict[str, int]:
        """Return today's calls of a dataset as the quota endpoint reports them."""
        limit = UNLIMITED if self._days.limit is None else self._days.limit
        used = self._days.count((appid, dataset), today(now))
        return {"daily_limit": limit, "used": used, "remain": max(0, limit - used)}


def _admit(calls: deque[float], limit: int, seconds: float, now: float) -> None:
    """Add a call to those of the last ``seconds``; a call exactly that old is out.

    Raises Refused 45011 if there are ``limit`` calls already.
    """
    while calls and calls[0] <= now - seconds:
        calls.popleft()
    if len(calls) >= limit:
        raise Refused(45011)
    calls.append(now)

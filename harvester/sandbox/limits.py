"""Limits on calls, counted as WeChat counts them: per period of time."""

from __future__ import annotations

from collections.abc import Hashable

from harvester.core.calendar import today
from harvester.sandbox.call_faults import Refused
from harvester.sandbox.rules import Rules

UNLIMITED = 10_000_000
"""The daily limit reported where the rules have none: more calls than a day has room for."""


class PeriodCounter:
    """Counts calls by key within the newest period, such as a minute or a Beijing day.

    ``limit`` is the number of calls allowed in one period, None for any number.
    """

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self._counts: dict[Hashable, tuple[int, int]] = {}

    def count(self, key: Hashable, period: int) -> int:
        """Return the number of calls in the period."""
        counted_in, count = self._counts.get(key, (period, 0))
        return count if counted_in == period else 0

    def is_full(self, key: Hashable, period: int) -> bool:
        """Return whether one more call would exceed the limit."""
        return self.limit is not None and self.count(key, period) >= self.limit

    def add(self, key: Hashable, period: int) -> None:
        """Count one call."""
        self._counts[key] = (period, self.count(key, period) + 1)


class Limits:
    """The limits on an emulator's data calls: per day and per minute."""

    def __init__(self, rules: Rules) -> None:
        self._minutes = PeriodCounter(rules.minute_limit)
        self._days = PeriodCounter(rules.daily_quota)

    def admit(self, appid: str, dataset: str, now: float) -> None:
        """Spend one call. Raises Refused 45009 or 45011; a refused call spends nothing."""
        key = (appid, dataset)
        day, minute = today(now), int(now // 60)
        # Both limits are checked before the first is spent.
        if self._days.is_full(key, day):
            raise Refused(45009)
        if self._minutes.is_full(key, minute):
            raise Refused(45011)
        self._days.add(key, day)
        self._minutes.add(key, minute)

    def quota(self, appid: str, dataset: str, now: float) -> dict[str, int]:
        """Return today's calls of a dataset as the quota endpoint reports them."""
        limit = UNLIMITED if self._days.limit is None else self._days.limit
        used = self._days.count((appid, dataset), today(now))
        return {"daily_limit": limit, "used": used, "remain": max(0, limit - used)}

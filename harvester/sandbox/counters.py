"""Counters of the emulator: what was asked, and calls per period of time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Counters:
    """Counts of requests. ``errcodes`` is counted with the answer, all others on arrival.

    Attributes:
        requests: All requests.
        paths: Requests by path; unknown paths are counted under ``?``.
        calls: Data calls with a valid token, by appid.
        token_calls: Calls of any token endpoint, by appid.
        errcodes: Errors answered, by errcode.
    """

    requests: int = 0
    paths: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)
    token_calls: Counter[str] = field(default_factory=Counter)
    errcodes: Counter[int] = field(default_factory=Counter)


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

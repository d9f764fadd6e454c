"""The newest day on which nearly all accounts are complete, counted so that shards add up.

Accounts are counted by day with `calendar.add_to_counts`, which needs 14 day sets for 10,000
accounts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import zip_longest
from typing import Self, TypeAlias

from harvester.core import calendar
from harvester.core.calendar import NO_DAYS, Day, DaySet, add_to_counts

_Counts: TypeAlias = tuple[DaySet, ...]


@dataclass(frozen=True, slots=True)
class CompleteDays:
    """Counts of accounts by day: those that are ``judged``, and those of them that ``lack`` it."""

    judged: _Counts = ()
    lack: _Counts = ()

    @classmethod
    def of(cls, accounts: Iterable[tuple[DaySet, DaySet]]) -> Self:
        """Count accounts, each by the days it wants and those of them that it lacks."""
        judged, lack = list[DaySet](), list[DaySet]()
        for wanted, lacking in accounts:
            add_to_counts(judged, wanted)
            add_to_counts(lack, lacking)
        return cls(tuple(judged), tuple(lack))

    def __add__(self, other: CompleteDays) -> CompleteDays:
        return CompleteDays(_sum(self.judged, other.judged), _sum(self.lack, other.lack))

    @property
    def newest(self) -> Day | None:
        """The newest day that at least 95% of its judged accounts have; None without any."""
        # Twenty times as many: sixteen times and four times.
        needed = _sum((NO_DAYS,) * 4 + self.lack, (NO_DAYS,) * 2 + self.lack)
        any_judged = less = NO_DAYS
        # The highest bits that differ decide, so they come last.
        for judged, lacked in zip_longest(self.judged, needed, fillvalue=NO_DAYS):
            any_judged |= judged
            less = less & ~(judged ^ lacked) | lacked & ~judged
        complete = any_judged & ~less
        return calendar.newest(complete) if complete else None


def _sum(one: _Counts, other: _Counts) -> _Counts:
    total = [*one]
    for level, days in enumerate(other):
        add_to_counts(total, days, level)
    return tuple(total)

"""Result of publishing a partition."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import date
from typing import NamedTuple

from harvester.core import calendar
from harvester.core.calendar import Day, DaySet, Month
from harvester.core.model import MAX_ODDITIES, OddityKind, RowlessElement, Window
from harvester.core.results import Op
from harvester.tables.decode_batch import BatchResult

DIFFERING = "_differing"
"""Ending of the names in `Published.rechecked` that count days with other rows."""


class QuarantinedDay(NamedTuple):
    """A day whose answer was put into quarantine, and why, in words that are safe to print."""

    appid: str
    dataset: str
    day: date
    reason: str


class SeenOddity(NamedTuple):
    """An oddity, and the window in whose answer it was seen first."""

    kind: OddityKind
    name: str
    value: str
    window: Window


@dataclass(frozen=True, slots=True)
class Published:
    """Result of publishing a partition, collected answer by answer, and unchanged once returned.

    ``path`` is relative to the root. ``days`` and ``appids`` are those with an applied answer;
    ``changed_days`` and ``changed_appids`` those whose rows differ from the file before, or may
    differ: readers that follow the files read them again. Of ``corrected`` days, by appid, final
    rows were replaced. ``damaged`` has the paths in quarantine of groups that could not be read.
    ``unknown`` has undeclared members, ``missing`` required members without a value, and
    ``delayed`` the windows whose last answer said that WeChat is still computing. ``oddities`` has
    the first one of each kind and name. ``rechecked`` counts the final days that were asked
    again by lot, by witness; days with other rows are counted a second time, under `DIFFERING`.
    """

    dataset: str
    month: Month
    path: str
    rows_before: int = 0
    rows_after: int = 0
    op: Op = "replaced"
    days: DaySet = calendar.NO_DAYS
    appids: set[str] = field(default_factory=set)
    changed_days: DaySet = calendar.NO_DAYS
    changed_appids: set[str] = field(default_factory=set)
    quarantined: list[QuarantinedDay] = field(default_factory=list)
    corrected: set[tuple[str, Day]] = field(default_factory=set)
    damaged: list[str] = field(default_factory=list)
    unknown: set[str] = field(default_factory=set)
    missing: set[str] = field(default_factory=set)
    delayed: set[Window] = field(default_factory=set)
    oddities: dict[tuple[OddityKind, str], SeenOddity] = field(default_factory=dict)
    without_rows: set[RowlessElement] = field(default_factory=set)
    rechecked: Counter[str] = field(default_factory=Counter)

    @property
    def ref_month(self) -> str:
        """The month as in the path, ``2026-05``."""
        return calendar.month_text(self.month)

    def note(self, window: Window, decoded: BatchResult) -> None:
        """Note schema drift, oddities and delay of an answer; the oldest comes first.

        Only answers that count are noted.
        """
        if decoded.unknown or decoded.missing:
            self.unknown.update(decoded.unknown)
            self.missing.update(decoded.missing)
        for kind, name, value in decoded.oddities:
            if len(self.oddities) < MAX_ODDITIES:
                self.oddities.setdefault((kind, name), SeenOddity(kind, name, value, window))
        self.without_rows.update(decoded.without_rows)
        # A mark that is not known does not say that WeChat is still computing.
        unknown = OddityKind.UNKNOWN_MARK
        if decoded.delayed and not any(odd.kind is unknown for odd in decoded.oddities):
            self.delayed.add(window)
        elif self.delayed:
            self.delayed.discard(window)

"""Result of publishing a partition."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

from harvester.core import calendar
from harvester.core.calendar import Day, Month
from harvester.core.model import OddityKind, Window
from harvester.core.results import Op


class QuarantinedDay(NamedTuple):
    """A day whose answer was put into quarantine."""

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

    @property
    def key(self) -> tuple[OddityKind, str]:
        """The kind and the name, of which one oddity is kept."""
        return self.kind, self.name


class RowlessElement(NamedTuple):
    """An element of an answer that has no row. ``key`` has its own members of the key."""

    appid: str
    dataset: str
    day: Day
    key: str


@dataclass(frozen=True, slots=True)
class Published:
    """Result of publishing a partition.

    ``path`` is relative to the root. ``days`` and ``appids`` are those with an applied answer;
    ``changed_days`` and ``changed_appids`` those whose rows differ from the file before, or may
    differ: readers that follow the files read them again. ``dropped`` counts rows outside their
    window, ``unknown`` has undeclared members, ``missing`` required members without a value,
    ``delayed`` the windows whose last answer said that WeChat is still computing, and ``damaged``
    the paths in quarantine of groups that could not be read. ``oddities`` has the first one of each
    kind and name, ``without_rows`` the elements without rows in the last answers.
    """

    dataset: str
    month: Month
    path: str
    days: tuple[Day, ...]
    appids: tuple[str, ...]
    rows_before: int
    rows_after: int
    quarantined: tuple[QuarantinedDay, ...] = ()
    dropped: int = 0
    unknown: frozenset[str] = frozenset()
    missing: frozenset[str] = frozenset()
    delayed: tuple[Window, ...] = ()
    damaged: tuple[str, ...] = ()
    oddities: tuple[SeenOddity, ...] = ()
    without_rows: tuple[RowlessElement, ...] = ()
    changed_days: tuple[Day, ...] = ()
    changed_appids: tuple[str, ...] = ()
    op: Op = "replaced"

    @property
    def ref_month(self) -> str:
        """The month as in the path, ``2026-05``."""
        return calendar.month_text(self.month)

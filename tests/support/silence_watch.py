"""A comparison of an output with the truth of a silent life, each morning and at the end."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeAlias

from harvester.catalogue import CATALOGUE
from harvester.core import calendar
from harvester.core.calendar import NO_DAYS, Day, DaySet, Month, has_day, today
from harvester.storage import layout, partition_reader
from harvester.storage.layout import Tree
from tests.support.life_report import RunReport
from tests.support.life_stories import Scope, Trouble
from tests.support.silent_life import CHANCE, JOINED, OTHER, SilentLife

YOUNG = 45
"""Age in days up to which a day is compared."""

LAST_AGE = 28
OLD = 30

Series: TypeAlias = tuple[str, str]
"""A dataset and an appid."""


class MonthMasks(NamedTuple):
    """Masks of the accounts of one file: final days, and days with rows."""

    dataset: str
    month: Month
    masks: dict[str, tuple[int, int]]


class Lost(NamedTuple):
    """A day that WeChat has rows of and the output lacks at the end.

    ``first`` is the day of its first answer, ``since`` that on which its rows appeared.
    """

    dataset: str
    appid: str
    day: Day
    kind: str
    is_final: bool
    first: Day | None
    since: Day

    @property
    def group(self) -> str:
        """The reason that counts: what the rule cannot know, or none."""
        if not self.is_final or self.first is None:
            return "open"
        if self.first - self.day > OLD:
            return "old"
        return "after the last age" if self.since - self.first > LAST_AGE else "within the ages"


@dataclass
class Watch:
    """A comparison of the output with the truth, morning by morning.

    ``lacking`` counts account-days by cause, dataset and whether the run ended with 0. ``excused``
    counts those that no whole run could have: none was since their rows appeared, because of a
    missed or killed run, a time budget, a refused account or a doubtful clock.
    """

    scope: Scope
    life: SilentLife
    lacking: Counter[tuple[str, str, bool]] = field(default_factory=Counter)
    excused: int = 0
    mornings: list[tuple[Day, str, int]] = field(default_factory=list)
    _first: dict[tuple[str, str, Day], Day] = field(default_factory=dict)
    _hushed: set[tuple[str, str, Day]] = field(default_factory=set)
    _final: defaultdict[Series, DaySet] = field(default_factory=lambda: defaultdict(int))
    _with_rows: defaultdict[Series, DaySet] = field(default_factory=lambda: defaultdict(int))
    _since: dict[Series, list[float]] = field(default_factory=dict)
    _last_whole: dict[str, float] = field(default_factory=dict)

    def hear(self, report: RunReport) -> None:
        """Take in what a run was answered."""
        for answer in report.answered:
            for day in answer.days:
                key = answer.dataset, answer.appid, day
                self._first.setdefault(key, report.day)
                if answer.is_hushed:
                    self._hushed.add(key)

    def read(self, files: Iterable[MonthMasks]) -> None:
        """Take in the files that changed."""
        for dataset, month, masks in files:
            inside = calendar.month_days(month)
            for appid in self.life.appids:
                key, (final, with_rows) = (dataset, appid), masks.get(appid, (0, 0))
                for days, mask in ((self._final, final), (self._with_rows, with_rows)):
                    days[key] = days[key] & ~inside | calendar.from_month_mask(mask, month)

    def look(self, day: Day, trouble: Trouble, report: RunReport | None) -> None:
        """Compare all young days after the morning of a day, whose run may have been missed."""
        now = calendar.instant(day, trouble.minute)
        code = _code(report)
        before = sum(self.lacking.values())
        for appid in self._joined(day):
            if _is_whole(trouble, report) and not self.life.is_lost(appid, now):
                self._last_whole[appid] = now
            for dataset in self.scope.datasets:
                for lacked in self._lacking(dataset, appid, day - YOUNG, day - 1, now):
                    if self._since_of(dataset, appid, lacked) > self._last_whole.get(appid, 0.0):
                        self.excused += 1
                    else:
                        kind = self._kind(dataset, appid, lacked)
                        self.lacking[kind, dataset, code == "0"] += 1
        self.mornings.append((day, code, sum(self.lacking.values()) - before))

    def lost(self) -> Iterator[Lost]:
        """Yield all that is lacking at the end."""
        end = self.scope.last
        for appid in self._joined(end):
            for dataset in self.scope.datasets:
                first = self.scope.first_wanted
                for day in self._lacking(dataset, appid, first, end - 1, self.life.until):
                    yield Lost(
                        dataset,
                        appid,
                        day,
                        self._kind(dataset, appid, day),
                        has_day(self._final[dataset, appid], day),
                        self._first.get((dataset, appid, day)),
                        today(self._since_of(dataset, appid, day)),
                    )

    def _joined(self, day: Day) -> list[str]:
        return [appid for appid in self.life.appids if self.life.joins(appid) <= day]

    def _lacking(self, dataset: str, appid: str, begin: Day, end: Day, now: float) -> Iterator[Day]:
        begin = max(begin, self.scope.first_wanted, CATALOGUE[dataset].first_day)
        there = self._with_rows.get((dataset, appid), NO_DAYS)
        for day in range(begin, end + 1):
            if not has_day(there, day) and self._since_of(dataset, appid, day) <= now:
                yield day

    def _since_of(self, dataset: str, appid: str, day: Day) -> float:
        """Return when a day has rows; what is known is kept, by its place."""
        known = self._since.setdefault((dataset, appid), [])
        place = day - self.scope.first_wanted
        known += [-math.inf] * (place + 1 - len(known))
        if known[place] == -math.inf:
            known[place] = self.life.since(dataset, appid, day)
        return known[place]

    def _kind(self, dataset: str, appid: str, day: Day) -> str:
        """Return why a day was not answered with rows at first."""
        if kind := self.life.delay(dataset, appid, day)[1]:
            return kind
        if (dataset, appid, day) in self._hushed:
            return CHANCE
        return JOINED if day < self.life.joins(appid) else OTHER


def _code(report: RunReport | None) -> str:
    if report is None:
        return "none"
    return "killed" if report.is_killed else str(report.exit_code)


def _is_whole(trouble: Trouble, report: RunReport | None) -> bool:
    """Return whether a run could ask all that is wanted, by a clock that is not in doubt."""
    is_cut = trouble.budget is not None or trouble.skew or trouble.dates.seconds
    return report is not None and not report.is_killed and not is_cut


class ChangedFiles:
    """Reader of the data files that changed since it read last."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._known: dict[Path, tuple[int, int]] = {}

    def take(self) -> list[Path]:
        """Return the files that changed."""
        found = {
            path: (stat.st_mtime_ns, stat.st_ino)
            for path in self._root.glob("*/ref_month=*/*.parquet")
            if path.parts[-3] in CATALOGUE
            for stat in [path.stat()]
        }
        changed = [path for path, sign in found.items() if self._known.get(path) != sign]
        self._known = found
        return changed


def masks_of(tree: Tree, root: Path, changed: Iterable[Path]) -> list[MonthMasks]:
    """Return the masks of files, by their footers."""
    names = {str(path.relative_to(root)) for path in changed}
    found = []
    for dataset in sorted({name.partition("/")[0] for name in names}):
        located = layout.partitions(tree, dataset)
        mine = {each: file for each, file in located.items() if file.name in names}
        footers = partition_reader.footers(tree.store, mine.values())
        for partition, footer in zip(mine, footers, strict=True):
            coverage = footer.coverage
            masks = zip(coverage.masks["final"], coverage.masks["with_rows"], strict=True)
            by_appid = dict(zip(coverage.appids, masks, strict=True))
            found.append(MonthMasks(dataset, partition.month, by_appid))
    return found

"""Short stories of silence: exit codes of the first runs of a house, and the rows that it lacks.

``python -m tests.support.silence_scenes`` prints them all as JSON.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import pyarrow.parquet as pq

from harvester.catalogue import CATALOGUE
from harvester.core.calendar import Day, day_of, day_text, instant, parse_day, today
from harvester.core.config.settings import Limits, Pace
from harvester.core.model import Rate
from harvester.sandbox.data import Row
from tests.support.fake_time import in_virtual_time
from tests.support.life_stories import Story
from tests.support.lived_year import LivingHarness
from tests.support.living_wechat import LivingNetwork, LivingWeChat, WrongDates
from tests.support.run_harness import appid, flat_rows
from tests.support.silent_life import SILENT, SilentLife
from tests.support.wechat_life import mixed, number_of

FIRST: Day = parse_day("2026-06-01")
"""The day of the first run of each scene."""

IsSilent: TypeAlias = Callable[[str, Day, float], bool]
"""A function of appid, day and moment of the call."""

_MINUTE, _LOUD = 10 * 60 + 30, 11 * 60
"""Minutes of the day at which runs begin, and at which an hour of silence is over."""

_LIMITS = Limits(Pace(Rate(1_000, 0.0001), burst=1000, concurrency=4), connections=100)


class Morning(NamedTuple):
    """A run: its exit code, its calls, and the rows of days that the output lacks after it.

    Rows count that WeChat has an hour after the begin of the run.
    """

    exit_code: int
    calls: int
    missing: int


@dataclass
class SceneLife(SilentLife):
    """A life without faults but for the silence of a scene; ``hush`` is in hundredths."""

    is_silent: IsSilent = lambda *_: False
    hush: int = 0

    def shown(self, dataset: str, appid: str, day: Day, now: float) -> tuple[list[Row], bool]:
        """Return the rows that a call gets at ``now``; none is marked as delayed."""
        if self.is_silent(appid, day, now):
            return [], False
        return super().shown(dataset, appid, day, now)

    def is_hushed(self, dataset: str, appid: str, end: Day, now: float, times: int) -> bool:
        """Return whether an answer is empty by chance."""
        place = 31 * number_of(appid) + len(dataset)
        return mixed(place, end, today(now) * 101 + times) % 100 < self.hush


@dataclass
class Scene:
    """A house in a folder, and a WeChat that is silent at times.

    The newest ``days`` before the first run are wanted, and later ones unless ``is_closed``. The
    last account is in the manifest from the day ``newest_joins`` on.
    """

    root: Path
    accounts: int
    datasets: tuple[str, ...]
    days: int
    is_silent: IsSilent = lambda *_: False
    hush: int = 0
    newest_joins: Day = FIRST
    is_closed: bool = False

    def __post_init__(self) -> None:
        """Let the accounts live."""
        appids = tuple(map(appid, range(1, self.accounts + 1)))
        self._life = SceneLife(appids, self.datasets, FIRST - self.days, self.days)
        self._life.calm, self._life.first = True, FIRST
        self._life.is_silent, self._life.hush = self.is_silent, self.hush

    def mornings(self, count: int) -> list[Morning]:
        """Make a run on each of so many mornings."""
        return [self._morning(day) for day in range(FIRST, FIRST + count)]

    def _morning(self, day: Day) -> Morning:
        names = self._life.appids
        harness = LivingHarness(
            self.root,
            today=day_text(day),
            minute=_MINUTE,
            begin=day_text(FIRST - self.days),
            end=day_text(FIRST - 1) if self.is_closed else None,
            datasets=self.datasets,
            limits=_LIMITS,
            boot=f"boot of {day}",
            story=Story(self._life),
            joined=names if day >= self.newest_joins else names[:-1],
        )
        wechat = LivingWeChat(self._life, harness.now)
        harness.net = LivingNetwork(harness, harness.net.rng, wechat=wechat, dates=WrongDates())
        with in_virtual_time(harness):
            record = harness.run()
        return Morning(int(record.exit_code), record.requests, self._missing(harness, day))

    def _missing(self, harness: LivingHarness, today: Day) -> int:
        there, missing = self._stored(), 0
        end = FIRST if self.is_closed else today
        for dataset in self.datasets:
            facts = CATALOGUE[dataset]
            days = range(max(FIRST - self.days, facts.first_day), end)
            for name, day in product(harness.joined, days):
                shown, _ = self._life.shown(dataset, name, day, instant(today, _MINUTE + 60))
                if (dataset, name, day) not in there:
                    missing += len(list(flat_rows(facts, name, shown)))
        return missing

    def _stored(self) -> set[tuple[str, str, Day]]:
        """Return the days with rows."""
        found = set()
        for dataset in self.datasets:
            for path in (self.root / dataset).glob("ref_month=*/*.parquet"):
                rows = pq.ParquetFile(path).read(columns=["appid", "ref_date"])
                days = map(day_of, rows.column("ref_date").to_pylist())
                pairs = zip(rows.column("appid").to_pylist(), days, strict=True)
                found |= {(dataset, name, day) for name, day in pairs}
        return found


def silent_backfill(root: Path, mornings: int = 35) -> list[Morning]:
    """Harvest a year of one account while all answers are empty in the hour of the first run."""

    def is_silent(_: str, __: Day, now: float) -> bool:
        return now < instant(FIRST, _LOUD)

    return Scene(root, 1, ("user_summary",), 365, is_silent, is_closed=True).mornings(mornings)


def silent_newcomer(root: Path, mornings: int = 35) -> list[Morning]:
    """Add an account to eight, all of whose answers are empty in the hour of its first run."""
    joins, new = FIRST + 2, appid(9)

    def is_silent(name: str, _: Day, now: float) -> bool:
        return name == new and now < instant(joins, _LOUD)

    scene = Scene(root, 9, ("user_summary",), 365, is_silent, newest_joins=joins, is_closed=True)
    return scene.mornings(mornings)


def empty_by_chance(root: Path, mornings: int = 35) -> list[Morning]:
    """Harvest four months of four accounts while 3% of the answers are empty by chance."""
    return Scene(root, 4, SILENT, 120, hush=3, is_closed=True).mornings(mornings)


def outage(root: Path, mornings: int = 20) -> list[Morning]:
    """Live through two days that are empty for thirty accounts, and filled for all at once."""
    days, filled = range(FIRST + 2, FIRST + 4), FIRST + 6

    def is_silent(_: str, day: Day, now: float) -> bool:
        return day in days and today(now) < filled

    return Scene(root, 30, ("user_summary", "user_cumulate"), 40, is_silent).mornings(mornings)


def empty_house(root: Path, mornings: int = 5) -> list[Morning]:
    """Harvest thirty days of three accounts, of which no answer ever has a row."""
    names = "user_summary", "interface_summary"
    return Scene(root, 3, names, 30, lambda *_: True).mornings(mornings)


SCENES = (silent_backfill, silent_newcomer, empty_by_chance, outage, empty_house)


def told() -> dict[str, Any]:
    """Return the mornings of all scenes."""
    found: dict[str, Any] = {}
    for scene in SCENES:
        with tempfile.TemporaryDirectory(prefix="scene-") as root:
            found[scene.__name__] = [each._asdict() for each in scene(Path(root))]
    return found


if __name__ == "__main__":
    sys.stdout.write(json.dumps(told()))

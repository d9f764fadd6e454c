"""A year and more of daily runs of many accounts, through the code that writes records and logs.

The answers are the sandbox's and each file is written once, because the side files do not depend
on that. Each run reports what a run of such accounts reports: some credentials are lost, some
accounts have gaps, some answers are in quarantine and some articles have no statistics.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pytest

from harvester.catalogue import CATALOGUE
from harvester.catalogue.error_codes import rule_for
from harvester.core.calendar import (
    NO_DAYS,
    Day,
    DaySet,
    day_range,
    has_day,
    instant,
    month_of,
    one_day,
)
from harvester.core.config.settings import Account, Job, Manifest, Output
from harvester.core.model import Partition, RawAnswer, Refusal, RowlessElement, Window
from harvester.runs import facts
from harvester.runs.clock import CheckedClock
from harvester.runs.days.coverage_of_run import Harvested, read_coverage
from harvester.runs.record.record import Record
from harvester.runs.run_log import RunLog, recorded
from harvester.runs.stream import Stream
from harvester.sandbox.data import expected_rows
from harvester.scheduling.listener import AbandonedDays
from harvester.storage import coverage_scan, publish, quarantine, raw_log
from harvester.storage.account_scan import Scan, States
from harvester.storage.backends.base import META_DIR
from harvester.storage.layout import Tree
from harvester.storage.publication import Published
from harvester.storage.publish import TrustedTimes
from harvester.tables.evidence import Evidence
from tests.support.answers import body

DATASETS = (
    "interface_summary",
    "user_summary",
    "user_cumulate",
    "upstream_msg",
    "upstream_msg_dist",
    "article_read",
    "article_share",
    "biz_summary",
)
LATE = ("article_read", "article_share", "biz_summary")
"""Datasets of which the run in the evening has something as well."""

REASON = "ref_date 2026-01-01: new_user is no whole number"
RUNS_A_DAY = (10 * 60 + 30, 22 * 60)
"""Minutes after midnight in Beijing."""


@dataclass
class LongHistory:
    """The runs of ``days`` days from ``begin`` on, two a day."""

    begin: Day
    days: int
    count: int
    datasets: tuple[str, ...] = DATASETS
    chance: random.Random = field(default_factory=lambda: random.Random(23))

    def __post_init__(self) -> None:
        """Draw the accounts: one of fifty loses its secret, one of ten has gaps."""
        self.appids = tuple(f"wx{self.chance.randrange(1 << 64):016x}" for _ in range(self.count))
        self.refused = self.appids[: self.count // 50 or 1]
        gaps = self.appids[-(self.count // 10 or 1) :]
        self.gaps = {
            appid: sum(one_day(self.begin + 3 + 40 * n) for n in range(self.days // 40 + 1))
            for appid in gaps
        }

    @property
    def last(self) -> Day:
        """The last day that has data."""
        return self.begin + self.days - 1

    def manifest(self, output: Output) -> Manifest:
        """Return the manifest of all runs."""
        accounts = tuple(Account(appid, name=f"Account {appid[2:6]}") for appid in self.appids)
        job = Job("all", self.datasets, self.appids, self.begin, None)
        return Manifest(Path("jobs.yaml"), accounts, (job,), output, dict(CATALOGUE))

    def publish_all(self, tree: Tree) -> None:
        """Write the data files, of all days and of all accounts that were never refused."""
        at = int(instant(self.last + 60))
        for dataset in self.datasets:
            for month in range(month_of(self.begin), month_of(self.last) + 1):
                answers = [
                    RawAnswer(
                        Window(appid, dataset, day, day), at, 0, self._body(dataset, appid, day)
                    )
                    for day in range(self.begin, self.last + 1)
                    if month_of(day) == month
                    for appid in self.appids
                    if appid not in self.refused or day < self.lost_at
                ]
                group = raw_log.write_group(tree, 0, "backfill", answers)
                place = Partition(dataset, month, 0)
                publish.publish(tree, CATALOGUE[dataset], place, [group], TrustedTimes(lambda: at))
                raw_log.delete(tree, group)

    def _body(self, dataset: str, appid: str, day: Day) -> bytes:
        if has_day(self.gaps.get(appid, NO_DAYS), day):
            return body([])
        return body(expected_rows(dataset, appid, day))

    @property
    def lost_at(self) -> Day:
        """The day from which on the lost accounts are refused."""
        return self.begin + self.days // 8

    def live(self, tree: Tree, first: Day, last: Day) -> None:
        """Make the runs that ask for these days, each on the day after it."""
        for day in range(first, last + 1):
            for minute in RUNS_A_DAY:
                self.run(tree, day, instant(day + 1, minute), is_late=minute != RUNS_A_DAY[0])

    def run(self, tree: Tree, newest: Day, now: float, *, is_late: bool) -> None:
        """Make one run, from its record's beginning to its end."""
        manifest, times = self.manifest(Output(Path())), [now]
        log = RunLog(Stream(Record.begun(manifest.file, now), lambda: times[0]))
        stream = log.stream
        with recorded(log):
            stream.report(facts.Begun({"schedule": "daily"}, None, instant(newest + 2, 600)))
            log.open(tree, [0])
            stream.report(facts.Planned(2400, 2400, (240.0, "rate"), self.count))
            stream.report(facts.Counted(2400, 2390, 10, self.count, 2_000_000))
            times[0] += 300.0
            log.write()
            for dataset in LATE if is_late else self.datasets:
                if dataset in self.datasets:
                    log.record_published(self._published(dataset, newest, is_late=is_late))
            stream.drain()
            for item in self._abandoned(newest):
                stream.report(item)
            stream.report(facts.AskingEnded(times[0]))
            with pytest.MonkeyPatch.context() as patch:
                states, now = self._states(newest), times[0]
                silence = {name: Evidence(CATALOGUE[name], now, {}, {}) for name in self.datasets}
                patch.setattr(coverage_scan, "read", lambda *_: Scan(states, silence))
                harvested = self._harvested(newest, is_late=is_late)
                own, clock = stream.own, CheckedClock(lambda: times[0], lambda: 0.0, "")
                stream.report(read_coverage(own, manifest, tree, harvested, clock))

    def _harvested(self, newest: Day, *, is_late: bool) -> Harvested:
        wanted = dict.fromkeys(self.appids, day_range(self.begin, newest))
        before = self._states(newest if is_late else newest - 1)
        gaps = coverage_scan.gaps(before)
        return Harvested(dict.fromkeys(self.datasets, wanted), gaps, [])

    def quarantine_some(self, tree: Tree) -> None:
        """Put the answers of a few days into quarantine."""
        for appid, day in self._rejected:
            window = Window(appid, self.datasets[0], day, day)
            answer = RawAnswer(window, int(instant(day + 2)), 0, body([{"new_user": "many"}]))
            quarantine.keep(tree, day, REASON, answer, "20260101T000000Z-000000")

    @cached_property
    def _rejected(self) -> list[tuple[str, Day]]:
        return [(appid, self.begin) for appid in self.appids[-20 : -20 + self.count // 30]]

    def _published(self, dataset: str, newest: Day, *, is_late: bool) -> Published:
        some = [
            appid for appid in self.appids if appid not in self.refused or newest < self.lost_at
        ]
        appids = set(self.chance.sample(some, len(some) // 5) if is_late else some)
        rowless = set[RowlessElement]()
        if dataset == "biz_summary":
            for appid in self.chance.sample(self.appids, self.count // 20):
                day = newest - self.chance.randrange(7)
                rowless.add(RowlessElement(appid, dataset, day, "2247483650_1"))
        rows = self.chance.randrange(10_000)
        return Published(
            dataset,
            month_of(newest),
            Tree(None).name(Partition(dataset, month_of(newest), 0)),  # type: ignore[arg-type]  # a name alone
            rows,
            rows + len(appids),
            days=one_day(newest),
            appids=appids,
            changed_days=one_day(newest),
            changed_appids=appids,
            without_rows=rowless,
        )

    def _abandoned(self, newest: Day) -> list[AbandonedDays]:
        if newest < self.lost_at:
            return []
        why = Refusal(40125, "invalid appsecret, view more at https://mp.weixin.qq.com", "6a0d-1b")
        count = newest - self.lost_at + 1
        return [
            AbandonedDays(appid, name, self.lost_at, newest, count, rule_for(40125), why)
            for appid in self.refused
            for name in self.datasets
        ]

    def _states(self, newest: Day) -> dict[str, dict[str, States]]:
        return {
            name: {appid: self._state(name, appid, newest) for appid in self.appids}
            for name in self.datasets
        }

    def _state(self, dataset: str, appid: str, newest: Day) -> States:
        until = min(newest, self.lost_at - 1) if appid in self.refused else newest
        answered: DaySet = day_range(self.begin, until)
        bad = NO_DAYS
        if dataset == self.datasets[0]:
            bad = sum(one_day(day) for name, day in self._rejected if name == appid)
        rows = answered & ~self.gaps.get(appid, NO_DAYS) & ~bad
        sparse = CATALOGUE[dataset].sparse
        return States(answered, answered & ~bad, rows, NO_DAYS, bad, sparse=sparse)


def sizes(tree: Tree) -> dict[str, int]:
    """Return the bytes of the data files, and of each kind of side file."""
    found: dict[str, int] = {}
    for file in tree.store.list(""):
        parts = file.name.split("/")
        kind = parts[1] if parts[0] == META_DIR else "data" if parts[0] in CATALOGUE else parts[0]
        found[kind] = found.get(kind, 0) + file.size
    return found

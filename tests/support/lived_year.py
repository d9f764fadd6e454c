"""Daily runs through a life of WeChat's: the real code from lock to record, each in its own fork.

``python -m tests.support.lived_year '{"accounts": 12, "days": 45}'`` lives a `Scope` and prints
its report as JSON. A run is in virtual time and without sockets. It is killed as ``kill -9`` does
it. Its memory and its CPU time are its own; the time that WeChat itself takes is counted apart.
A ``folder`` beside the members of the scope is where the output is made for the time being.
"""

from __future__ import annotations

import gc
import json
import os
import pickle
import sys
import tempfile
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import anyio
import pyarrow.parquet as pq

from harvester.catalogue import CATALOGUE
from harvester.core import readiness
from harvester.core.calendar import Day, day_text, each_day, month_begin, month_of
from harvester.core.config.settings import Limits, Manifest, Pace
from harvester.core.errors import HarvesterError
from harvester.core.model import Partition, Rate
from harvester.runs.harvest import execute
from harvester.runs.narrator import Narrator
from harvester.runs.record.events import Event as RunEvent
from harvester.runs.record.events import Problem
from harvester.runs.record.record import Record
from harvester.runs.run_log import RunLog
from harvester.runs.runtime import RunOptions
from harvester.runs.stream import Stream
from harvester.storage import layout, partition_reader
from harvester.storage.backends import atomic_files
from tests.support.fake_time import VirtualTimeHarness, in_virtual_time
from tests.support.life_report import (
    Comparison,
    DayNews,
    DaySizes,
    LostDay,
    RunReport,
    RunsLog,
    report_of,
)
from tests.support.life_stories import Scope, Story, Trouble, story_of
from tests.support.living_wechat import LivingNetwork, LivingWeChat, brings_rows
from tests.support.run_harness import columns, flat_rows, run_state

T = TypeVar("T")
_WIDE = Limits(Pace(Rate(1_000, 0.0001), burst=1000, concurrency=4), connections=100)
_DIED = 9
_REMEMBERED_DAYS = 100


@dataclass
class LivingHarness(VirtualTimeHarness):
    """A harness whose WeChat lives by a story."""

    story: Story = field(kw_only=True)
    joined: tuple[str, ...] = ()

    @property
    def appids(self) -> tuple[str, ...]:
        """The accounts that are in the manifest today."""
        return self.joined


def in_child(work: Callable[[Callable[[T], None]], T]) -> T:
    """Do work in a fork, and return what it returns or hands to its argument.

    Raises RuntimeError if it does neither.
    """
    reading, writing = os.pipe()
    # What this process keeps must cost a run neither time nor memory.
    gc.freeze()
    child = os.fork()
    if not child:
        os.close(reading)

        def answer(value: T) -> None:
            with os.fdopen(writing, "wb") as pipe:
                pickle.dump(value, pipe)

        code = 1
        try:
            answer(work(answer))
            code = 0
        except BaseException:  # noqa: BLE001 - a fork must not go on as its parent
            traceback.print_exc()
        os._exit(code)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.read()
    os.waitpid(child, 0)
    if not told:
        raise RuntimeError("a run died without a word")
    found: T = pickle.loads(told)
    return found


class _Memory(NamedTuple):
    """Resident memory of this process in KiB: now, and its peak since `reset`."""

    now: int
    peak: int

    @staticmethod
    def reset() -> None:
        """Begin a new peak, if the system lets us."""
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")

    @classmethod
    def read(cls) -> _Memory:
        """Return the present numbers."""
        status = Path("/proc/self/status").read_text()
        lines = dict(line.split(":", 1) for line in status.splitlines())
        return cls(*(int(lines[name].split()[0]) for name in ("VmRSS", "VmHWM")))


@dataclass
class _Changes:
    """Changes of files by this process: ``at_end`` is called before the one of a place."""

    place: int
    publishing: bool
    at_end: Callable[[], None]
    count: int = 0

    def install(self) -> None:
        """Count from now on, for the rest of this process."""
        atomic_files.sync = self._counting(atomic_files.sync)
        for name in ("replace", "unlink"):
            setattr(Path, name, self._counting(getattr(Path, name)))

    def _counting(self, change: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            self.count += 1
            is_data = any(str(each).endswith(".parquet") for each in args[1:])
            if self.count == self.place or (self.publishing and is_data):
                self.at_end()
                os._exit(_DIED)
            return change(*args, **kwargs)

        return counted


class Year:
    """One output that daily runs keep whole, and what is known of its days."""

    def __init__(self, scope: Scope, root: Path) -> None:
        self.scope, self.root = scope, root
        self.story = story_of(scope)
        self.reports: list[RunReport] = []
        self.news: list[DayNews] = []
        self.sizes: list[DaySizes] = []
        self._rows: dict[tuple[str, str, Day], int] = {}
        self._final: defaultdict[Partition, dict[str, int]] = defaultdict(dict)
        self._usual_changes = 100

    def live(self, tell: Callable[[str], object] = lambda _: None) -> None:
        """Make all runs, and after each day tell a line."""
        # What a run loads is loaded once, and not by each of them.
        anyio.run(anyio.sleep, 0)
        for day in range(self.scope.first, self.scope.last + 1):
            trouble = self.story.troubles.get(day, Trouble())
            self._day(day, trouble)
            if trouble.repeated:
                self._day(day, Trouble())
            self.sizes.append((day, sizes_of(self.root)))
            tell(str(self.reports[-1]))
        for later in self.scope.settling:
            self._day(self.scope.last + later, Trouble(), end=self.scope.last - 1)

    def _day(self, day: Day, trouble: Trouble, end: Day | None = None) -> None:
        for number in range(1, self.scope.shards + 1):
            shard = number, self.scope.shards
            self._take(in_child(partial(self._run, day, trouble, end, shard)))

    def _take(self, report: RunReport) -> None:
        """Take in what a run did."""
        new = self._newly_final(report)
        # What a killed run was answered is known only once it is published.
        known = self._rows if not report.is_killed else dict[tuple[str, str, Day], int]()
        counts: Counter[str] = Counter()
        for answer in report.answered:
            rows = brings_rows(answer, known)
            final = any((answer.dataset, answer.appid, day) in new for day in answer.days)
            counts["calls"] += 1
            counts["news"] += rows or final
            counts[answer.dataset] += 1
            counts[f"{answer.dataset} news"] += rows or final
        old = report.day - _REMEMBERED_DAYS
        self._rows = {key: value for key, value in self._rows.items() if key[2] >= old}
        self.news.append(DayNews(report.day, dict(counts)))
        if not report.is_killed:
            self._usual_changes = report.changes
        self.reports.append(replace(report, answered=[], final={}))

    def _newly_final(self, report: RunReport) -> set[tuple[str, str, Day]]:
        found = set()
        for partition, accounts in report.final.items():
            before = self._final[partition]
            begin = month_begin(partition.month)
            for appid, mask in accounts.items():
                gained = mask & ~before.get(appid, 0)
                while gained:
                    day = gained.bit_length() - 1
                    gained &= ~(1 << day)
                    found.add((partition.dataset, appid, begin + day))
            self._final[partition] = accounts
        return found

    # In a fork.

    def _run(
        self,
        day: Day,
        trouble: Trouble,
        end: Day | None,
        shard: tuple[int, int],
        tell: Callable[[RunReport], None],
    ) -> RunReport:
        harness = self._harness(day, trouble, end)
        network = harness.net
        assert isinstance(network, LivingNetwork)
        report = RunReport(day, shard[0], len(harness.appids), _pace())
        problems: list[Problem] = []

        def keep(event: RunEvent) -> None:
            if isinstance(event, Problem):
                problems.append(event)

        def so_far() -> RunReport:
            return replace(
                report,
                answered=network.wechat.answered,
                problems=tuple(sorted({_said(each) for each in problems})),
                changes=changes.count,
                cpu=time.process_time() - began - network.seconds,
                server=network.seconds,
                memory=_Memory.read().peak - memory.now,
            )

        place = int(trouble.kill * self._usual_changes) + 1 if trouble.kill else 0
        changes = _Changes(
            place, trouble.kill_publishing, lambda: tell(replace(so_far(), is_killed=True))
        )
        changes.install()
        _Memory.reset()
        memory, began = _Memory.read(), time.process_time()
        with in_virtual_time(harness):
            options = RunOptions(shard=shard, max_duration=trouble.budget)
            record = _executed(harness, options, keep)
        done = so_far()
        return replace(
            done,
            exit_code=int(record.exit_code),
            reasons=tuple(record.reasons()),
            attention={item.key: item.new for item in record.attention},
            requests=record.requests,
            final=self._final_days(harness, record),
        )

    def _harness(self, day: Day, trouble: Trouble, end: Day | None) -> LivingHarness:
        life = self.story.life
        harness = LivingHarness(
            self.root,
            today=day_text(day),
            begin=day_text(self.scope.first_wanted),
            end=None if end is None else day_text(end),
            datasets=self.scope.datasets,
            limits=_WIDE,
            buckets=self.scope.buckets,
            skew=trouble.skew,
            minute=trouble.minute,
            # Each day has a runner of its own.
            boot=f"boot of {day}",
            story=self.story,
            joined=tuple(appid for appid in life.appids if life.joins(appid) <= day),
        )
        wechat = LivingWeChat(life, harness.now)
        harness.net = LivingNetwork(harness, harness.net.rng, wechat=wechat, dates=trouble.dates)
        harness.net.is_down, harness.net.slow = trouble.is_down, trouble.slow
        return harness

    def _final_days(
        self, harness: LivingHarness, record: Record
    ) -> dict[Partition, dict[str, int]]:
        """Return the final days in the files that a run replaced."""
        tree = harness.tree
        names = {item.path for item in record.published}
        found: dict[Partition, dict[str, int]] = {}
        for dataset in self.scope.datasets:
            located = layout.partitions(tree, dataset)
            mine = {each: file for each, file in located.items() if file.name in names}
            read = partition_reader.rows_and_footers(tree.store, mine.values())
            for each, file in zip(mine, read, strict=True):
                if file is not None:
                    known = file[1].coverage
                    found[each] = dict(zip(known.appids, known.masks["final"], strict=True))
        return found

    def compared(self) -> Comparison:
        """Return how the rows of the output differ from the truth."""
        return in_child(lambda _: self._compare())

    def _compare(self) -> Comparison:
        found = Comparison()
        for dataset in self.scope.datasets:
            for month, days in self._months(dataset):
                self._compare_month(found, dataset, month, days)
        return found

    def _months(self, dataset: str) -> Iterator[tuple[str, list[Day]]]:
        """Yield the wanted days by month."""
        facts = CATALOGUE[dataset]
        begin = max(self.scope.first_wanted, facts.first_day)
        months: defaultdict[str, list[Day]] = defaultdict(list)
        for day in each_day(readiness.periods(facts.grain, begin, self.scope.last - 1)):
            months[day_text(month_begin(month_of(day)))[:7]].append(day)
        yield from months.items()

    def _compare_month(self, found: Comparison, dataset: str, month: str, days: list[Day]) -> None:
        facts = CATALOGUE[dataset]
        names = columns(dataset)
        key = [0, *(names.index(name) for name in facts.key)]
        there: dict[tuple[Any, ...], tuple[Any, ...]] = {}
        for path in (self.root / dataset / f"ref_month={month}").glob("*.parquet"):
            read = pq.ParquetFile(path).read(columns=names)
            for row in zip(*(read.column(name).to_pylist() for name in names), strict=True):
                there[tuple(row[place] for place in key)] = row
        found.rows += len(there)
        for appid in self.story.life.appids:
            for day in days:
                truth = self.story.life.truth(dataset, appid, day)
                lost = wrong = 0
                for row in flat_rows(facts, appid, truth):
                    stored = there.pop(tuple(row[place] for place in key), None)
                    lost += stored is None
                    wrong += stored is not None and stored != row
                if lost:
                    found.lost.append(LostDay(dataset, appid, day, lost))
                if wrong:
                    found.wrong.append(LostDay(dataset, appid, day, wrong))
        found.extra += len(there)


def _pace() -> float:
    """Return the CPU seconds of a fixed piece of work."""
    began = time.process_time()
    for number in range(300):
        json.loads(json.dumps([{"day": number + place, "rows": [place]} for place in range(100)]))
    return time.process_time() - began


def _said(problem: Problem) -> str:
    code = "" if problem.errcode is None else f" {problem.errcode}"
    return f"{problem.cause}{code}"


def _executed(
    harness: LivingHarness, options: RunOptions, listener: Callable[[RunEvent], object]
) -> Record:
    """Execute a run as the command does, and return its record, of whatever end."""
    manifest: Manifest = harness.manifest()
    context = harness.world()
    stream = Stream(Record.begun(manifest.file, context.clock.started_at), context.clock)
    stream.listeners.append(Narrator(listener))
    log = RunLog(stream)
    try:
        execute(run_state(manifest, harness.tree, options, context, log))
    except HarvesterError as error:
        stream.own.failed = error
    return stream.own


def live(
    scope: Scope, folder: str | None = None, tell: Callable[[str], object] = lambda _: None
) -> dict[str, Any]:
    """Live a scope in a temporary folder, and return its report as plain data."""
    with tempfile.TemporaryDirectory(prefix="year-", dir=folder) as root:
        began = time.perf_counter()
        year = Year(scope, Path(root))
        year.live(tell)
        compared = year.compared()
        log = RunsLog(year.reports, year.news, year.sizes, time.perf_counter() - began)
        return report_of(scope, year.story, log, compared)


def sizes_of(root: Path) -> dict[str, int]:
    """Return the bytes of each kind of file of an output."""
    found: Counter[str] = Counter()
    for folder, _, names in os.walk(root):
        parts = Path(folder).relative_to(root).parts
        kind = "data" if parts[:1] != ("_harvester",) else "/".join(parts[1:2]) or "other"
        found[kind] += sum((Path(folder) / name).stat().st_size for name in names)
    return dict(found)


def main() -> None:
    """Live the scope of the first argument."""
    given = json.loads(sys.argv[1]) if len(sys.argv) > 1 else {}
    folder = given.pop("folder", None)
    lists = {name: tuple(value) for name, value in given.items() if isinstance(value, list)}

    def tell(line: str) -> None:
        sys.stderr.write(f"{line}\n")

    sys.stdout.write(json.dumps(live(Scope(**{**given, **lists}), folder, tell)))


if __name__ == "__main__":
    main()

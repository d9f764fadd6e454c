"""Whole runs over real HTTP against an emulator whose counters tests can check afterwards."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import duckdb

from harvester.catalogue import CATALOGUE
from harvester.core import readiness
from harvester.core.calendar import Day, date_of, day_range, day_text, each_day, instant, parse_day
from harvester.core.config.credentials import AppSecret
from harvester.core.config.expect import Expect
from harvester.core.config.settings import (
    Account,
    Api,
    Credential,
    Job,
    Limits,
    Manifest,
    Output,
    Pace,
    Retry,
)
from harvester.core.dataset import Column, Dataset, Kind, Nesting
from harvester.core.model import Rate
from harvester.core.secret import Secret
from harvester.planning.sharding import of_shard, own_buckets
from harvester.runs.clock import CheckedClock
from harvester.runs.harvest import execute
from harvester.runs.narrator import Narrator
from harvester.runs.record.record import Record
from harvester.runs.run_log import RunLog
from harvester.runs.run_state import RunState
from harvester.runs.runtime import RunContext, RunOptions
from harvester.runs.stream import Stream, Watch, show_no_progress
from harvester.sandbox import Rules
from harvester.sandbox.data import Row, expected_rows
from harvester.sandbox.server import serve
from harvester.storage.layout import Tree, open_tree
from tests.support.faulty_wechat import FaultyWeChat as Sandbox

DAILY = "interface_summary"
HOURLY = "interface_summary_hour"
BOTH = (DAILY, HOURLY)
FAST = Limits(Pace(Rate(10_000, 0.01), burst=1000, concurrency=8), connections=32)
SECRET = Credential(secret="${SECRET}")
QUICK_RETRY = Retry(max_attempts=6, initial_delay=0.001, max_delay=0.01)


def run_once(
    manifest: Manifest,
    tree: Tree,
    *,
    options: RunOptions,
    context: RunContext,
    watch: Watch = show_no_progress,
) -> Record:
    """Execute one run, and return its summary."""
    stream = Stream(Record.begun(manifest.file, context.clock.started_at), context.clock)
    stream.watch = watch
    # Logs the oddities, as the command does.
    stream.listeners.append(Narrator())
    log = RunLog(stream)
    execute(run_state(manifest, tree, options, context, log))
    return log.stream.own


def run_state(
    manifest: Manifest, tree: Tree, options: RunOptions, context: RunContext, log: RunLog
) -> RunState:
    """Return the state with which a run of these options begins."""
    own = own_buckets(manifest.output.buckets, options.shard)
    mine = of_shard(manifest, own)
    grant = mine.limits.max_requests
    place = tree, options, context, own, log
    return RunState(mine, mine, *place, lambda _: (mine, mine), grant)


def newest_days(count: int) -> dict[str, str]:
    """Return the range of the newest ready days in the words of a manifest, whatever the hour."""
    newest = readiness.newest_ready(CATALOGUE[DAILY], time.time())
    begin, end = day_text(newest - count + 1), day_text(newest)
    return {"begin_date": begin, "end_date": end}


def appid(number: int) -> str:
    """Return the appid of the account with this number."""
    return f"wx{number:016x}"


@dataclass
class RunHarness:
    """An output, an emulator, and a manifest whose fields a test changes between runs.

    The output is the folder ``root`` unless ``output`` is given. Noon of ``today`` is the start of
    the clock, unless ``minute`` of that day is given. The clock of the machine of the runs, whose
    start ``boot`` names, is ``skew`` seconds ahead of it.
    """

    root: Path
    output: Output | None = None
    today: str = "2026-05-20"
    accounts: int = 3
    begin: str = "2026-03-01"
    end: str | None = "2026-03-31"
    minute: int = 12 * 60
    datasets: tuple[str, ...] = BOTH
    limits: Limits = FAST
    retry: Retry = QUICK_RETRY
    buckets: int = 1
    skew: float = 0.0
    boot: str = "boot"
    rules: Rules = field(default_factory=Rules)
    source: Callable[[str, str, Day], list[Row]] = expected_rows
    expect: dict[str, Expect] = field(default_factory=dict)
    sandbox: Sandbox = field(init=False)

    def __post_init__(self) -> None:
        """Start the clock and the emulator."""
        self._zero = time.monotonic()
        self.sandbox = Sandbox(self.rules, self.now, source=self.source)

    def now(self) -> float:
        """Return the Unix time: that minute of ``today`` in Beijing, and the real time since."""
        return instant(parse_day(self.today), self.minute) + time.monotonic() - self._zero

    def clock(self) -> CheckedClock:
        """Return the clock of a run: ``skew`` seconds ahead, of a machine that was never off."""
        return CheckedClock(lambda: self.now() + self.skew, self.now, self.boot)

    def advance(self, seconds: float) -> None:
        """Move the clock forward."""
        self._zero -= seconds

    def one_at_a_time(self) -> Limits:
        """Return limits under which only one request is in flight."""
        return replace(self.limits, connections=1)

    def one_of_each_at_a_time(self) -> Limits:
        """Return limits under which only one request of each account is in flight."""
        return replace(self.limits, per_token=replace(self.limits.per_token, concurrency=1))

    @property
    def place(self) -> Output:
        """The location of the output."""
        return replace(self.output or Output(self.root), buckets=self.buckets)

    @property
    def tree(self) -> Tree:
        """The tree of the output, opened as a new run opens it."""
        return open_tree(self.place)

    @property
    def appids(self) -> tuple[str, ...]:
        """The accounts of the manifest."""
        return tuple(appid(number) for number in range(1, self.accounts + 1))

    def manifest(self) -> Manifest:
        """Return the manifest of the present fields."""
        end = None if self.end is None else parse_day(self.end)
        return Manifest(
            file=self.root / "jobs.yaml",
            accounts=tuple(Account(name, credential=SECRET) for name in self.appids),
            jobs=(Job("job-1", self.datasets, self.appids, parse_day(self.begin), end),),
            output=self.place,
            datasets=dict(CATALOGUE),
            limits=self.limits,
            retry=self.retry,
            expect=self.expect,
        )

    def run(self, tree: Tree | None = None, **options: Any) -> Record:
        """Execute one run, through ``tree`` if it is given, and return its summary."""
        return run_once(
            self.manifest(), tree or self.tree, options=RunOptions(**options), context=self.world()
        )

    def world(self) -> RunContext:
        """Return the context of a run: the emulator and the clock of this harness."""
        return RunContext(
            clock=self.clock(),
            open_api=self._reach,
            credentials=lambda _: AppSecret(Secret("lab")),
        )

    @asynccontextmanager
    async def _reach(self) -> AsyncIterator[Api]:
        async with serve(self.sandbox) as address:
            yield replace(Api(timeout=5.0), base_url=address)

    def calls(self) -> int:
        """Return the number of data calls that the emulator got."""
        return sum(self.sandbox.counters.calls.values())


def days_between(begin: str, end: str) -> list[Day]:
    """Return the days from ``begin`` to ``end``, both included."""
    return list(each_day(day_range(parse_day(begin), parse_day(end))))


def expected(dataset: str, appids: Sequence[str], days: Sequence[Day]) -> list[tuple[Any, ...]]:
    """Return the rows that files must hold, by the emulator's own data, sorted by key."""
    rows = [
        row
        for name in appids
        for day in days
        for row in flat_rows(CATALOGUE[dataset], name, expected_rows(dataset, name, day))
    ]
    return sorted(rows)


def flat_rows(dataset: Dataset, name: str, elements: list[Row]) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a file that an account's elements of an answer become, without nesting."""
    for element in elements:
        inside = element.get(dataset.nested_field, {})
        for inner in inside if dataset.nesting is Nesting.ARRAY else [inside]:
            values = element | inner
            yield name, *(_as_file(column, values.get(column.name)) for column in dataset.columns)


def _as_file(column: Column, value: Any) -> Any:
    if value is None:
        return None
    match column.kind:
        case Kind.DATE:
            return date_of(parse_day(value))
        case Kind.HOUR:
            return value // 100
        case Kind.LIST:
            return [
                {each.name: _as_file(each, item.get(each.name)) for each in column.fields}
                for item in value
            ]
    return value


def columns(dataset: str) -> list[str]:
    """Return the columns to compare: the appid and all that WeChat sent."""
    return ["appid", *(column.name for column in CATALOGUE[dataset].columns)]


def published_rows(
    duck: duckdb.DuckDBPyConnection, root: Path, dataset: str
) -> list[tuple[Any, ...]]:
    """Return all rows of a dataset as DuckDB reads them, sorted by key."""
    glob = root / dataset / "ref_month=*" / "*.parquet"
    names = ", ".join(columns(dataset))
    query = f"select {names} from read_parquet('{glob}', hive_partitioning=true)"
    return sorted(duck.sql(query).fetchall())


def files_of(root: Path) -> Iterator[Path]:
    """Yield every data file of an output."""
    found = root.glob("*/ref_month=*/*.parquet")
    return (path for path in found if path.parts[-3] in CATALOGUE)

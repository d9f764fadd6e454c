"""Whole runs over real HTTP against a sandbox that tests can question afterwards."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import duckdb

from harvester.catalogue import CATALOGUE
from harvester.core.calendar import Day, date_of, day_range, each_day, instant, parse_day
from harvester.core.config import (
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
from harvester.core.credentials import AppSecret
from harvester.core.dataset import Column, Dataset, Kind, Nesting
from harvester.core.model import Rate
from harvester.core.secret import Secret
from harvester.operations.record.run_log import RunLog
from harvester.operations.record.summary import Summary, start_summary
from harvester.operations.run import RunState, execute
from harvester.operations.runtime import RunContext, RunOptions, show_no_progress
from harvester.planning.sharding import of_shard, own_buckets
from harvester.sandbox import FakeWeChat as Sandbox
from harvester.sandbox import Row, Rules, truth
from harvester.sandbox.server import serve
from harvester.storage.layout import Tree, open_tree

DAILY = "interface_summary"
HOURLY = "interface_summary_hour"
BOTH = (DAILY, HOURLY)
FAST = Limits(Pace(Rate(10_000, 0.01), burst=1000, concurrency=8), connections=32)
SECRET = Credential(secret="${SECRET}")
QUICK_RETRY = Retry(max_attempts=6, initial_delay=0.001, max_delay=0.01)


def run_once(manifest: Manifest, tree: Tree, *, orders: RunOptions, world: RunContext) -> Summary:
    """Make coverage whole, as far as it can be had now."""
    books = RunLog(start_summary(manifest.file, world.now()), world.now)
    execute(stage_of(manifest, tree, orders, world, books))
    return books.summary


def stage_of(
    manifest: Manifest, tree: Tree, orders: RunOptions, world: RunContext, books: RunLog
) -> RunState:
    """What a run is about that has these orders."""
    own = own_buckets(manifest.output.buckets, orders.shard)
    return RunState(of_shard(manifest, own), tree, orders, world, own, books)


def appid(number: int) -> str:
    """The appid of the lab's account with this number."""
    return f"wx{number:016x}"


@dataclass
class Lab:
    """An output, a sandbox, and a manifest to change between runs.

    The output is the folder ``root`` unless another place is given.
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
    rules: Rules = field(default_factory=lambda: Rules(history=True))
    source: Callable[[str, str, Day], list[Row]] = truth
    sandbox: Sandbox = field(init=False)

    def __post_init__(self) -> None:
        """Open the sandbox at noon of the lab's day."""
        self._zero = time.monotonic()
        self.sandbox = Sandbox(self.rules, self.now, source=self.source)

    def now(self) -> float:
        """That minute of the lab's day in Beijing, going on from there as real time does."""
        return instant(parse_day(self.today), self.minute) + time.monotonic() - self._zero

    def advance(self, seconds: float) -> None:
        """Turn the clock forward."""
        self._zero -= seconds

    def one_at_a_time(self) -> Limits:
        """Limits under which no two requests are in flight."""
        return replace(self.limits, connections=1)

    def one_of_each_at_a_time(self) -> Limits:
        """Limits under which no two requests of one account are in flight."""
        return replace(self.limits, per_token=replace(self.limits.per_token, concurrency=1))

    @property
    def place(self) -> Output:
        """Where the output is."""
        return replace(self.output or Output(self.root), buckets=self.buckets)

    @property
    def tree(self) -> Tree:
        """The output, as a new run opens it."""
        return open_tree(self.place)

    @property
    def appids(self) -> tuple[str, ...]:
        """The accounts of the manifest."""
        return tuple(appid(number) for number in range(1, self.accounts + 1))

    def manifest(self) -> Manifest:
        """The manifest as it stands now."""
        end = None if self.end is None else parse_day(self.end)
        return Manifest(
            file=self.root / "jobs.yaml",
            accounts=tuple(Account(name, credential=SECRET) for name in self.appids),
            jobs=(Job("job-1", self.datasets, self.appids, parse_day(self.begin), end),),
            output=self.place,
            datasets=dict(CATALOGUE),
            limits=self.limits,
            retry=self.retry,
        )

    def run(self, tree: Tree | None = None, **orders: Any) -> Summary:
        """One whole run, through a tree of a test's own if it has one."""
        return run_once(
            self.manifest(), tree or self.tree, orders=RunOptions(**orders), world=self.world()
        )

    def world(self) -> RunContext:
        """The sandbox and the lab's clock, as a run sees them."""
        return RunContext(
            now=self.now,
            open_api=self._reach,
            credentials=lambda _: AppSecret(Secret("lab")),
            watch=show_no_progress,
        )

    @asynccontextmanager
    async def _reach(self) -> AsyncIterator[Api]:
        async with serve(self.sandbox) as address:
            yield replace(Api(timeout=5.0), base_url=address)

    def calls(self) -> int:
        """How many data calls the sandbox has seen."""
        return sum(self.sandbox.counters.calls.values())


def wanted(begin: str, end: str) -> list[Day]:
    """The days from ``begin`` to ``end``, both included."""
    return list(each_day(day_range(parse_day(begin), parse_day(end))))


def expected(dataset: str, appids: Sequence[str], days: Sequence[Day]) -> list[tuple[Any, ...]]:
    """The rows that files must hold, as the sandbox's own truth has them, sorted by key."""
    rows = [
        row
        for name in appids
        for day in days
        for row in as_rows(CATALOGUE[dataset], name, truth(dataset, name, day))
    ]
    return sorted(rows)


def as_rows(dataset: Dataset, name: str, elements: list[Row]) -> Iterator[tuple[Any, ...]]:
    """What an account's elements of an answer are in a file, nested ones made flat."""
    for element in elements:
        inside = element.get(dataset.inside, {})
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
    """What is compared: everything WeChat sent."""
    return ["appid", *(column.name for column in CATALOGUE[dataset].columns)]


def harvested(duck: duckdb.DuckDBPyConnection, root: Path, dataset: str) -> list[tuple[Any, ...]]:
    """All rows of a dataset as DuckDB reads them, sorted by key."""
    glob = root / dataset / "ref_month=*" / "*.parquet"
    names = ", ".join(columns(dataset))
    query = f"select {names} from read_parquet('{glob}', hive_partitioning=true)"
    return sorted(duck.sql(query).fetchall())


def files_of(root: Path) -> Iterator[Path]:
    """Every data file under an output."""
    return root.glob("*/ref_month=*/*.parquet")

"""Whole runs over real HTTP against a sandbox that tests can question afterwards."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import duckdb

from harvester import progress
from harvester.catalogue import CATALOGUE
from harvester.days import Day, date_of, day_range, each_day, instant, parse_day
from harvester.model import (
    Account,
    Api,
    Job,
    Limits,
    Manifest,
    Output,
    Pace,
    Retry,
    SecretCredential,
)
from harvester.run import Orders, World, run_once
from harvester.sandbox import Row, Rules, truth
from harvester.sandbox import World as Sandbox
from harvester.sandbox.server import serve
from harvester.secret import Secret
from harvester.store.layout import Tree
from harvester.summary import Summary
from tests.trees import tree_at

DAILY = "interface_summary"
HOURLY = "interface_summary_hour"
BOTH = (DAILY, HOURLY)
FAST = Limits(Pace(count=10_000, period=0.01, burst=1000, concurrency=8), connections=32)
QUICK_RETRY = Retry(max_attempts=6, initial_delay=0.001, max_delay=0.01)


def appid(number: int) -> str:
    """The appid of the lab's account with this number."""
    return f"wx{number:016x}"


@dataclass
class Lab:
    """An output, a sandbox, and a manifest to change between runs."""

    root: Path
    today: str = "2026-05-20"
    accounts: int = 3
    begin: str = "2026-03-01"
    end: str | None = "2026-03-31"
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
        """Noon in Beijing on the lab's day, going on from there as real time does."""
        return instant(parse_day(self.today), 12 * 60) + time.monotonic() - self._zero

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
    def tree(self) -> Tree:
        """The output."""
        return tree_at(self.root, self.buckets)

    @property
    def appids(self) -> tuple[str, ...]:
        """The accounts of the manifest."""
        return tuple(appid(number) for number in range(1, self.accounts + 1))

    def manifest(self) -> Manifest:
        """The manifest as it stands now."""
        end = None if self.end is None else parse_day(self.end)
        return Manifest(
            file=self.root / "jobs.yaml",
            accounts=tuple(Account(name, SecretCredential("${SECRET}")) for name in self.appids),
            jobs=(Job("job-1", self.datasets, self.appids, parse_day(self.begin), end),),
            output=Output(self.root, self.buckets),
            datasets=dict(CATALOGUE),
            limits=self.limits,
            retry=self.retry,
        )

    def run(self, **orders: Any) -> Summary:
        """One whole run."""
        world = World(
            now=self.now,
            reach=self._reach,
            credentials=lambda _: Secret("lab"),
            watch=progress.show_nothing,
        )
        return run_once(self.manifest(), self.tree, orders=Orders(**orders), world=world)

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
        _as_file(row, name) for name in appids for day in days for row in truth(dataset, name, day)
    ]
    return sorted(rows)


def _as_file(row: Row, name: str) -> tuple[Any, ...]:
    values: list[Any] = [name]
    for column, value in row.items():
        if column == "ref_date":
            values.append(date_of(parse_day(str(value))))
        elif column == "ref_hour":
            values.append(int(value) // 100)
        else:
            values.append(value)
    return tuple(values)


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

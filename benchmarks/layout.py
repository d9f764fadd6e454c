"""26 million hourly rows in the layout of a run, beside more obvious layouts.

Runs only if it is named: it takes minutes, and Spark.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
from pyspark.sql import SparkSession

from benchmarks.processes import measure, program
from benchmarks.result import Result, Settings, Table
from benchmarks.workload import busy
from harvester.core.calendar import parse_day

BEGIN, END = parse_day("2022-01-01"), parse_day("2024-12-31")
"""Three years, one of them a leap year."""

NAME = "interface_summary_hour"
ROUNDS = 5


class Layout(NamedTuple):
    """A tree of files: where, what DuckDB is given, and how long it took to write."""

    name: str
    root: Path
    pattern: str
    seconds: float

    @property
    def files(self) -> list[Path]:
        """All of them."""
        return list(self.root.rglob("*.parquet"))


def run(settings: Settings) -> Result:
    """Publish, write the others from that, and ask all of them the same."""
    count, begin = (50, parse_day("2024-10-01")) if settings.quick else (1_000, BEGIN)
    appids = busy(count)
    layouts = list(_layouts(settings.folder, appids, begin))
    with duckdb.connect(config={"threads": 2}) as duck:
        counted = {_rows(duck, layout) for layout in layouts}
        assert len(counted) == 1, counted
        in_duckdb = [_in_duckdb(duck, layout, appids[count // 2]) for layout in layouts]
    in_spark = _in_spark(layouts, appids[count // 2])
    (rows,) = counted
    sizes = tuple(
        (
            layout.name,
            f"{len(layout.files):,}",
            f"{sum(path.stat().st_size for path in layout.files) / 1e6:.1f}",
            f"{layout.seconds:.0f}",
        )
        for layout in layouts
    )
    figures = {
        layout.name: {"duckdb": duck, "spark": spark, "files": len(layout.files)}
        for layout, duck, spark in zip(layouts, in_duckdb, in_spark, strict=True)
    }
    title = f"{rows:,} hourly rows, {count:,} accounts"
    return Result(
        "layout",
        (
            Table(f"Layout: {title}", ("", "files", "MB", "made in s"), sizes),
            _table("DuckDB, ms", layouts, in_duckdb),
            _table("Spark, ms", layouts, in_spark),
        ),
        (),
        figures,
    )


def _table(title: str, layouts: list[Layout], taken: list[dict[str, float]]) -> Table:
    rows = tuple(
        (layout.name, *(f"{value:,.0f}" for value in times.values()))
        for layout, times in zip(layouts, taken, strict=True)
    )
    return Table(title, ("", *taken[0]), rows)


def _layouts(folder: Path, appids: tuple[str, ...], begin: int) -> Iterator[Layout]:
    for buckets in (1, 4):
        root = folder / f"published-{buckets}"
        plan = {"appids": appids, "begin": begin, "end": END, "buckets": buckets}
        (folder / "publish.json").write_text(json.dumps(plan))
        took = measure(program("published_tree", folder / "publish.json", root))
        files = "bucket" if buckets == 1 else "buckets"
        yield Layout(
            f"ref_month=, {buckets} {files}", root / NAME, f"{root}/{NAME}/*/*.parquet", took.wall
        )
    source = f"read_parquet('{folder}/published-1/{NAME}/*/*.parquet', hive_partitioning=false)"
    with duckdb.connect(config={"threads": 2, "memory_limit": "8GB"}) as duck:
        duck.execute("set partitioned_write_max_open_files = 2000")
        for column in ("appid", "ref_date"):
            root = folder / column
            start = time.perf_counter()
            duck.execute(
                f"copy (select * from {source} order by {column}) to '{root}'"
                f" (format parquet, partition_by ({column}), compression zstd)"
            )
            yield Layout(f"{column}=", root, f"{root}/*/*.parquet", time.perf_counter() - start)


def _rows(duck: duckdb.DuckDBPyConnection, layout: Layout) -> int:
    (found,) = duck.execute(f"select count(*) from {_source(layout)}").fetchall()
    return int(found[0])


def _source(layout: Layout) -> str:
    return f"read_parquet('{layout.pattern}', hive_partitioning=true)"


def _questions(appid: str) -> dict[str, str]:
    """Return the queries of a table called {t}: all of it, one account, one day, one month."""
    total = "select sum(callback_count), max(max_time_cost) from {t}"
    return {
        "everything": total,
        "by account": "select appid, sum(callback_count) from {t} group by appid",
        "1 account": f"{total} where appid = '{appid}'",
        "1 day": f"{total} where ref_date = date '2024-11-12'",
        "1 month": f"{total} where ref_date between date '2024-11-01' and date '2024-11-30'",
    }


def _in_duckdb(duck: duckdb.DuckDBPyConnection, layout: Layout, appid: str) -> dict[str, float]:
    return {
        name: _median(lambda q=query: duck.execute(q.format(t=_source(layout))).fetchall())  # type: ignore[misc]
        for name, query in _questions(appid).items()
    }


def _in_spark(layouts: list[Layout], appid: str) -> list[dict[str, float]]:
    builder: Any = SparkSession.builder
    spark = (
        builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.driver.memory", "3g")
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("ERROR")
    try:
        # The first of all questions would pay for warming up.
        spark.read.parquet(str(layouts[0].root)).count()
        return [_ask_spark(spark, layout, appid) for layout in layouts]
    finally:
        spark.stop()


def _ask_spark(spark: Any, layout: Layout, appid: str) -> dict[str, float]:
    start = time.perf_counter()
    frame = spark.read.parquet(str(layout.root))
    frame.createOrReplaceTempView("t")
    taken = {"open": (time.perf_counter() - start) * 1e3}
    for name, query in _questions(appid).items():
        taken[name] = _median(lambda q=query: spark.sql(q.format(t="t")).collect(), 3)  # type: ignore[misc]
    return taken


def _median(ask: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Milliseconds, the middle of some rounds."""
    taken = []
    for _ in range(rounds):
        start = time.perf_counter()
        ask()
        taken.append((time.perf_counter() - start) * 1e3)
    return statistics.median(taken)

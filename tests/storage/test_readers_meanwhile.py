"""Engines that ask while files are replaced: never a doubled, mixed or wrong row.

A query may fail, and Spark may see too few rows, for it keeps lengths of files. The guide says so.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import duckdb
import polars as pl
import pyarrow as pa
import pytest

from harvester.core.calendar import month_of
from harvester.core.model import Partition
from harvester.storage import partition_writer
from harvester.storage.footer import Footer
from harvester.storage.partition_writer import NewFile
from harvester.tables import coverage
from harvester.tables.columns import arrow_schema
from tests.support.answers import DAILY, MARCH, appid
from tests.support.output_helpers import tree_at

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

MONTHS = 6
QUERIES = [pytest.param(15, id="15"), pytest.param(300, id="300", marks=pytest.mark.slow)]
SPARK_QUERIES = [pytest.param(5, id="5"), pytest.param(300, id="300", marks=pytest.mark.slow)]
LARGEST = 40_000

POLARS_SAYS = (pl.exceptions.ComputeError, pl.exceptions.PanicException)
SPARK_SAYS = ("FAILED_READ_FILE", "AnalysisException")
"""As docs/reading.md has it."""


class Seen(NamedTuple):
    """The result of a query on a month: its rows, different accounts, and versions."""

    month: str
    rows: int
    accounts: int
    oldest: int
    newest: int


def rows_of(version: int) -> int:
    """Return the number of rows that a file has in its Nth replacement: more or fewer each time."""
    return 1_000 + version * 7_919 % LARGEST


class Replaced:
    """Files that are replaced, one after the other, as long as the block lasts."""

    def __init__(self, root: Path) -> None:
        self.tree = tree_at(root)
        self.count = 0
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._go_on)
        for month in range(MONTHS):
            self.replace(month)

    @property
    def folder(self) -> Path:
        """Of the dataset."""
        return Path(self.tree.store.display_path(DAILY.name))

    @property
    def pattern(self) -> str:
        """All files of it."""
        return f"{self.folder}/ref_month=*/*.parquet"

    def replace(self, month: int) -> None:
        """Replace a file by one of which every row has the number of this replacement."""
        number = self.count
        rows = rows_of(number)
        partition = Partition(DAILY.name, month_of(MARCH) + month, 0)
        schema = arrow_schema(DAILY)
        values: dict[str, Any] = {
            field.name: pa.array([number] * rows if field.type == pa.int64() else [None] * rows)
            for field in schema
        }
        values["appid"] = [appid(n) for n in range(rows)]
        values["ref_date"] = pa.array([MARCH] * rows, pa.int32()).cast(pa.date32())
        arrays = [pa.array(values[field.name], field.type) for field in schema]
        table = pa.Table.from_arrays(arrays, schema=schema)
        # Several row groups, or a reader with an old length would find all or nothing.
        pieces = [table.slice(start, 4_096) for start in range(0, rows, 4_096)]
        draft = NewFile(self.tree.store, self.tree.name(partition), DAILY)
        known = Footer(coverage.empty(partition.month), {})
        partition_writer.write(draft, pieces, lambda: known)
        self.count += 1

    def begin(self) -> None:
        """Replace from now on, in a thread."""
        self._thread.start()

    def end(self) -> None:
        """Replace no more."""
        self._ending.set()
        self._thread.join()

    def _go_on(self) -> None:
        while not self._ending.is_set():
            self.replace(self.count % MONTHS)


@pytest.fixture
def replaced(tmp_path: Path) -> Iterator[Replaced]:
    """Six files under replacement."""
    files = Replaced(tmp_path)
    files.begin()
    yield files
    files.end()


QUERY = """
    select ref_month, count(*), count(distinct appid), min(callback_count), max(callback_count)
    from {} group by ref_month
"""


def check(found: list[Seen], *, stale: bool = False) -> None:
    """Every month is there once, whole, and of a single replacement."""
    assert len({seen.month for seen in found}) == len(found) == MONTHS
    for seen in found:
        assert seen.oldest == seen.newest
        assert seen.accounts == seen.rows
        if stale:
            assert 0 < seen.rows <= rows_of(seen.oldest)
        else:
            assert seen.rows == rows_of(seen.oldest)


class Asked(NamedTuple):
    """The number of answered queries, and the errors of the others."""

    answered: int
    said: list[BaseException]


def ask_all(
    replaced: Replaced, count: int, ask: Callable[[], list[Seen]], *, stale: bool = False
) -> Asked:
    """Ask so often at least, and until enough was replaced meanwhile; look at every answer."""
    said: list[BaseException] = []
    asked, enough = 0, replaced.count + count // 3
    while asked < count or replaced.count < enough:
        asked += 1
        try:
            found = ask()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - Polars panics with what is no Exception
            said.append(error)
            continue
        check(found, stale=stale)
    return Asked(asked - len(said), said)


@pytest.mark.parametrize("queries", QUERIES)
def test_duckdb(replaced: Replaced, duck: duckdb.DuckDBPyConnection, queries: int) -> None:
    """By a pattern, and by a view that was made before."""
    source = f"read_parquet('{replaced.pattern}', hive_partitioning = true)"
    duck.execute(f"create view opened as select * from {source}")

    def ask(table: str) -> list[Seen]:
        return [Seen(*row) for row in duck.sql(QUERY.format(table)).fetchall()]

    for table in (source, "opened"):
        asked = ask_all(replaced, queries, partial(ask, table))
        assert asked.answered > len(asked.said)
        assert all(isinstance(each, duckdb.Error) for each in asked.said), asked.said


@pytest.mark.parametrize("queries", QUERIES)
def test_polars(replaced: Replaced, queries: int) -> None:
    """By a pattern for each query, and by a lazy frame that was made before."""

    def frame() -> pl.LazyFrame:
        calls = pl.col("callback_count")
        return (
            pl.scan_parquet(replaced.pattern, hive_partitioning=True)
            .group_by("ref_month")
            .agg(
                pl.len(),
                pl.col("appid").n_unique(),
                calls.min().alias("oldest"),
                calls.max().alias("newest"),
            )
        )

    def ask(source: Callable[[], pl.LazyFrame]) -> list[Seen]:
        return [Seen(*row) for row in source().collect().iter_rows()]

    opened = frame()
    for source in (frame, lambda: opened):
        asked = ask_all(replaced, queries, partial(ask, source))
        # A frame that was made before trusts lengths that are not true any more, and may only fail.
        assert asked.answered or source is not frame
        assert all(isinstance(each, POLARS_SAYS) for each in asked.said), asked.said


@pytest.mark.slow
@pytest.mark.parametrize("queries", SPARK_QUERIES)
def test_spark(replaced: Replaced, spark: SparkSession, queries: int) -> None:
    """Opened or refreshed for each query, or opened once: all of a replacement or its beginning."""
    path = str(replaced.folder)

    def ask() -> list[Seen]:
        return [Seen(*row) for row in spark.sql(QUERY.format("files")).collect()]

    def open_and_ask() -> list[Seen]:
        spark.read.parquet(path).createOrReplaceTempView("files")
        return ask()

    def refresh_and_ask() -> list[Seen]:
        spark.catalog.refreshByPath(path)
        return ask()

    asked = [
        ask_all(replaced, queries // 3, each, stale=True)
        for each in (open_and_ask, refresh_and_ask, ask)
    ]
    said = [f"{type(error).__name__}: {error}" for each in asked for error in each.said]
    assert [each for each in said if not any(word in each for word in SPARK_SAYS)] == []
    # On a slow machine a file is replaced within each query, and all of them may have failed.
    replaced.end()
    for fresh in (open_and_ask, refresh_and_ask):
        check(fresh())

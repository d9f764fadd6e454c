"""The engines that people read the files with, on every dataset: nested columns too."""

from __future__ import annotations

import importlib
import json
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import polars as pl
import pyarrow.parquet as pq
import pytest

from harvester.catalogue import CATALOGUE
from harvester.core.calendar import month_of, parse_day
from harvester.core.dataset import DATE_COLUMN, Dataset, Grain, Kind
from harvester.core.model import Partition, RawAnswer, Window
from harvester.sandbox.data import expected_rows
from harvester.storage.publish import publish
from harvester.storage.raw_log import write_group
from harvester.tables.columns import arrow_schema
from tests.support.answers import LONG_AFTER
from tests.support.output_helpers import ANY_TIME, tree_at
from tests.support.sandboxes import BUSY, QUIET

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

MARCH = parse_day("2026-03-01")
LISTED = [d for d in CATALOGUE.values() if any(c.kind is Kind.LIST for c in d.columns)]

each_dataset = pytest.mark.parametrize("dataset", CATALOGUE.values(), ids=CATALOGUE)
each_nested = pytest.mark.parametrize("dataset", LISTED, ids=[d.name for d in LISTED])


def answers(dataset: Dataset, appid: str) -> list[RawAnswer]:
    """Return the sandbox's rows of an account's first days in March and April."""
    days = [*range(MARCH, MARCH + 3), MARCH + 31]
    if dataset.grain is Grain.WEEK:
        days = [MARCH + 1, MARCH + 36]
    found = []
    for day in days:
        body = json.dumps({"list": expected_rows(dataset.name, appid, day)}, ensure_ascii=False)
        found.append(RawAnswer(Window(appid, dataset.name, day, day), LONG_AFTER, 0, body.encode()))
    return found


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two months of all datasets, published, with a null and an undeclared member in some."""
    tree = tree_at(tmp_path_factory.mktemp("output"))
    for dataset in CATALOGUE.values():
        sent = [*answers(dataset, BUSY), *answers(dataset, QUIET)]
        group = write_group(tree, 0, "run", [odd(sent[0]), *sent[1:]])
        for month in (month_of(MARCH), month_of(MARCH) + 1):
            done = publish(
                tree,
                dataset,
                Partition(dataset.name, month, 0),
                [group],
                ANY_TIME,
            )
            assert not done.quarantined
    return Path(tree.store.display_path())


def odd(answer: RawAnswer) -> RawAnswer:
    """The same, but its first row has an undeclared member and lacks a list."""
    value: dict[str, Any] = json.loads(answer.body)
    for first in value["list"][:1]:
        first["新"] = [1]
        if "detail" in first:
            first["detail"].pop("read_user_source", None)
    return answer._replace(body=json.dumps(value, ensure_ascii=False).encode())


def pattern(output: Path, dataset: Dataset) -> str:
    """The files of a dataset, as the manual has users write it."""
    return f"{output}/{dataset.name}/ref_month=*/*.parquet"


def in_arrow(output: Path, dataset: Dataset) -> list[dict[str, Any]]:
    """The rows of both months, by Arrow, which wrote them."""
    files = sorted(output.glob(f"{dataset.name}/ref_month=*/*.parquet"))
    assert len(files) == 2
    found: list[dict[str, Any]] = [
        row for file in files for row in pq.ParquetFile(file).read().to_pylist()
    ]
    return found


def key_of(dataset: Dataset, row: dict[str, Any]) -> tuple[Any, ...]:
    """Return the sort key of a row."""
    return tuple(row[name] for name in ("appid", *dataset.key))


@each_dataset
def test_files_are_sorted_and_unique(output: Path, dataset: Dataset) -> None:
    """Each file is in the order of its key, texts by their bytes, and no key is there twice."""
    months = groupby(in_arrow(output, dataset), key=lambda row: row[DATE_COLUMN].strftime("%Y-%m"))
    found = {month: [key_of(dataset, row) for row in rows] for month, rows in months}
    assert list(found) == ["2026-03", "2026-04"]
    assert all(keys == sorted(set(keys)) for keys in found.values())


@each_dataset
def test_duckdb(output: Path, dataset: Dataset, duck: duckdb.DuckDBPyConnection) -> None:
    """DuckDB reads every value of every type, and nests as we do."""
    query = f"""
        SELECT * EXCLUDE ref_month
        FROM read_parquet('{pattern(output, dataset)}', hive_partitioning = true)
        ORDER BY ref_month, {", ".join(["appid", *dataset.key])}
    """
    found = duck.sql(query).to_arrow_table().cast(arrow_schema(dataset))
    assert found.to_pylist() == in_arrow(output, dataset)


@each_dataset
def test_polars(output: Path, dataset: Dataset) -> None:
    """Polars reads every value of every type, and finds the month in the path."""
    frame = pl.scan_parquet(pattern(output, dataset), hive_partitioning=True).collect()
    months = sorted({row[DATE_COLUMN].strftime("%Y-%m") for row in in_arrow(output, dataset)})
    assert sorted(set(frame["ref_month"])) == months
    frame = frame.sort("ref_month", "appid", *dataset.key).drop("ref_month")
    assert frame.to_arrow().cast(arrow_schema(dataset)).to_pylist() == in_arrow(output, dataset)


def test_pandas(output: Path) -> None:
    """With pandas, if it is installed, every value comes out as it went in, the nested ones too."""
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    for dataset in CATALOGUE.values():
        files = sorted(output.glob(f"{dataset.name}/ref_month=*/*.parquet"))
        frame = pandas.concat([pandas.read_parquet(file) for file in files])
        assert list(frame.columns) == arrow_schema(dataset).names
        assert len(frame) == len(in_arrow(output, dataset))
        for column in dataset.columns:
            values = [row[column.name] for row in in_arrow(output, dataset)]
            if column.kind is Kind.LIST:
                assert [None if v is None else list(v) for v in frame[column.name]] == values
            elif None not in values:
                assert list(frame[column.name]) == values


@each_nested
def test_spark(output: Path, dataset: Dataset, spark: SparkSession) -> None:
    """Spark reads the nested columns, value by value, and can unnest them."""
    frame = spark.read.parquet(str(output / dataset.name))
    rows = frame.orderBy("ref_month", "appid", *dataset.key).drop("ref_month").collect()
    want = in_arrow(output, dataset)
    found = [row.asDict(recursive=True) for row in rows]
    assert [{**row, "_fetched_at": None} for row in found] == [
        {**row, "_fetched_at": None} for row in want
    ]
    name = next(column.name for column in dataset.columns if column.kind is Kind.LIST)
    functions = importlib.import_module("pyspark.sql.functions")
    exploded = frame.select(functions.explode(name).alias("each")).select("each.*")
    assert exploded.count() == sum(len(row[name] or ()) for row in want)


@each_nested
def test_unnesting_in_duckdb(
    output: Path, dataset: Dataset, duck: duckdb.DuckDBPyConnection
) -> None:
    """Elements of lists become rows in one query, and _extra is JSON."""
    name = next(column.name for column in dataset.columns if column.kind is Kind.LIST)
    source = f"read_parquet('{pattern(output, dataset)}', hive_partitioning = true)"
    query = f"SELECT each.* FROM (SELECT unnest({name}) AS each FROM {source})"
    found = duck.sql(query).to_arrow_table().to_pylist()
    rows = in_arrow(output, dataset)
    spelled = sorted(json.dumps(item) for row in rows for item in row[name] or ())
    assert sorted(map(json.dumps, found)) == spelled

"""Compares an output with the emulator's data of a year: every row, every value, nothing else.

Prints how many rows were compared and how many were wrong. Reads the truth as the catalogue
describes it and shares no code with what wrote the files.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow.parquet as pq

from benchmarks.workload import Year, read_year
from harvester.catalogue import CATALOGUE
from harvester.core.calendar import Day, date_of, parse_day
from harvester.core.dataset import Column, Dataset, Kind, Nesting
from harvester.sandbox.data import expected_rows

Row: TypeAlias = dict[str, Any]

META_DIR = {"_fetched_at", "_run_id"}


def main(year: Year, output: Path) -> None:
    """Compare account by account, month by month."""
    found = Counter(rows=0, wrong=0)
    folders = {folder.name for folder in output.iterdir() if not folder.name.startswith("_")}
    for dataset in CATALOGUE.values():
        folders.discard(dataset.name)
        found += _compare(dataset, year, output / dataset.name)
    print(json.dumps({"rows": found["rows"], "wrong": found["wrong"] + len(folders)}))


def _compare(dataset: Dataset, year: Year, folder: Path) -> Counter[str]:
    found: Counter[str] = Counter()
    wanted = _by_month(dataset, year)
    for path in sorted(folder.glob("ref_month=*/*.parquet")):
        month = path.parent.name.removeprefix("ref_month=")
        days = wanted.pop(month, [])
        expected = _expected(dataset, year.appids, days)
        file = pq.ParquetFile(path)
        names = [name for name in file.schema_arrow.names if name not in META_DIR]
        for batch in file.iter_batches(8_192, columns=names):
            for row in batch.to_pylist():
                found["rows"] += 1
                found["wrong"] += row != next(expected, None)
        found["wrong"] += sum(1 for _ in expected)
    found["wrong"] += len(wanted)
    return found


def _by_month(dataset: Dataset, year: Year) -> dict[str, list[Day]]:
    """The days of each month that has any."""
    months: dict[str, list[Day]] = {}
    for day in year.days(dataset):
        months.setdefault(f"{date_of(day):%Y-%m}", []).append(day)
    return months


def _expected(dataset: Dataset, appids: tuple[str, ...], days: list[Day]) -> Iterator[Row]:
    """The rows of a month in the order of its file."""
    for appid in sorted(appids):
        rows = [row for day in days for row in _rows_of(dataset, appid, day)]
        yield from sorted(rows, key=lambda row: [row[name] for name in dataset.key])


def _rows_of(dataset: Dataset, appid: str, day: Day) -> Iterator[Row]:
    for element in expected_rows(dataset.name, appid, day):
        inside = element.get(dataset.nested_field, {})
        for inner in inside if dataset.nesting is Nesting.ARRAY else [inside]:
            values = element | inner
            row = {column.name: _value(column, values) for column in dataset.columns}
            yield {"appid": appid, **row, "_extra": None}


def _value(column: Column, values: Row) -> Any:
    value = values.get(column.name)
    if value is None:
        return None
    match column.kind:
        case Kind.DATE:
            return date_of(parse_day(value))
        case Kind.HOUR:
            return value // 100
        case Kind.LIST:
            return [{each.name: _value(each, item) for each in column.fields} for item in value]
    return value


if __name__ == "__main__":
    main(read_year(Path(sys.argv[1])), Path(sys.argv[2]))

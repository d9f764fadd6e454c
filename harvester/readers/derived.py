"""Tables that are computed from others: coverage as ranges of days, and the codes' labels."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import pyarrow as pa

from harvester.catalogue import CATALOGUE, descriptions
from harvester.core import calendar
from harvester.core.calendar import Day, Month
from harvester.storage.footer import Footer

COVERAGE = pa.schema(
    [
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("appid", pa.string(), nullable=False),
        pa.field("begin_date", pa.date32(), nullable=False),
        pa.field("end_date", pa.date32(), nullable=False),
        pa.field("state", pa.string(), nullable=False),
        pa.field("has_rows", pa.bool_()),
    ]
)
"""Columns of `coverage_ranges`."""

CODES = pa.schema(
    [
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("column_name", pa.string(), nullable=False),
        pa.field("code", pa.string(), nullable=False),
        pa.field("code_int", pa.int64()),
        pa.field("label_en", pa.string()),
        pa.field("label_zh", pa.string()),
    ]
)
"""Columns of `codes`."""


class _Range(NamedTuple):
    begin: Day
    end: Day
    state: str
    has_rows: bool | None


def coverage_ranges(dataset: str, footer: Footer) -> pa.RecordBatch:
    """Return what a file knows of its days, as ranges of equal days, by appid and day.

    ``quarantined`` are the days whose last answer was not usable; ``has_rows`` says whether an
    earlier answer has left rows, and is null if there was none. Of a dataset with one row for a
    week or a month the day of that row stands for it.
    """
    coverage = footer.coverage
    rows = [
        (dataset, appid, *each)
        for appid, *masks in zip(coverage.appids, *coverage.masks, strict=True)
        for each in _ranges(coverage.month, *masks)
    ]
    columns = list(zip(*rows, strict=True)) or [()] * len(COVERAGE)
    arrays = [pa.array(*pair) for pair in zip(columns, COVERAGE.types, strict=True)]
    return pa.record_batch(arrays, schema=COVERAGE)


def codes() -> pa.Table:
    """Return the known values of all open enums. The catalogue has no Chinese labels."""
    rows = [
        {
            "dataset": dataset.name,
            "column_name": name,
            "code": str(code),
            "code_int": code if isinstance(code, int) else None,
            "label_en": label,
        }
        for dataset in CATALOGUE.values()
        for name, column in descriptions.members(dataset.columns)
        for code, label in column.labels.items()
    ]
    return pa.Table.from_pylist(rows, schema=CODES)


# Cached, because thousands of accounts have the same masks.
@lru_cache(maxsize=4_096)
def _ranges(month: Month, final: int, provisional: int, bad: int, rows: int) -> tuple[_Range, ...]:
    return tuple(sorted(_each_range(month, final, provisional, bad, rows)))


def _each_range(
    month: Month, final: int, provisional: int, bad: int, rows: int
) -> Iterator[_Range]:
    answered = final | provisional
    kinds = {
        ("final", True): final & ~bad & rows,
        ("final", False): final & ~bad & ~rows,
        ("provisional", True): provisional & ~bad & rows,
        ("provisional", False): provisional & ~bad & ~rows,
        ("quarantined", True): bad & rows,
        ("quarantined", False): bad & answered & ~rows,
        ("quarantined", None): bad & ~answered & ~rows,
    }
    for (state, has_rows), mask in kinds.items():
        for begin, end in calendar.day_ranges(calendar.from_month_mask(mask, month)):
            yield _Range(begin, end, state, has_rows)

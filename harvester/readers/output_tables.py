"""Tables about an output: coverage as ranges of days, the codes' labels, and the runs."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache

import pyarrow as pa

from harvester.catalogue import CATALOGUE, descriptions
from harvester.catalogue.languages import dataset_in
from harvester.core import calendar
from harvester.core.calendar import Day, Month
from harvester.core.dataset import Dataset
from harvester.readers.output_place import datasets, located
from harvester.storage import partition_reader
from harvester.storage.backends.base import Store
from harvester.storage.footer import Footer
from harvester.storage.layout import Tree
from harvester.storage.state import run_records

_HEAD_BYTES = 64 << 10
"""Bytes of a run record that hold the members of a row of `runs`."""

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

_RUNS = pa.schema(
    [
        pa.field("run_id", pa.string(), nullable=False),
        pa.field("started_at", pa.timestamp("us", tz="UTC")),
        pa.field("ended_at", pa.timestamp("us", tz="UTC")),
        pa.field("harvester_version", pa.string()),
        pa.field("outcome", pa.string()),
        pa.field("exit_code", pa.int32()),
        pa.field("reasons", pa.list_(pa.string())),
        pa.field("shard", pa.string()),
        pa.field("requests", pa.int64()),
        pa.field("retries", pa.int64()),
        pa.field("rows", pa.int64()),
        pa.field("labels", pa.map_(pa.string(), pa.string())),
    ]
)


def coverage(store: Store, name: str | None) -> pa.Table:
    """Return the coverage of one dataset or of all, by dataset, month and bucket.

    Raises as `located`, and OtherVersion for a file of another version.
    """
    batches: list[pa.RecordBatch] = []
    for each in datasets(store) if name is None else (name,):
        tree, found = located(store, each)
        footers = partition_reader.footers(tree.store, found.values())
        batches += [coverage_ranges(each, footer) for footer in footers if footer is not None]
    return pa.Table.from_batches(batches, schema=COVERAGE)


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
        for each in _ranges(coverage.month, *masks[:4])
    ]
    columns = list(zip(*rows, strict=True)) or [()] * len(COVERAGE)
    arrays = [pa.array(*pair) for pair in zip(columns, COVERAGE.types, strict=True)]
    return pa.record_batch(arrays, schema=COVERAGE)


# Cached, because thousands of accounts have the same masks.
@lru_cache(maxsize=4_096)
def _ranges(
    month: Month, final: int, provisional: int, bad: int, rows: int
) -> Sequence[tuple[Day, Day, str, bool | None]]:
    """Return the ranges in order, each with its state and whether there are rows."""
    states = {"final": final & ~bad, "provisional": provisional & ~bad, "quarantined": bad}
    known = {True: rows, False: (final | provisional) & ~rows, None: ~(final | provisional | rows)}
    return sorted(
        (begin, end, state, has_rows)
        for state, of_state in states.items()
        for has_rows, mask in known.items()
        for begin, end in calendar.day_ranges(calendar.from_month_mask(of_state & mask, month))
    )


def codes() -> pa.Table:
    """Return the known values of all open enums, with their labels in both languages."""
    rows = [row for dataset in CATALOGUE.values() for row in _rows_of_codes(dataset)]
    return pa.Table.from_pylist(rows, schema=CODES)


def _rows_of_codes(dataset: Dataset) -> Iterator[dict[str, object]]:
    chinese = dict(descriptions.members(dataset_in(dataset, "zh").columns))
    for name, column in descriptions.members(dataset.columns):
        both = zip(column.labels.items(), chinese[name].labels.values(), strict=True)
        for (code, label_en), label_zh in both:
            yield {
                "dataset": dataset.name,
                "column_name": name,
                "code": str(code),
                "code_int": code if isinstance(code, int) else None,
                "label_en": label_en,
                "label_zh": label_zh,
            }


def runs(store: Store) -> pa.Table:
    """Return the runs that have left a record, oldest first. Raises StoreError and UsageError."""
    rows = [asdict(run) for run in run_records.newest(Tree(store), _Run, _HEAD_BYTES)]
    for row in rows:
        # A record says when it was written, which is no end of a run that goes on or was killed.
        if row["state"] == "running":
            row["ended_at"] = None
    return pa.Table.from_pylist(rows[::-1], schema=_RUNS)


@dataclass(frozen=True, slots=True)
class _Run:
    """The head of a run record."""

    run_id: str
    started_at: dt.datetime
    ended_at: dt.datetime
    state: str
    exit_code: int | None
    reasons: tuple[str, ...]
    requests: int
    retries: int
    rows: int
    harvester_version: str
    outcome: str | None
    shard: str | None
    labels: Mapping[str, str]

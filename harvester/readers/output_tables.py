"""Tables about an output: coverage as ranges of days, and the runs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import pyarrow as pa

from harvester.core import calendar
from harvester.core.calendar import Day, Month
from harvester.readers.output_place import datasets, located
from harvester.storage import partition_reader
from harvester.storage.backends.base import Store
from harvester.storage.derived.derived_runs import HEAD_BYTES, RecordedRun, runs_table
from harvester.storage.footer import Footer
from harvester.storage.layout import Tree
from harvester.storage.state import run_records

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


def runs(store: Store) -> pa.Table:
    """Return the runs that have left a record, oldest first. Raises StoreError and UsageError."""
    found = [*run_records.newest(Tree(store), RecordedRun, HEAD_BYTES)]
    return runs_table(reversed(found))

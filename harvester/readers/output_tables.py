"""Tables about an output: coverage and runs, and the tree of all of its datasets."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from harvester.catalogue import CATALOGUE
from harvester.core.errors import UsageError
from harvester.readers import derived
from harvester.readers.output_place import datasets, in_order, located
from harvester.storage import layout, partition_reader
from harvester.storage.backends.base import Store
from harvester.storage.layout import Tree
from harvester.storage.state import change_reader, run_records

_HEAD_BYTES = 64 << 10
"""Bytes of a run record that hold the members of a row of `runs`."""


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
    names = datasets(store) if name is None else (name,)
    return pa.Table.from_batches(
        [batch for each in names for batch in _coverages(store, each)], schema=derived.COVERAGE
    )


def runs(store: Store) -> pa.Table:
    """Return the runs that have left a record, oldest first. Raises StoreError and UsageError."""
    records = run_records.newest(Tree(store), _Run, _HEAD_BYTES)
    rows = [_run_row(record) for record in records]
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


def _run_row(run: _Run) -> dict[str, Any]:
    row = {name: getattr(run, name) for name in _RUNS.names}
    return {
        **row,
        # A record says when it was written, which is no end of a run that goes on or was killed.
        "ended_at": None if run.state == "running" else run.ended_at,
    }


def _coverages(store: Store, name: str) -> Iterator[pa.RecordBatch]:
    tree, found = located(store, name)
    files = [found[each] for each in in_order(found)]
    for of_file in partition_reader.footers(tree.store, files):
        if of_file is not None:
            yield derived.coverage_ranges(name, of_file)


def whole_tree(store: Store) -> Tree:
    """Return the tree of all datasets. Raises UsageError if they differ in the buckets."""
    found = {name: layout.located(store, name) for name in CATALOGUE}
    counts = {name: tree.buckets for name, (tree, files) in found.items() if files}
    if len(set(counts.values())) > 1:
        one, other = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
        raise UsageError(
            f"{store.display_path()}: {one} has {counts[one]} buckets and {other} {counts[other]}",
            "two manifests have written there: move the datasets of one of them away",
        )
    if counts:
        return Tree(store, next(iter(counts.values())))
    # Without any file the change logs say how many buckets there were.
    named = (layout.parse_name(store, name) for name in change_reader.not_removed(Tree(store)))
    return Tree(store, max((each[1] for each in named if each is not None), default=1))

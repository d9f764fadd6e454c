"""Files of the table `runs`, one for each month, made of the run records; and that of `codes`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from harvester.catalogue import CATALOGUE, descriptions
from harvester.catalogue.languages import dataset_in
from harvester.core.dataset import Dataset
from harvester.core.model import Count
from harvester.storage.derived import derived_files
from harvester.storage.layout import RUN_ROWS, Tree
from harvester.storage.state import json_file, run_records
from harvester.tables.derived import CODES, RUNS


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRun(run_records.RunRecord):
    """The head of a run record, with the further columns of `runs`."""

    retries: Count
    harvester_version: str
    shard: str | None
    labels: Mapping[str, str]
    manifest_digest: str | None = None
    host: str | None = None

    def row(self) -> dict[str, Any]:
        """Return the row of the run."""
        # A record says when it was written, which is no end of a run that goes on or was killed.
        ended_at = None if self.state == "running" else datetime.fromisoformat(self.ended_at)
        return {
            **asdict(self),
            "started_at": datetime.fromisoformat(self.started_at),
            "ended_at": ended_at,
            "labels": sorted(self.labels.items()),
        }


def runs_table(runs: Iterable[RecordedRun]) -> pa.Table:
    """Return runs as a table."""
    return pa.Table.from_pylist([run.row() for run in runs], schema=RUNS)


def update_runs(tree: Tree, record: dict[str, Any]) -> None:
    """Add the run of a record to the table, and those that were killed or left none.

    Raises StoreError.
    """
    own = json_file.value_of(record, RecordedRun)
    if own is None:
        return
    there = {file.name for file in tree.files(RUN_ROWS)}
    lost = {each for each in run_records.months(tree) if derived_files.runs_name(each) not in there}
    for month in lost | {own.started_at[:7]}:
        change = partial(_with_runs, tree, month, own)
        derived_files.replace(tree, derived_files.runs_name(month), change)


def _with_runs(
    tree: Tree, month: str, own: RecordedRun, old: pq.ParquetFile | None
) -> Iterator[pa.Table]:
    """Yield the runs that began in a month like ``2026-05``, of which ``old`` are there."""
    rows = {_key(row): row for row in derived_files.rows_of(old, RUNS).to_pylist()}
    # A run without an outcome went on when it was recorded, or was killed.
    known = {run_id for (run_id, _), row in rows.items() if row["outcome"]}
    # Of a month without a known run the folded records are read too.
    known |= {own.run_id} if known else set()
    found = run_records.newest(tree, RecordedRun, run_records.HEAD_BYTES, month, known)
    runs = [run for run in (*found, own) if run.started_at[:7] == month]
    rows |= {_key(row): row for row in runs_table(runs).to_pylist()}
    yield pa.Table.from_pylist([rows[key] for key in sorted(rows)], schema=RUNS)


def _key(row: Mapping[str, Any]) -> tuple[str, str]:
    return row["run_id"], row["shard"] or ""


def update_codes(tree: Tree) -> None:
    """Write the codes of this version of the catalogue, unless they are there."""
    derived_files.replace(tree, derived_files.CODES_NAME, lambda _: [codes()])


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

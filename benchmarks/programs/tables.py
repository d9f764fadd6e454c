"""Brings the tables beside an output up to date, as a run does at its end.

Prints the seconds, the peak of the memory before and after in MiB, and the files that differ. With
``month`` the answers of the newest days of all accounts are provisional first, each with a time of
its own; with ``day`` a few accounts have one more empty day among them.
"""

from __future__ import annotations

import gc
import json
import resource
import sys
import time
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.programs.first_window import manifest_of
from benchmarks.workload import Broad, read_broad
from harvester.catalogue import CATALOGUE
from harvester.core import calendar
from harvester.core.calendar import Month
from harvester.core.dataset import Dataset
from harvester.core.model import Partition
from harvester.planning import wanted_days
from harvester.runs.days.derived_tables import TablesUpdate
from harvester.runs.record.record import Record
from harvester.storage import coverage_scan, layout, partition_reader, partition_writer
from harvester.storage.backends.base import ANY
from harvester.storage.footer import Footer
from harvester.storage.layout import Tree, open_tree
from harvester.storage.partition_writer import NewFile
from harvester.tables.coverage import AccountDays, AskTimes

SOME = 7
"""Accounts that have one more empty day."""


def main(broad: Broad, root: Path, step: str) -> None:
    """Read the coverage as a run does, then write the tables."""
    # As the command has it.
    gc.set_threshold(200_000, 20, 50)
    manifest = manifest_of(broad, root)
    tree, now = open_tree(manifest.output), calendar.instant(broad.end + 1, 12 * 60)
    if step in ("month", "day"):
        change_month(tree, broad, step)
    want = wanted_days.wanted(manifest, now)
    scan = coverage_scan.read(tree, want, now, manifest.datasets)
    # A run that has changed anything has read and written such files.
    pq.read_table(pa.BufferReader(warm_file()))
    before, there, begun = peak(), versions(tree), time.process_time()
    record = Record.begun(manifest.file, now)
    TablesUpdate(tree, [0], manifest, now, want, scan.states, record).write()
    seconds, left = time.process_time() - begun, versions(tree)
    changed = sum(there.get(name) != version for name, version in left.items())
    found = {"seconds": seconds, "before": before, "after": peak(), "changed": changed}
    print(json.dumps(found))


def warm_file() -> pa.Buffer:
    """Return a Parquet file of one row."""
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"appid": ["wx"]}), sink, compression="zstd")
    return sink.getvalue()


def change_month(tree: Tree, broad: Broad, step: str) -> None:
    """Change the newest month of all datasets, through the storage itself."""
    month = calendar.month_of(broad.end)
    for name in broad.datasets:
        partition = Partition(name, month, 0)
        files = layout.partitions(tree, name)
        (footer,) = partition_reader.footers(tree.store, [files[partition]])
        assert footer is not None
        known, changed = footer.coverage, {}
        for place, appid in enumerate(known.appids):
            days = known.account(appid)
            if step == "month":
                changed[appid] = changed_days(days, CATALOGUE[name], month, place)
            elif place < SOME:
                changed[appid] = replace(days, with_rows=days.with_rows & ~1)
        left = Footer(known.updated(changed), {})
        draft = NewFile(tree.store, tree.name(partition), CATALOGUE[name], ANY)
        partition_writer.write(draft, (), lambda left=left: left)  # type: ignore[misc]


def changed_days(days: AccountDays, dataset: Dataset, month: Month, place: int) -> AccountDays:
    """Return the days of an account with those open that have not settled, each with its time."""
    newest = days.final.bit_length() - 1
    mask = sum(1 << day for day in range(max(0, newest - dataset.settle), newest + 1)) & days.final
    asked = {}
    for day in range(31):
        if mask >> day & 1:
            at = int(calendar.instant(calendar.month_begin(month) + day + 1)) + 36_000 + place * 3
            asked[day] = AskTimes(at, at + 90_000, at)
    return replace(days, final=days.final & ~mask, provisional=mask, asked=asked)


def versions(tree: Tree) -> dict[str, str]:
    """Return the versions of the files of the tables."""
    listed = (file for folder in layout.TABLES for file in tree.store.list(folder))
    return {file.name: file.version for file in listed}


def peak() -> float:
    """Return the peak of the memory so far in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main(read_broad(Path(sys.argv[1])), Path(sys.argv[2]), sys.argv[3])

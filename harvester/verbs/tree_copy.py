"""Side files and history of a tree, copied into the tree that is made of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from harvester.core.errors import DamagedOutput
from harvester.core.model import bucket_of
from harvester.runs.record.run_record import feed_entry
from harvester.runs.run_log import RunLog
from harvester.storage import layout
from harvester.storage.backends.base import LOCKS, META_DIR, read_bytes
from harvester.storage.derived import derived_files
from harvester.storage.layout import ACCOUNTS, COVERAGE, DERIVED, RAW, TABLES, VIEWS, Tree
from harvester.storage.publication import Published
from harvester.storage.state.change_log import ChangeLog
from harvester.storage.state.rewrite_journal import JOURNAL
from harvester.verbs.erasure import MAX_BYTES, refuse_long


def clear(target: Tree, datasets: Iterable[str]) -> None:
    """Remove what a killed try has made: it may have accounts that were forgotten since.

    Raises StoreError, and LeaseLost once another command may work in the tree.
    """
    store = target.store
    names = [target.name(part) for name in datasets for part in layout.partitions(target, name)]
    for table in TABLES:
        names += [file.name for file in derived_files.files(store, table)]
    names += [file.name for file in store.list(META_DIR) if _is_copied(file.name)]
    for name in names:
        # Without its lease another rewrite may be filling the tree.
        target.hold.check()
        store.delete(name)


def copy_side_files(source: Tree, target: Tree) -> None:
    """Copy change logs, quarantine, run records and other side files.

    Cursors stay valid, because the change logs of the new tree go on from there.
    """
    side_files = [found for found in source.store.list(META_DIR) if _is_copied(found.name)]
    refuse_long(source, side_files, MAX_BYTES, "move it away, then run again")
    for found in side_files:
        # None of them is longer than that, so each fits in memory.
        if (data := read_bytes(source.store, found.name, MAX_BYTES)) is not None:
            target.store.put(found.name, data)


def copy_tables(source: Tree, target: Tree) -> None:
    """Copy `accounts` and `coverage`, in the buckets of the new tree. Raises StoreError.

    They cannot be made anew: they have accounts that no manifest and no file has any more, and of
    those a later `forget` must find what readers of tables still have.
    """
    for table in (ACCOUNTS, COVERAGE):
        by_folder = defaultdict[str, list[pa.Table]](list)
        for file in derived_files.files(source.store, table):
            # A damaged one is made again by the next run.
            with suppress(DamagedOutput):
                rows = derived_files.read(source.store, file.name)
                by_folder[file.name.rpartition("/")[0]].append(rows)
        for folder, tables in by_folder.items():
            _put_rows(target, folder, pa.concat_tables(tables))


def _put_rows(tree: Tree, folder: str, rows: pa.Table) -> None:
    """Put rows into the files of a folder, by bucket."""
    names = [name for name in ("dataset", "appid", "begin_date") if name in rows.schema.names]
    rows = rows.sort_by([(name, "ascending") for name in names])
    buckets = pa.array([bucket_of(x, tree.buckets) for x in rows["appid"].to_pylist()])
    for bucket in buckets.unique().to_pylist():
        part = f"{folder}/part-{tree.bucket_label(bucket)}.parquet"
        _put_part(tree, part, rows.filter(pc.equal(buckets, bucket)))


def _put_part(tree: Tree, name: str, rows: pa.Table) -> None:
    """Put rows into a file, with a row group for each dataset."""
    datasets = rows["dataset"].unique() if "dataset" in rows.schema.names else []
    pieces = [rows.filter(pc.equal(rows["dataset"], dataset)) for dataset in datasets] or [rows]
    derived_files.replace(tree, name, lambda _: pieces)


def retire_former_names(source: Tree, target: Tree, datasets: Iterable[str], new: RunLog) -> None:
    """Record that the files of another number of buckets are gone, in the logs of those buckets."""
    if source.buckets == target.buckets:
        return
    # A reader that goes on from an old cursor must hear that the files it knows are not there.
    former = replace(target, buckets=source.buckets)
    log = ChangeLog(former, new.run_id, new.stream.now)
    log.open(map(former.bucket_label, range(former.buckets)), is_new=True)
    for name in datasets:
        for partition in layout.partitions(source, name):
            log.add(feed_entry(Published(*partition[:2], source.name(partition), op="deleted")))
    log.close()


def _is_copied(name: str) -> bool:
    """Return whether a side file is copied: no raw log, lock, view, temporary file or journal."""
    return not name.startswith((RAW, DERIVED, VIEWS, LOCKS, JOURNAL)) and not name.endswith(".tmp")

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
from harvester.storage.backends.base import META_DIR, read_bytes
from harvester.storage.derived import derived_files
from harvester.storage.layout import DERIVED, RAW, VIEWS, Tree
from harvester.storage.publication import Published
from harvester.storage.state import rewrite_journal
from harvester.storage.state.change_log import ChangeLog
from harvester.verbs.erasure import MAX_BYTES, refuse_long


def copy_side_files(source: Tree, target: Tree) -> None:
    """Copy change logs, quarantine, run records and other side files, in the place of older copies.

    Cursors stay valid, because the change logs of the new tree go on from there. The records of
    earlier tries are deleted, because they may name accounts that were forgotten since.
    """
    side_files = [found for found in source.store.list(META_DIR) if _is_copied(found.name)]
    refuse_long(source, side_files, MAX_BYTES, "move it away, then run again")
    for found in target.store.list(META_DIR):
        if _is_copied(found.name):
            target.store.delete(found.name)
    for found in side_files:
        # None of them is longer than that, so each fits in memory.
        data = read_bytes(source.store, found.name, MAX_BYTES)
        if data is not None:
            target.store.put(found.name, data)


def copy_tables(source: Tree, target: Tree) -> None:
    """Copy the tables beside the datasets, in the buckets of the new tree. Raises StoreError.

    Those of earlier tries are deleted, as side files are.
    """
    for folder, schema in derived_files.SCHEMAS.items():
        for file in derived_files.files(target.store, folder):
            target.store.delete(file.name)
        by_place = defaultdict[str, list[pa.Table]](list)
        for file in derived_files.files(source.store, folder):
            place, name = file.name.rsplit("/", 1)
            # A damaged one is made again by the next run.
            with suppress(DamagedOutput):
                rows = derived_files.read(source.store, file.name)
                by_place[place if "appid" in schema.names else f"{place}/{name}"].append(rows)
        for place, tables in by_place.items():
            _put_rows(target, place, pa.concat_tables(tables))


def _put_rows(tree: Tree, place: str, rows: pa.Table) -> None:
    """Put rows into a file, or into those of a folder by bucket."""
    if place.endswith(".parquet"):
        derived_files.replace(tree, place, lambda _: [rows])
        return
    names = [name for name in ("dataset", "appid", "begin_date") if name in rows.schema.names]
    rows = rows.sort_by([(name, "ascending") for name in names])
    of_bucket = defaultdict[int, list[str]](list)
    for appid in rows["appid"].unique().to_pylist():
        of_bucket[bucket_of(appid, tree.buckets)].append(appid)
    for bucket, appids in of_bucket.items():
        mine = rows.filter(pc.is_in(rows["appid"], pa.array(appids)))
        pieces = [mine]
        if names[0] == "dataset":
            # A row group for each.
            pieces = [mine.filter(pc.equal(mine["dataset"], x)) for x in mine["dataset"].unique()]
        part = f"{place}/part-{tree.bucket_label(bucket)}.parquet"
        derived_files.replace(tree, part, lambda _, pieces=pieces: pieces)  # type: ignore[misc]


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
            gone = Published(*partition[:2], source.name(partition), op="deleted")
            log.add(feed_entry(gone))
    log.close()


def _is_copied(name: str) -> bool:
    """Return whether a side file is copied: no raw log, lock, view, temporary file or journal."""
    left_out = name.startswith((RAW, DERIVED, VIEWS, f"{META_DIR}/locks")) or name.endswith(".tmp")
    return not left_out and not rewrite_journal.is_journal(name)

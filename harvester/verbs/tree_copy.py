"""Side files and history of a tree, copied into the tree that is made of it."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from harvester.core.errors import DamagedOutput
from harvester.core.model import bucket_of
from harvester.runs.record.run_record import feed_entry
from harvester.runs.run_log import RunLog
from harvester.storage import layout
from harvester.storage.backends.base import LOCKS, META_DIR, read_bytes
from harvester.storage.derived import derived_files
from harvester.storage.layout import ACCOUNTS, DERIVED, RAW, TABLES, VIEWS, Tree
from harvester.storage.publication import Published
from harvester.storage.state.change_log import ChangeLog
from harvester.storage.state.rewrite_journal import JOURNAL
from harvester.tables import derived
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
        data = read_bytes(source.store, found.name, MAX_BYTES)
        if data is not None:
            target.store.put(found.name, data)


def copy_accounts(source: Tree, target: Tree) -> None:
    """Copy the table `accounts`, in the buckets of the new tree. Raises StoreError.

    The other tables are made anew of the files and the records.
    """
    tables = [derived.ACCOUNTS.empty_table()]
    for file in derived_files.files(source.store, ACCOUNTS):
        # A damaged one is made again by the next run.
        with suppress(DamagedOutput):
            tables.append(derived_files.read(source.store, file.name))
    rows = pa.concat_tables(tables).sort_by("appid")
    buckets = pa.array([bucket_of(x, target.buckets) for x in rows["appid"].to_pylist()])
    for bucket in buckets.unique().to_pylist():
        mine = rows.filter(pc.equal(buckets, bucket))
        derived_files.replace(
            target, derived_files.accounts_name(target, bucket), partial(_instead, mine)
        )


def _instead(rows: pa.Table, _: object) -> list[pa.Table]:
    """Return rows in the place of those of a file."""
    return [rows]


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
    return not name.startswith((RAW, DERIVED, VIEWS, LOCKS, JOURNAL)) and not name.endswith(".tmp")

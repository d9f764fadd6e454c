"""Side files and history of a tree, copied into the tree that is made of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from harvester.runs.record.run_record import feed_entry
from harvester.runs.run_log import RunLog
from harvester.storage import layout
from harvester.storage.backends.base import MAX_READ, META_DIR, read_bytes
from harvester.storage.layout import CHANGES, RAW, RUNS, Tree
from harvester.storage.publication import Published
from harvester.storage.state import rewrite_journal
from harvester.storage.state.change_log import ChangeLog
from harvester.verbs.erasure import MAX_BYTES, refuse_long

_AWAY = "move it away, then run again"


def copy_history(source: Tree, target: Tree) -> None:
    """Copy the change logs, in the place of those of an earlier try, so that cursors stay valid.

    The records of earlier tries go as well: they may name accounts that were forgotten since.
    """
    for found in (*target.store.list(CHANGES), *target.store.list(RUNS)):
        target.store.delete(found.name)
    history = source.store.list(CHANGES)
    refuse_long(source, history, MAX_READ, _AWAY)
    for found in history:
        _copy_file(source, target, found.name)


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
            gone = Published(*partition[:2], source.name(partition), (), (), 0, 0, op="deleted")
            log.add(feed_entry(gone))
    log.close()


def copy_side_files(source: Tree, target: Tree) -> None:
    """Copy quarantine, run records and other side files; delete copies whose original is gone."""
    side_files = [found for found in source.store.list(META_DIR) if _is_copied(found.name)]
    names = {found.name for found in side_files}
    refuse_long(source, side_files, MAX_BYTES, _AWAY)
    for found in target.store.list(META_DIR):
        # The new tree keeps the record of this rewrite.
        own = found.name.startswith(f"{RUNS}/") or not _is_copied(found.name)
        if not own and found.name not in names:
            target.store.delete(found.name)
    for name in sorted(names):
        _copy_file(source, target, name)


def _copy_file(source: Tree, target: Tree, name: str) -> None:
    # No file is longer than `refuse_long` lets it be, so each fits in memory.
    data = read_bytes(source.store, name, MAX_BYTES)
    if data is not None:
        target.store.put(name, data)


def _is_copied(name: str) -> bool:
    """Return whether a side file is copied: no raw log, lock, temporary file or journal.

    The change logs are copied before the first file is made.
    """
    left_out = name.startswith((RAW, CHANGES, f"{META_DIR}/locks")) or name.endswith(".tmp")
    return not left_out and not rewrite_journal.is_journal(name)

"""Locks of buckets: one run at a time writes to a bucket, where the store can lock."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterable
from contextlib import AbstractContextManager, suppress

from harvester.core.errors import Busy
from harvester.storage import layout
from harvester.storage.layout import Tree


def hold(
    tree: Tree, buckets: Iterable[int], *, run_id: str, since: str
) -> AbstractContextManager[None]:
    """Lock these buckets, all or none, until the block ends.

    ``since`` is the start of the run, RFC 3339 in UTC. Raises Busy naming the holder if another run
    has one of them, StoreError if the file system cannot lock, and as `layout.check_folders`, which
    comes first. An object store locks nothing: there a run that loses a race merges again.
    """
    layout.check_folders(tree)
    return tree.store.lock(map(tree.bucket_label, buckets), _lock_note(run_id, since))


def sweep_elsewhere(tree: Tree, *, run_id: str, since: str) -> None:
    """Remove temporary files of dead runs in all buckets, also those of another bucket count.

    Buckets that are locked are passed over, because their holder has cleaned them. Raises
    StoreError.
    """
    for label in layout.temp_buckets(tree):
        with suppress(Busy), tree.store.lock([label], _lock_note(run_id, since)):
            layout.clean_temp_of(tree, {label})


def _lock_note(run_id: str, since: str) -> bytes:
    note = {"host": socket.gethostname(), "pid": os.getpid(), "since": since, "run": run_id}
    return json.dumps(note).encode()

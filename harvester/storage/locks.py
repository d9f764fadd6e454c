"""One run at a time works on a bucket, where runs can be kept apart."""

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
    """Hold these buckets, all of them or none, until the block ends.

    ``since`` is the start of the run in UTC as RFC 3339 has it. Raises Busy naming the holder if
    one of them is held by somebody else, StoreError if the file system cannot lock. In an object
    store nobody is kept away, and whoever loses a race merges again.
    """
    return tree.store.lock(map(tree.bucket_label, buckets), _holder(run_id, since))


def sweep_elsewhere(tree: Tree, *, run_id: str, since: str) -> None:
    """Remove what dead runs left half-made in whatever bucket, be it of another number of them.

    Whoever is at work there holds it, and cleared away what was dead before. Raises StoreError.
    """
    for place in layout.temp_buckets(tree):
        with suppress(Busy), tree.store.lock([place], _holder(run_id, since)):
            layout.temp_places(tree, [place])


def _holder(run_id: str, since: str) -> bytes:
    holder = {"host": socket.gethostname(), "pid": os.getpid(), "since": since, "run": run_id}
    return json.dumps(holder).encode()

"""One run at a time works on a bucket, where runs can be kept apart."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterable
from contextlib import AbstractContextManager

from harvester.store.layout import Tree


def hold(
    tree: Tree, buckets: Iterable[int], *, run_id: str, since: str
) -> AbstractContextManager[None]:
    """Hold these buckets, all of them or none, until the block ends.

    ``since`` is the start of the run in UTC as RFC 3339 has it. Raises Busy naming the holder if
    one of them is held by somebody else, StoreError if the file system cannot lock. In an object
    store nobody is kept away, and whoever loses a race merges again.
    """
    holder = {"host": socket.gethostname(), "pid": os.getpid(), "since": since, "run": run_id}
    return tree.store.hold(map(tree.of, buckets), json.dumps(holder).encode())

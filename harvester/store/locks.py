"""One run at a time works on a bucket.

``flock`` dies with its holder, also under ``kill -9``, and is never broken by age. What stands in
the file is for people: who holds it. The files themselves stay, since removing one that somebody
waits for would give two runs a lock of the same name.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from harvester.errors import Busy, StoreError
from harvester.store import files
from harvester.store.layout import Tree


@contextmanager
def hold(tree: Tree, buckets: Iterable[int], *, run_id: str, since: str) -> Iterator[None]:
    """Hold these buckets, all of them or none, until the block ends.

    ``since`` is the start of the run in UTC as RFC 3339 has it. Raises Busy naming the holder if
    one of them is held by somebody else, StoreError if the file system cannot lock. Where there
    are no locks nobody is kept away: there a run that comes second merges what it has once more.
    """
    holder = {"host": socket.gethostname(), "pid": os.getpid(), "since": since, "run": run_id}
    note = json.dumps(holder).encode()
    with ExitStack() as stack:
        if tree.store.locks is not None:
            for bucket in sorted(set(buckets)):
                stack.enter_context(_one(tree.store.locks / f"{tree.of(bucket)}.lock", note))
        yield


@contextmanager
def _one(path: Path, note: bytes) -> Iterator[None]:
    with files.guarded(path):
        files.make_folder(path.parent)
        # Not inherited by child processes, which would hold on to it longer than we live.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        _acquire(descriptor, path)
        with files.guarded(path):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, note, 0)
        yield
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Busy(
            f"{path.stem}: another run works on this bucket: {_holder(descriptor)}",
            "wait until it ends, or stop it; running again then goes on where it stopped",
        ) from None
    except OSError as error:
        raise StoreError(
            f"{path}: this file system cannot lock ({os.strerror(error.errno or errno.EIO)})",
            "put the output on a local disk",
        ) from error


def _holder(descriptor: int) -> str:
    try:
        holder = json.loads(os.pread(descriptor, 4096, 0))
        return "host {host}, pid {pid}, since {since}, run {run}".format_map(holder)
    except (OSError, ValueError, KeyError, TypeError):
        return "it has not said yet who it is"

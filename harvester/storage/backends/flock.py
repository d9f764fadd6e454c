"""File locks that end with their process, also after ``kill -9``, and never by age.

The file's content names the holder, for messages. Lock files are not removed, because removing one
that another process has open would give two runs a lock of the same name.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from harvester.core.errors import Busy, StoreError
from harvester.core.inert_text import inert
from harvester.storage.backends import atomic_files, regular_files

_LOCK_FLAGS = os.O_RDWR | os.O_CREAT


@contextmanager
def locked(path: Path, note: bytes) -> Iterator[None]:
    """Hold a lock for the block. Raises Busy naming the holder, StoreError, and UsageError.

    ``note`` is written to the file. A UsageError is about a link or a pipe in its place.
    """
    with _opened(path, lambda: regular_files.open_regular(path, _LOCK_FLAGS, 0o644)) as descriptor:
        _acquire(descriptor, path)
        with atomic_files.os_errors_as_store_errors(path):
            _write_note(descriptor, note)
        yield


@contextmanager
def in_progress(path: Path) -> Iterator[int]:
    """Make a file, mark it as being written for the block, and yield its descriptor.

    Without file locks no mark is set, and `remove_if_abandoned` removes nothing. Raises StoreError.
    """
    with _opened(path, lambda: _create_marked(path)) as descriptor:
        yield descriptor


@contextmanager
def _opened(path: Path, open_file: Callable[[], int]) -> Iterator[int]:
    """Open a file in its folder. No child inherits the descriptor: it could outlive the lock."""
    with atomic_files.os_errors_as_store_errors(path):
        atomic_files.make_folder(path.parent)
        descriptor = open_file()
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _create_marked(path: Path) -> int:
    while True:
        descriptor = regular_files.create(path)
        # Waits while `remove_if_abandoned` holds the file; one that it removes is made again.
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return descriptor
        os.close(descriptor)


def _write_note(descriptor: int, note: bytes) -> None:
    # A second name of the file may lie outside of the output, so the file is only locked then.
    if os.fstat(descriptor).st_nlink == 1:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, note, 0)


def remove_if_abandoned(path: Path) -> bool:
    """Remove a file that no process is writing; return whether it did. Raises StoreError."""
    with atomic_files.os_errors_as_store_errors(path):
        try:
            descriptor = regular_files.open_regular(path, os.O_RDWR)
        except FileNotFoundError:
            return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    else:
        # While it is locked, because a process with the same number may make the name again.
        atomic_files.remove(path)
        return True
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner, since = _holder_of(descriptor)
        raise Busy(
            f"{path.stem}: another run works on this bucket: {owner}",
            "wait until it ends, or stop it; running again then goes on where it stopped",
            owner=owner,
            since=since,
        ) from None
    except OSError as error:
        reason = os.strerror(error.errno or errno.EIO)
        raise StoreError(
            f"{inert(str(path))}: this file system cannot lock ({reason})",
            "put the output on a local disk",
        ) from error


def _holder_of(descriptor: int) -> tuple[str, str]:
    """Return what the lock file says of its holder, and when that began; both inert."""
    try:
        holder = json.loads(os.pread(descriptor, 4096, 0))
        words = "host {host}, pid {pid}, since {since}, run {run}".format_map(holder)
        return inert(words), inert(str(holder["since"]))
    except (OSError, ValueError, KeyError, TypeError):
        return "its lock file does not name it yet", ""

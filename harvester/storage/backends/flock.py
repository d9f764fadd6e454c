"""File locks that end with their process, also after ``kill -9``, and never by age.

The file's content names the holder, for messages. Lock files are not removed, because removing one
that another process has open would give two runs a lock of the same name.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from harvester.core.errors import StoreError
from harvester.storage.backends import atomic_files, regular_files
from harvester.storage.backends.claims import Owner, Wait, owner_of, parse_note
from harvester.storage.backends.elapsed import boot_seconds

_LOOK = 0.001
_LONGEST_LOOK = 10.0
_LONGEST_WRITE = 30.0
_FIRST_PAUSE = 0.02
_LONGEST_PAUSE = 0.25


@contextmanager
def locked(path: Path, wait: Wait) -> Iterator[None]:
    """Hold a lock for the block. Raises Busy naming the holder, StoreError, and UsageError.

    The name of the file without its end is that of the bucket. A UsageError is about a link or a
    pipe in its place.
    """
    with _opened(path, _open_to_lock) as descriptor:
        with atomic_files.os_errors_as_store_errors(path):
            _acquire(descriptor, path, wait)
            _write_note(descriptor, json.dumps(wait.claim.note()).encode())
        yield


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold a lock for the moments of one write, after waiting for those of others.

    Without file locks nothing is held. Raises StoreError, also after half a minute, and UsageError
    as `locked`.
    """
    with _opened(path, _open_to_lock) as descriptor:
        _wait_for_write(descriptor, path)
        yield


def owner(path: Path) -> Owner | None:
    """Return the holder of a lock, None if there is none. Raises StoreError.

    The file is locked for an instant, shared, which `locked` tells from a run that holds it.
    """
    with atomic_files.if_there(path), regular_files.reader(path) as file:
        if not _take_if_free(file.fileno(), fcntl.LOCK_SH):
            # Held even without a note: a holder writes it after it has taken the lock.
            return _holder_of(file.fileno(), path.stem) or Owner(path.stem, "", 0, "", "")
    return None


@contextmanager
def in_progress(path: Path) -> Iterator[int]:
    """Make a file, mark it as being written for the block, and yield its descriptor.

    Without file locks no mark is set, and `remove_if_abandoned` removes nothing. Raises StoreError.
    """
    with _opened(path, _create_marked) as descriptor:
        yield descriptor


@contextmanager
def _opened(path: Path, open_file: Callable[[Path], int]) -> Iterator[int]:
    """Open a file in its folder. No child inherits the descriptor: it could outlive the lock."""
    with atomic_files.os_errors_as_store_errors(path):
        atomic_files.make_folder(path.parent)
        descriptor = open_file(path)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _open_to_lock(path: Path) -> int:
    return regular_files.open_regular(path, os.O_RDWR | os.O_CREAT, 0o644)


def _wait_for_write(descriptor: int, path: Path) -> None:
    """Wait for a lock where there are any, but not for a process that was stopped as it wrote."""
    until = boot_seconds() + _LONGEST_WRITE
    while boot_seconds() < until:
        if _take_if_free(descriptor, fcntl.LOCK_EX) is not False:
            return
        time.sleep(_LOOK)
    raise StoreError(
        f"{path}: locked for {_LONGEST_WRITE:.0f} s by a process that writes a small file",
        "look for a harvester that was stopped or hangs: continue or end it, then run again",
    )


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
    # For writing too, because NFS locks no other descriptor in this way.
    with (
        atomic_files.if_there(path),
        os.fdopen(regular_files.open_regular(path, os.O_RDWR), "rb") as file,
    ):
        if _take_if_free(file.fileno(), fcntl.LOCK_EX):
            # While it is locked, because a process with the same number may make the name again.
            path.unlink(missing_ok=True)
            return True
    return False


def _acquire(descriptor: int, path: Path, wait: Wait) -> None:
    """Lock a file, and wait for that as long as the claim does. Raises OSError without locks."""
    begun, pause = boot_seconds(), _FIRST_PAUSE
    while not _take(descriptor, fcntl.LOCK_EX):
        # Not for ever, because another program may share the lock for as long as it likes.
        is_patient = boot_seconds() < begun + _LONGEST_LOOK and not wait.claim.is_stopped()
        if is_patient and _is_looked_at(descriptor):
            time.sleep(_LOOK)
            continue
        left = wait.left(path.stem, _holder_of(descriptor, path.stem))
        time.sleep(min(pause, left))
        pause = min(2 * pause, _LONGEST_PAUSE)


def _is_looked_at(descriptor: int) -> bool:
    """Return whether no run holds the lock: `owner` shares it for an instant, a run does not."""
    if not _take_if_free(descriptor, fcntl.LOCK_SH):
        return False
    # Kept, it would keep another run away that waits for the same lock.
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return True


def _take_if_free(descriptor: int, kind: int) -> bool | None:
    """Take a lock if it is free; return whether it is held then, None where there are no locks."""
    with suppress(OSError):
        return _take(descriptor, kind)
    return None


def _take(descriptor: int, kind: int) -> bool:
    """Take a lock if it is free; return whether it is held then. Raises OSError without locks."""
    with suppress(BlockingIOError):
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        return True
    return False


def _holder_of(descriptor: int, bucket: str) -> Owner | None:
    """Return the holder that a lock file names, None if it names none."""
    try:
        return owner_of(bucket, parse_note(os.pread(descriptor, 4096, 0)))
    except OSError:
        return None

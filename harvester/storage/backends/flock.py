"""A lock that dies with its holder.

``flock`` does so also under ``kill -9``, and is never broken by age. What stands in the file is for
people: who holds it. The files themselves stay, since removing one that somebody waits for would
give two runs a lock of the same name.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from harvester.core.errors import Busy, StoreError
from harvester.storage.backends import atomic_files


@contextmanager
def locked(path: Path, note: bytes) -> Iterator[None]:
    """Hold a lock while the block lasts. Raises Busy naming the holder, and StoreError."""
    with atomic_files.os_errors_as_store_errors(path):
        atomic_files.make_folder(path.parent)
        # Not inherited by child processes, which would hold on to it longer than we live.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        _acquire(descriptor, path)
        with atomic_files.os_errors_as_store_errors(path):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, note, 0)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def in_progress(path: Path) -> Iterator[None]:
    """Show, while the block lasts, that somebody makes this file. Raises StoreError.

    Where the file system cannot lock it shows nothing, and `remove_if_dead` removes nothing.
    """
    with atomic_files.os_errors_as_store_errors(path):
        atomic_files.make_folder(path.parent)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        with suppress(OSError):
            # Who looks at it holds it for a moment. If it is gone then, it is only made anew.
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def remove_if_abandoned(path: Path) -> bool:
    """Remove a file that nobody makes any more; whether it was one. Raises StoreError."""
    with atomic_files.os_errors_as_store_errors(path):
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    else:
        # While it is held: a name that holds a process's number may be taken again.
        atomic_files.remove(path)
        return True
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

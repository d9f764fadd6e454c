"""File operations that survive a power cut.

A file is written under another name in the same file system, flushed, renamed, and its folder is
flushed, so its final name always has complete contents. Every OSError becomes a StoreError that
names the path.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from harvester.core.errors import AccessRefused, StoreError
from harvester.core.text.inert_text import inert
from harvester.storage.backends.base import META_DIR, PRIVATE_FOLDERS

_ADVICE = {
    errno.ENOENT: "it was removed meanwhile: run again, or open the dataset again",
    errno.EACCES: "give this user read and write permission there",
    errno.EPERM: "give this user read and write permission there",
    errno.EROFS: "the file system is read-only: mount it for writing, or choose another output",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "raise the limit of open files",
    errno.ENOTDIR: "there is a file in place of a folder: move it away",
    errno.EISDIR: "there is a folder in place of a file: move it away",
    errno.ENAMETOOLONG: "choose a shorter path",
    errno.ENOLCK: "this file system cannot lock: put the output on a local disk",
    errno.EOPNOTSUPP: "this file system cannot lock: put the output on a local disk",
    errno.ELOOP: "a symbolic link there points to itself: correct it",
    errno.EFBIG: "the file is larger than the file system or a limit (ulimit -f) allows",
}
_PATH_ERRORS = (errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOTDIR)
"""Errors of a wrong or forbidden path; other errors mean that a disk fails."""

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
_MAX_RENAMES = 5
_MAX_ALLOCATION = 1 << 30


@contextmanager
def os_errors_as_store_errors(path: Path) -> Iterator[None]:
    """Turn an OSError about ``path`` into a StoreError with advice."""
    try:
        yield
    except OSError as error:
        raise store_error(path, error) from error


@contextmanager
def if_there(path: Path) -> Iterator[None]:
    """End the block quietly if a file is missing; otherwise as `os_errors_as_store_errors`."""
    with os_errors_as_store_errors(path), suppress(FileNotFoundError):
        yield


def store_error(path: Path, error: OSError) -> StoreError:
    """Return the StoreError for an OSError about a path."""
    # Arrow puts its own text, of many lines, in the place of the system's.
    words = os.strerror(error.errno) if error.errno else str(error).partition("\n")[0]
    kind = AccessRefused if error.errno in _PATH_ERRORS else StoreError
    return kind(f"{inert(str(path))}: {inert(words)}", _advice(path, error))


def refuse_shortage(error: OSError | MemoryError) -> None:
    """Raise MemoryError for an error of Arrow that means a lack of memory, and no damage.

    Without this an undamaged file would count as damaged. Damaged lengths ask for absurd sizes.
    """
    asked = re.search(r"size (\d+)", str(error))
    if asked is not None and int(asked[1]) > _MAX_ALLOCATION:
        return
    if isinstance(error, MemoryError):
        raise error
    if error.errno is None and re.search("not enough memory|allocat", str(error), re.IGNORECASE):
        raise MemoryError from error


def write(temp: Path, descriptor: int, final: Path, data: bytes) -> None:
    """Write a small file durably. Raises StoreError; then the final name is unchanged.

    ``temp`` is new and empty, and open as ``descriptor``.
    """
    try:
        with os_errors_as_store_errors(temp), os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(data)
        replace_durably(temp, final)
    except BaseException:
        unlink_quietly(temp)
        raise


def replace_durably(temp: Path, final: Path) -> None:
    """Rename a complete file to its final name, durably. Raises StoreError."""
    # The contents before the name, or after a power cut the name could stand for an empty file.
    with os_errors_as_store_errors(temp):
        sync(temp)
    with os_errors_as_store_errors(final):
        _rename(temp, final)
        sync(final.parent)


def make_folder(folder: Path) -> None:
    """Make a folder and its missing parents, durably. Raises OSError.

    Each new folder is flushed into its parent, because a lost folder loses its flushed files too.
    """
    if folder.is_dir():
        return
    make_folder(folder.parent)
    is_private = folder.name in PRIVATE_FOLDERS and folder.parent.name == META_DIR
    folder.mkdir(0o700 if is_private else 0o777, exist_ok=True)
    sync(folder.parent)


def unlink_quietly(path: Path) -> None:
    """Remove a file if it is there, ignoring errors: the caller reports an earlier one."""
    with suppress(OSError):
        path.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Flush a file or a folder to the disk."""
    # Without waiting, because a file that is moved to the quarantine may be of any kind.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _rename(temp: Path, final: Path) -> None:
    for _ in range(_MAX_RENAMES):
        make_folder(final.parent)
        # Another run removes folders that it leaves empty, this one too if it was.
        with suppress(FileNotFoundError):
            temp.replace(final)
            return
    temp.replace(final)


def _advice(path: Path, error: OSError) -> str:
    if error.errno in _DISK_FULL:
        return f"{_free(path)} free: make room and run again; what is published stays"
    return _ADVICE.get(error.errno or 0, "check the disk (dmesg, SMART), then run again")


def _free(path: Path) -> str:
    for folder in path.parents:
        with suppress(OSError):
            return f"{shutil.disk_usage(folder).free:,} bytes"
    return "no bytes"

"""The few things done to files, in the order that survives a power cut.

A file gets its final name only when it is whole and on the disk: written under another name in the
same file system, flushed, renamed, and the folder flushed. Every OSError becomes a StoreError that
names the path.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from harvester.core.errors import StoreError

_ADVICE = {
    errno.EACCES: "give this user the right to read and write there",
    errno.EPERM: "give this user the right to read and write there",
    errno.EROFS: "the file system is read-only: mount it for writing, or choose another output",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "raise the limit of open files",
    errno.ENOTDIR: "a file stands where a folder belongs: move it away",
    errno.EISDIR: "a folder stands where a file belongs: move it away",
    errno.ENAMETOOLONG: "choose a shorter path",
    errno.ELOOP: "a link there leads back to itself: correct it",
    errno.EFBIG: "the file is larger than the file system or a limit (ulimit -f) allows",
}
_FULL = (errno.ENOSPC, errno.EDQUOT)
_TRIES = 5


@contextmanager
def os_errors_as_store_errors(path: Path) -> Iterator[None]:
    """Turn an OSError of what is done to ``path`` into a StoreError that says what to do."""
    try:
        yield
    except OSError as error:
        raise store_error(path, error) from error


def store_error(path: Path, error: OSError) -> StoreError:
    """What went wrong with a path, and what to do about it."""
    # Arrow's errors carry their own story in place of the system's words.
    words = os.strerror(error.errno) if error.errno else str(error).partition("\n")[0]
    return StoreError(f"{path}: {words}", _advice(path, error))


def write(temp: Path, final: Path, data: bytes | memoryview) -> None:
    """Write a small file durably. Raises StoreError; then nothing has the final name."""
    try:
        with os_errors_as_store_errors(temp):
            make_folder(temp.parent)
            temp.write_bytes(data)
        replace_durably(temp, final)
    except BaseException:
        unlink_quietly(temp)
        raise


def replace_durably(temp: Path, final: Path) -> None:
    """Give a file that is whole its final name, durably. Raises StoreError."""
    with os_errors_as_store_errors(temp):
        sync(temp)
    with os_errors_as_store_errors(final):
        _rename(temp, final)
        sync(final.parent)


def make_folder(folder: Path) -> None:
    """Make a folder if there is none, each new one flushed into its parent. Raises OSError.

    What is flushed inside of a folder whose own name is not on the disk is gone with it.
    """
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync(folder.parent)


def remove(path: Path) -> None:
    """Remove a file if it is there. Raises StoreError."""
    with os_errors_as_store_errors(path):
        path.unlink(missing_ok=True)


def unlink_quietly(path: Path) -> None:
    """Remove what is left of a file that failed; that it failed is the news, not this."""
    with suppress(OSError):
        path.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Flush a file or a folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _rename(temp: Path, final: Path) -> None:
    for _ in range(_TRIES):
        make_folder(final.parent)
        # Somebody may have removed the folder since, for it was empty.
        with suppress(FileNotFoundError):
            temp.replace(final)
            return
    temp.replace(final)


def _advice(path: Path, error: OSError) -> str:
    if error.errno in _FULL:
        return f"{_free(path)} free: make room and run again; what is published stays"
    return _ADVICE.get(error.errno or 0, "see that the disk is well, and run again")


def _free(path: Path) -> str:
    for folder in path.parents:
        with suppress(OSError):
            return f"{shutil.disk_usage(folder).free:,} bytes"
    return "no bytes"

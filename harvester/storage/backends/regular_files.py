"""Opening of files in an output: regular files alone, never through a link, never waiting.

An output is data, so another program may have put anything in the place of a file. A symbolic link
would lead a write out of the output, and a pipe would hold a reader until a writer comes.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from harvester.core.errors import UsageError

_SAFELY = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

_KINDS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def reader(path: Path) -> BinaryIO:
    """Open a file for reading, unbuffered. Raises OSError, and as `refuse_special`."""
    return os.fdopen(open_regular(path, os.O_RDONLY), "rb", buffering=0)


def open_regular(path: Path, flags: int, mode: int = 0o666) -> int:
    """Open a file and return its descriptor, which no child inherits.

    ``flags`` and ``mode`` are those of `os.open`. Raises OSError, and as `refuse_special`.
    """
    try:
        descriptor = os.open(path, flags | _SAFELY, mode)
    except OSError:
        # The system has several numbers for a link and for a socket, so its kind is looked up.
        with suppress(OSError):
            refuse_special(path, os.lstat(path).st_mode)
        raise
    try:
        found = os.fstat(descriptor).st_mode
        refuse_special(path, found)
        if stat.S_ISDIR(found):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def create(path: Path) -> int:
    """Make a file for reading and writing and return its descriptor. Raises OSError.

    What is there already, left by a killed run or planted, is removed and never written to.
    """
    path.unlink(missing_ok=True)
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _SAFELY, 0o666)


def refuse_special(path: Path, mode: int) -> None:
    """Raise UsageError for a link, pipe, socket or device; ``mode`` is that of `os.lstat`."""
    kind = _KINDS.get(stat.S_IFMT(mode))
    if kind is not None:
        raise UsageError(
            f"{path}: {kind}, and an output has none in this place",
            "put the file or the folder itself there, or move it away",
        )


def version_from(status: os.stat_result) -> str:
    """Return the version of a file: another one for every file that takes its name."""
    return f"{status.st_ino:x}-{status.st_mtime_ns:x}-{status.st_size:x}"

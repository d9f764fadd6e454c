"""Opening of files of an output for Arrow, which opens by name and would follow links."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa

from harvester.storage.backends import regular_files

_DESCRIPTORS = Path("/dev/fd")
"""The folder in which the system names the descriptors of a process."""


def open_file(path: Path) -> pa.NativeFile:
    """Open a regular file for reading. Raises OSError, and UsageError for anything else there."""
    return open_version(path)[1]


def open_version(path: Path) -> tuple[str, pa.NativeFile]:
    """Open a file as `open_file`; return its version, which a replaced file changes, as well."""
    with regular_files.reader(path) as file:
        number = file.fileno()
        status = os.fstat(number)
        version = f"{status.st_ino:x}-{status.st_mtime_ns:x}-{status.st_size:x}"
        try:
            # Arrow takes no descriptor. A Python file would wait for the interpreter at each read.
            return version, pa.OSFile(str(_DESCRIPTORS / str(number)))
        except FileNotFoundError:
            # The file is open, so it is the folder that is not there: a jail without /proc.
            return version, pa.PythonFile(os.fdopen(os.dup(number), "rb"), "r")


def create_file(path: Path) -> pa.OSFile:
    """Make a file for writing, in the place of a left-over one. Raises OSError."""
    os.close(regular_files.create(path))
    return pa.OSFile(str(path), "wb")

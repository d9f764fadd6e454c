"""Files of an output for Arrow, which opens by name and would follow links.

Also as a read-only file system over the folder of an output; see `VersionedFiles`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
from pyarrow import fs

from harvester.storage.backends import atomic_files, regular_files
from harvester.storage.backends.versioned_files import VersionedFiles

_DESCRIPTORS = Path("/dev/fd")
"""The folder in which the system names the descriptors of a process."""


def open_file(path: Path) -> pa.NativeFile:
    """Open a regular file for reading. Raises OSError, and UsageError for anything else there."""
    return open_version(path)[1]


def open_version(path: Path) -> tuple[str, pa.NativeFile]:
    """Open a file as `open_file`; return its version, which a replaced file changes, as well."""
    with regular_files.reader(path) as file:
        number = file.fileno()
        version = regular_files.version_from(os.fstat(number))
        try:
            # Arrow takes no descriptor. A Python file would wait for the interpreter at each read.
            return version, pa.OSFile(str(_DESCRIPTORS / str(number)))
        except FileNotFoundError:
            # The file is open, so it is the folder that is not there: a jail without /proc.
            return version, pa.PythonFile(os.fdopen(os.dup(number), "rb"), "r")


@contextmanager
def damage_as(
    damage: Callable[[], Exception], path: Path, *kinds: type[Exception]
) -> Iterator[None]:
    """Raise ``damage`` for bytes that Arrow cannot read, told by these kinds of errors.

    Raises StoreError if the system refuses to read the file, and MemoryError for too little memory.
    """
    caught: tuple[type[Exception], ...] = (MemoryError, OSError, *kinds)
    try:
        yield
    except caught as error:
        if isinstance(error, MemoryError | OSError):
            atomic_files.refuse_shortage(error)
        # Arrow raises an OSError without a number for bytes that it cannot decode.
        if isinstance(error, OSError) and error.errno is not None and not isinstance(error, kinds):
            raise atomic_files.store_error(path, error) from error
        raise damage() from error


def filesystem(folder: Path) -> fs.FileSystem:
    """Return the file system of an output; its paths are absolute. Reading raises StoreError."""
    return fs.PyFileSystem(VersionedFiles(str(folder), _open_version))


def _open_version(path: str) -> tuple[str, pa.NativeFile]:
    with atomic_files.os_errors_as_store_errors(Path(path)):
        return open_version(Path(path))

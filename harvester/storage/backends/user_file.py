"""A file of the user outside of any output: replaced as a whole, or a pipe that gets one text."""

from __future__ import annotations

import os
from pathlib import Path

from harvester.storage.backends import atomic_files, flock


def write(path: Path, data: bytes, *, is_final: bool) -> None:
    """Write the user's file, whole or not at all. Raises StoreError.

    A device or pipe, such as ``/dev/stdout``, gets the final data alone.
    """
    with atomic_files.os_errors_as_store_errors(path):
        is_no_file = path.exists() and not path.is_file()
    if not is_no_file:
        temp = path.with_name(f".{path.name}.tmp")
        with flock.in_progress(temp) as descriptor:
            atomic_files.write(temp, descriptor, path, data)
    elif is_final:
        with atomic_files.os_errors_as_store_errors(path):
            # Without O_NONBLOCK a pipe that no process reads would be waited for without end.
            descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
            os.set_blocking(descriptor, True)
            with os.fdopen(descriptor, "wb") as sink:
                sink.write(data)

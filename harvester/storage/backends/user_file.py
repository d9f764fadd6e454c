"""A file of the user outside of any output: replaced as a whole, or a pipe that gets one text."""

from __future__ import annotations

import os
from pathlib import Path

from harvester.storage.backends import atomic_files, flock


def write(path: Path, data: bytes | None, *, is_final: bool, is_public: bool = False) -> None:
    """Write the user's file, whole or not at all. Raises StoreError.

    Without ``data`` the file stays as it is; it is only tried whether it could be written. A device
    or pipe, such as ``/dev/stdout``, gets the final data alone. Every user of the machine may read
    a file that ``is_public``, whatever the umask.
    """
    with atomic_files.os_errors_as_store_errors(path):
        is_no_file = path.exists() and not path.is_file()
    if not is_no_file:
        temp = path.with_name(f".{path.name}.tmp")
        with flock.in_progress(temp) as descriptor:
            if is_public:
                os.fchmod(descriptor, 0o644)
            if data is None:
                atomic_files.unlink_quietly(temp)
            else:
                atomic_files.write(temp, descriptor, path, data)
    elif is_final and data is not None:
        with atomic_files.os_errors_as_store_errors(path):
            # Without O_NONBLOCK a pipe that no process reads would be waited for without end.
            descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
            os.set_blocking(descriptor, True)
            with os.fdopen(descriptor, "wb") as sink:
                sink.write(data)

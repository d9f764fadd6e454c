"""Read-only file system of Arrow over the folder of an output; see `VersionedFiles`."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
from pyarrow import fs

from harvester.core.text.inert_text import inert
from harvester.storage import arrow_files
from harvester.storage.backends import atomic_files
from harvester.storage.backends.versioned_files import VersionedFiles


def filesystem(folder: Path) -> fs.FileSystem:
    """Return the file system of an output; its paths are absolute. Reading raises StoreError."""
    return fs.PyFileSystem(_LocalFiles(str(folder)))


class _LocalFiles(VersionedFiles):
    """The regular files of a folder, never through a link."""

    def open_version(self, path: str) -> tuple[str, pa.NativeFile]:
        """Open a file; its version changes whenever it is replaced."""
        with atomic_files.os_errors_as_store_errors(Path(path)):
            return arrow_files.open_version(Path(path))

    def info(self, path: str) -> fs.FileInfo:
        """Return kind and size of what is at a path."""
        with atomic_files.os_errors_as_store_errors(Path(path)):
            if not os.path.lexists(path):
                return fs.FileInfo(path, fs.FileType.NotFound)
            is_file = Path(path).is_file()
            kind = fs.FileType.File if is_file else fs.FileType.Directory
            return fs.FileInfo(path, kind, size=Path(path).stat().st_size if is_file else None)

    def display_path(self, path: str) -> str:
        """Return the path."""
        return inert(path)

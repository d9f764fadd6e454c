"""Read-only file system of Arrow over an output, in which a file has one version.

Arrow keeps the footer of a file that it has read, and opens the file anew for its rows. It would
look for the pages of a new version at the places of the old one, so a file that a run has replaced
since it was first opened is an error: docs/decisions/0035-readers-of-an-output.md.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NoReturn, TypeAlias

import pyarrow as pa
from pyarrow import fs

from harvester.core.errors import StoreError
from harvester.core.text.inert_text import inert

REPLACED = "a command has replaced or removed it since this dataset was opened"
AGAIN = "open the dataset again: a new one has the new rows"

OpenVersion: TypeAlias = Callable[[str], tuple[str, pa.NativeFile]]


class VersionedFiles(fs.FileSystemHandler):  # type: ignore[misc] # pyarrow has no types
    """The files of one output, each in the version that was opened first. Thread-safe.

    ``open_version`` returns the version of a file, and the file. It raises StoreError.
    """

    def __init__(self, root: str, open_version: OpenVersion) -> None:
        self._root = root
        self._open_version = open_version
        self._versions: dict[str, str] = {}
        self._guard = threading.Lock()

    def __reduce__(self) -> tuple[type[VersionedFiles], tuple[str, OpenVersion]]:
        return type(self), (self._root, self._open_version)

    def get_type_name(self) -> str:
        """Return the name of this kind of file system."""
        return "harvester"

    def normalize_path(self, path: str) -> str:
        """Return a path as it is."""
        return path

    def get_file_info(self, paths: list[str]) -> list[fs.FileInfo]:
        """Return kind and size of files. Raises StoreError, also if there is none."""
        return [fs.FileInfo(path, fs.FileType.File, size=self._size(path)) for path in paths]

    def _size(self, path: str) -> int:
        with self._open_version(path)[1] as file:
            size: int = file.size()
            return size

    def open_input_file(self, path: str) -> pa.NativeFile:
        """Open a file for reading at any place. Raises StoreError, also for another version."""
        # Opened before it is compared, because a file that is open cannot be replaced.
        version, file = self._open_version(path)
        with self._guard:
            known = self._versions.setdefault(path, version)
        if known != version:
            file.close()
            raise StoreError(f"{inert(path)}: {REPLACED}", AGAIN)
        return file

    open_input_stream = open_input_file

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise StoreError(f"{inert(self._root)}: is open for reading alone")

    copy_file = create_dir = delete_dir = delete_dir_contents = delete_file = _refuse
    delete_root_dir_contents = get_file_info_selector = move = _refuse
    open_append_stream = open_output_stream = _refuse

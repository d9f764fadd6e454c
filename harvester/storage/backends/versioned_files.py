"""Read-only file system of Arrow over an output, in which a file has one version.

Arrow keeps the footer of a file that it has read, and opens the file anew for its rows. It would
look for the pages of a new version at the places of the old one, so a file that a run has replaced
since it was first opened is an error: docs/decisions/0035-readers-of-an-output.md.
"""

from __future__ import annotations

import threading
from abc import abstractmethod
from typing import NoReturn

import pyarrow as pa
from pyarrow import fs

from harvester.core.errors import StoreError
from harvester.core.text.inert_text import inert

REPLACED = "a command has replaced or removed it since this dataset was opened"
AGAIN = "open the dataset again: a new one has the new rows"


class VersionedFiles(fs.FileSystemHandler):  # type: ignore[misc] # pyarrow has no types
    """The files of one output, each in the version that was opened first. Thread-safe."""

    def __init__(self, root: str) -> None:
        self.root = root
        self._versions: dict[str, str] = {}
        self._guard = threading.Lock()

    @abstractmethod
    def open_version(self, path: str) -> tuple[str, pa.NativeFile]:
        """Open a file; return its version and the file. Raises StoreError."""

    @abstractmethod
    def info(self, path: str) -> fs.FileInfo:
        """Return kind and size of what is at a path. Raises StoreError."""

    def display_path(self, path: str) -> str:
        """Return a path as messages show it."""
        return inert(path)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.root == getattr(other, "root", None)

    def __hash__(self) -> int:
        return hash(self.root)

    def __reduce__(self) -> tuple[type[VersionedFiles], tuple[str]]:
        return type(self), (self.root,)

    def get_type_name(self) -> str:
        """Return the name of this kind of file system."""
        return "harvester"

    def normalize_path(self, path: str) -> str:
        """Return a path as it is."""
        return path

    def get_file_info(self, paths: list[str]) -> list[fs.FileInfo]:
        """Return kind and size of files. Raises StoreError."""
        return [self.info(path) for path in paths]

    def open_input_file(self, path: str) -> pa.NativeFile:
        """Open a file for reading at any place. Raises StoreError, also for another version."""
        # Opened before it is compared, because a file that is open cannot be replaced.
        version, file = self.open_version(path)
        with self._guard:
            known = self._versions.setdefault(path, version)
        if known != version:
            file.close()
            raise StoreError(f"{self.display_path(path)}: {REPLACED}", AGAIN)
        return file

    open_input_stream = open_input_file

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise StoreError(f"{self.display_path(self.root)}: is open for reading alone")

    copy_file = create_dir = delete_dir = delete_dir_contents = delete_file = _refuse
    delete_root_dir_contents = get_file_info_selector = move = _refuse
    open_append_stream = open_output_stream = _refuse

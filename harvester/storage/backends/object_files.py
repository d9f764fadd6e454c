"""Read-only file system of Arrow over the objects of an output; see `VersionedFiles`."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import obstore
import pyarrow as pa
from obstore.exceptions import PreconditionError
from pyarrow import fs

from harvester.core.errors import StoreError
from harvester.core.text.inert_text import inert
from harvester.storage.backends import object_client
from harvester.storage.backends.versioned_files import AGAIN, REPLACED, VersionedFiles

if TYPE_CHECKING:
    from obstore import GetOptions, ObjectMeta
    from obstore.store import ObjectStore

_T = TypeVar("_T")


def filesystem(uri: str, endpoint: str | None, options: Mapping[str, str]) -> fs.FileSystem:
    """Return the file system of an output; its paths are URIs.

    Raises UsageError as `object_client.connect`. Reading raises StoreError.
    """
    objects = _Objects(uri, object_client.connect(uri, endpoint, options))
    return fs.PyFileSystem(VersionedFiles(uri, objects.open_version))


class _ObjectFile(io.RawIOBase):
    """One version of an object, opened for reading. Each read is a request."""

    def __init__(self, objects: _Objects, path: str, meta: ObjectMeta) -> None:
        super().__init__()
        self._objects, self._path, self._meta, self._at = objects, path, meta, 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a position, and return it."""
        size = self._meta["size"]
        self._at = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: size}[whence] + offset
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        """Return the next bytes, at most ``size``. Raises StoreError."""
        left = max(0, self._meta["size"] - self._at)
        length = left if size is None or size < 0 else min(size, left)
        # Stores refuse an empty range.
        data = self._objects.read_range(self._path, self._meta, self._at, length) if length else b""
        self._at += len(data)
        return data


class _Objects(NamedTuple):
    """The objects below a prefix."""

    uri: str
    store: ObjectStore

    def open_version(self, path: str) -> tuple[str, pa.NativeFile]:
        """Open an object; its version is its tag."""
        meta = self._answered(path, lambda: obstore.head(self.store, self._name(path)))
        version = meta["e_tag"] or str(meta["last_modified"])
        return version, pa.PythonFile(_ObjectFile(self, path, meta), mode="r")

    def read_range(self, path: str, meta: ObjectMeta, begin: int, length: int) -> bytes:
        """Return a part of an object, on condition that it has this tag. Raises StoreError."""
        options: GetOptions = {"range": (begin, begin + length)}
        if meta["e_tag"]:
            options["if_match"] = meta["e_tag"]

        def read() -> bytes:
            return bytes(obstore.get(self.store, self._name(path), options=options).bytes())

        return self._answered(path, read)

    def _name(self, path: str) -> str:
        return path.removeprefix(f"{self.uri}/")

    def _answered(self, path: str, request: Callable[[], _T]) -> _T:
        where, patience = inert(path), object_client.LIMITS.patience

        def current() -> _T:
            try:
                return request()
            except (PreconditionError, FileNotFoundError):
                raise StoreError(f"{where}: {REPLACED}", AGAIN) from None

        return object_client.answered(self.uri, where, current, patience)

"""Side files: small JSON files beside the data, with a version, a tolerant read, a durable write.

Damaged and foreign contents count as none. A file of a newer version is refused, because ignoring
it would lose entries of a newer harvester.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import cache
from typing import Any, Generic, TypeVar

import orjson
from pydantic import TypeAdapter
from pydantic_core import from_json

from harvester.core.errors import OtherVersion, StoreError
from harvester.storage.backends.base import MAX_SIDE_FILE, Store, Version, retry_races

VERSION = 1
"""The version that is written, and the newest one that is read."""

MAX_CONTAINERS = 1 << 20
"""Most objects and lists of a file: they take thirty times the memory of their two characters."""

T = TypeVar("T")

# Built when a type is first read: no command pays for files that it does not open.
_adapter: Callable[[Any], TypeAdapter[Any]] = cache(TypeAdapter)


class SideFile(Generic[T]):
    """A side file that several processes may change: each replaces the version that it has read.

    ``kind`` is a dataclass or a dict. Damaged contents are read as ``damaged``. All methods raise
    StoreError, and those that read raise UsageError for a newer version.
    """

    def __init__(self, store: Store, name: str, kind: type[T], *, damaged: T | None = None) -> None:
        self._store = store
        self._name = name
        self._kind = kind
        self._damaged = damaged
        self._version: Version | None = None

    def read(self) -> T | None:
        """Return the value, None if there is no file."""
        found = self._store.get(self._name, MAX_SIDE_FILE)
        self._version = None if found is None else found.version
        if found is None:
            return None
        where = self._store.display_path(self._name)
        return decoded(found.data, self._kind, where) or self._damaged

    def write(self, value: T) -> None:
        """Put a value durably over the version that was read or written last, none at first.

        Raises LostRace if another version is there.
        """
        self._version = self._store.put(self._name, encoded(value), self._version)

    def update(self, change: Callable[[T | None], T | None]) -> bool:
        """Replace the value by what ``change`` makes of it; return whether it made any.

        If another process is faster, its value is changed. Raises as `retry_races`.
        """

        def attempt(_: int) -> bool:
            value = change(self.read())
            if value is not None:
                self.write(value)
            return value is not None

        return retry_races(attempt)


def read(store: Store, name: str, kind: type[T]) -> T | None:
    """Read a file that has one writer, as a `SideFile` does."""
    return SideFile(store, name, kind).read()


def write(store: Store, name: str, value: Any) -> None:
    """Write a file durably, in the place of an older one. Raises StoreError."""
    store.put(name, encoded(value))


def parse(data: bytes, *, partial: bool = False) -> Any:
    """Parse JSON that may have been made to exhaust the memory or the stack.

    ``partial`` accepts a document that was cut off. Raises ValueError for a document that is too
    long, too deep or has too many parts, and for one that is not JSON.
    """
    if _is_too_large(data):
        raise ValueError("larger than any file of harvester")
    return from_json(data, allow_inf_nan=False, allow_partial=partial)


def value_of(plain: Any, kind: type[T], where: str = "", **known: object) -> T | None:
    """Return the value of a file's members, None if they do not fit. Raises OtherVersion.

    Run records have a version of another name.
    """
    try:
        found = {"version": 1, **plain, **known}
        version = found.pop("version")
        if version > VERSION:
            raise OtherVersion.newer(f"{where}:", version, VERSION)
        value: T = _adapter(kind).validate_python(found)
        return value
    except (TypeError, ValueError, OverflowError):
        return None


def encoded(value: Any) -> bytes:
    """Return a dataclass or a mapping as the contents of a file, with the version.

    Raises StoreError for more than would be read again.
    """
    if not isinstance(value, Mapping):
        value = {field.name: getattr(value, field.name) for field in fields(value)}
    data = orjson.dumps({"version": VERSION, **value}, default=tuple)
    if _is_too_large(data):
        raise StoreError(
            f"a file of _harvester would have {len(data):,} bytes, more than are ever read",
            "divide the accounts into more buckets: harvester rewrite --buckets",
        )
    return data


def _is_too_large(data: bytes) -> bool:
    return len(data) >= MAX_SIDE_FILE or data.count(b"{") + data.count(b"[") > MAX_CONTAINERS


def decoded(data: bytes, kind: type[T], where: str, *, partial: bool = False) -> T | None:
    """Return the value in a file, None for damage; ``partial`` is as for `parse`.

    Raises UsageError for a newer version.
    """
    try:
        plain = parse(data, partial=partial)
    except ValueError:
        return None
    return value_of(plain, kind, where)

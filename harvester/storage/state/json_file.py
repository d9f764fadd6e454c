"""Side files: small JSON files beside the data, with a version, a tolerant read, a durable write.

Damaged and foreign contents count as none. A file of a newer version is refused, because ignoring
it would lose entries of a newer harvester.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import orjson
from pydantic import TypeAdapter
from pydantic_core import from_json

from harvester.core.errors import UsageError
from harvester.storage.backends.base import MAX_READ, FileInfo, Store, Version, contents

VERSION = 1
"""The version that is written, and the newest one that is read."""

MAX_CONTAINERS = 1 << 20
"""Most objects and lists of a file: they take thirty times the memory of their two characters."""

T = TypeVar("T")

# Built when a type is first read: no command pays for files that it does not open.
_adapter: Callable[[Any], TypeAdapter[Any]] = cache(TypeAdapter)


def read(
    store: Store, name: str, kind: type[T], *, damaged: T | None = None, **known: object
) -> T | None:
    """Read a file as a dataclass, or as a dict; None if there is none.

    Damaged contents are read as ``damaged``. ``known`` are members that replace those of the
    file. Raises StoreError, and UsageError for a newer version.
    """
    data = store.read(name)
    if data is None:
        return None
    return _decoded(data, kind, store.display_path(name), **known) or damaged


def read_versioned(
    store: Store, name: str, kind: type[T], **known: object
) -> tuple[T | None, Version | None]:
    """Read a file as `read`, with its version; None and None if there is none."""
    found = store.read_versioned(name)
    if found is None:
        return None, None
    return _decoded(found.data, kind, store.display_path(name), **known), found.version


def read_all(store: Store, found: Sequence[FileInfo], kind: type[T]) -> Iterator[T]:
    """Read many files in the order given, without those that are gone or damaged.

    An object store is asked for many at once. Raises as `read`.
    """
    for file, data in zip(found, contents(store, found), strict=True):
        value = _decoded(data or b"", kind, store.display_path(file.name))
        if value is not None:
            yield value


def write(store: Store, name: str, value: Any, temp: Path, **spelled: object) -> None:
    """Write a file durably, in the place of an older one. Raises StoreError.

    ``spelled`` are members whose form in the file differs from that in ``value``.
    """
    store.write(name, orjson.dumps(members(value, **spelled), default=tuple), temp)


def write_over(
    store: Store, name: str, value: Any, temp: Path, over: Version | None, **spelled: object
) -> Version:
    """Write a file as `write`, over a version, None for none; return the new one.

    Raises LostRace if another version is there, and StoreError.
    """
    data = orjson.dumps(members(value, **spelled), default=tuple)
    return store.write_over(name, data, temp, over)


def members(value: Any, **spelled: object) -> dict[str, Any]:
    """Return the members of a dataclass or a mapping, with the version, as in its file."""
    if not isinstance(value, Mapping):
        value = {field.name: getattr(value, field.name) for field in fields(value)}
    return {"version": VERSION, **value, **spelled}


def parse(data: bytes, *, partial: bool = False) -> Any:
    """Parse JSON that may have been made to exhaust the memory or the stack.

    ``partial`` accepts a document that was cut off. Raises ValueError for a document that is too
    long, too deep or has too many parts, and for one that is not JSON.
    """
    if len(data) >= MAX_READ or data.count(b"{") + data.count(b"[") > MAX_CONTAINERS:
        raise ValueError("larger than any file of harvester")
    return from_json(data, allow_inf_nan=False, allow_partial=partial)


def value_of(plain: Any, kind: type[T], where: str = "", **known: object) -> T | None:
    """Return the value of a file's members, None if they do not fit. Raises UsageError.

    Run records have a version of another name.
    """
    try:
        found = {"version": 1, **plain, **known}
        version = found.pop("version")
        if version > VERSION:
            raise UsageError(
                f"{where}: version {version}, and this harvester reads up to version {VERSION}",
                "upgrade harvester: a newer one has written to this output",
            )
        value: T = _adapter(kind).validate_python(found)
        return value
    except (TypeError, ValueError):
        return None


def _decoded(data: bytes, kind: type[T], where: str, **known: object) -> T | None:
    try:
        plain = parse(data)
    except ValueError:
        return None
    return value_of(plain, kind, where, **known)

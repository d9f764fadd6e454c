"""Answers of an object store: the version, the size and the contents of an object."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from harvester.core.errors import StoreRefused
from harvester.storage.backends.base import FileInfo, Version

if TYPE_CHECKING:
    from obstore import GetResult, ObjectMeta, PutMode, PutResult

CHUNK_BYTES = 8 << 20
"""Bytes of an object held in memory while it is downloaded."""


def version_of(meta: ObjectMeta | PutResult) -> Version:
    """Return the tag of an object, and for Google its generation."""
    return Version(f"{meta['e_tag'] or ''} {meta['version'] or ''}")


def put_mode(version: Version | None) -> PutMode:
    """Return the condition of a put over a version, None for none. Raises StoreError."""
    if version is None:
        return "create"
    tag, _, generation = version.rpartition(" ")
    if not tag:
        # Some stores ignore an empty condition, and others never accept it.
        raise StoreRefused("this store gives its objects no tags", "name another store")
    # obstore refuses a member without a value.
    return {"e_tag": tag, "version": generation} if generation else {"e_tag": tag}


def beginning(answer: GetResult, length: int) -> bytes:
    """Return the first bytes of an object, without waiting for those behind them."""
    beginning = b""
    for piece in answer.stream(min_chunk_size=min(length, CHUNK_BYTES)):
        beginning += bytes(piece)
        if len(beginning) >= length:
            break
    return beginning[:length]


def version_if_same(answer: GetResult, data: Path | bytes) -> Version | None:
    """Return the version of an object if it has these contents."""
    with data.open("rb") if isinstance(data, Path) else io.BytesIO(data) as file:
        for piece in answer.stream(min_chunk_size=CHUNK_BYTES):
            if file.read(len(piece)) != bytes(piece):
                return None
        return None if file.read(1) else version_of(answer.meta)


def file_info(name: str, meta: ObjectMeta) -> FileInfo:
    """Return a file as in a listing."""
    # Azure quotes the tag in an answer and not in a listing.
    return FileInfo(name, meta["size"], (meta["e_tag"] or str(meta["last_modified"])).strip('"'))

"""Places and sizes of the record batches of an Arrow file, without decompressing one of them.

A kilobyte of lz4 or zstd may stand for gigabytes, and pyarrow takes no limit. Arrow refuses a
buffer that decompresses to another size than its first eight bytes state, so these are the limit.
The tables of the file's index are FlatBuffers, of which a few fields are needed here.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import pyarrow as pa

MAX_INDEX_BYTES = 4 << 20
"""Longest index that is read: the schema, its metadata, and the places of the batches."""

_END = struct.Struct("<i6s")
_BLOCK = struct.Struct("<qi4xq")
_BUFFER = struct.Struct("<qq")
_MESSAGE_HEADER = 2
_BATCH_BUFFERS = 2
_BATCH_COMPRESSION = 3
_INDEX_BATCHES = 3


class _Table(NamedTuple):
    """A FlatBuffers table: the bytes around it, and its place in them."""

    data: bytes
    at: int

    def offset(self, number: int) -> int:
        """Return the offset of a field from the table, 0 if it is absent."""
        layout, slot = self.at - _unpack("<i", self.data, self.at), 4 + 2 * number
        is_there = slot < _unpack("<H", self.data, layout)
        return _unpack("<H", self.data, layout + slot) if is_there else 0

    def field(self, number: int) -> int:
        """Return the place that a field refers to. Raises ValueError if it is absent."""
        at = self.at + self.offset(number)
        if at == self.at:
            raise ValueError("a field is missing")
        return at + _unpack("<I", self.data, at)

    def structs(self, number: int, form: struct.Struct) -> list[tuple[int, ...]]:
        """Return the structs of a vector."""
        at = self.field(number)
        end = at + 4 + _unpack("<I", self.data, at) * form.size
        if end > len(self.data):
            raise ValueError("a vector is longer than its table")
        return list(form.iter_unpack(self.data[at + 4 : end]))


class BatchPlace(NamedTuple):
    """Place of a record batch: its offset in the file, and the bytes of its head and its body."""

    at: int
    head: int
    body: int


def places(source: pa.NativeFile) -> list[BatchPlace]:
    """Return the places of all record batches.

    Raises ValueError, and struct.error, for an index that is damaged or too long.
    """
    end = source.size() - _END.size
    (length, _) = _END.unpack(_read(source, end, _END.size))
    if not 0 < length <= min(MAX_INDEX_BYTES, end):
        raise ValueError("an index of an impossible length")
    index = _root(_read(source, end - length, length))
    found = [BatchPlace(*block) for block in index.structs(_INDEX_BATCHES, _BLOCK)]
    for place in found:
        if min(place) < 0 or place.head > MAX_INDEX_BYTES or sum(place) > end:
            raise ValueError("a batch in an impossible place")
    return found


def decompressed_size(source: pa.NativeFile, place: BatchPlace) -> int:
    """Return the bytes that a record batch takes in memory.

    Raises ValueError, and struct.error, for a batch whose head is damaged.
    """
    if place.head <= 8:
        raise ValueError("a batch without a head")
    # Eight bytes of marker and length precede the table.
    message = _root(_read(source, place.at + 8, place.head - 8))
    batch = _Table(message.data, message.field(_MESSAGE_HEADER))
    buffers, body = batch.structs(_BATCH_BUFFERS, _BUFFER), place.at + place.head
    if not batch.offset(_BATCH_COMPRESSION):
        return max(place.body, sum(length for _, length in buffers))
    return sum(_buffer_size(source, body + offset, length) for offset, length in buffers)


def _buffer_size(source: pa.NativeFile, at: int, length: int) -> int:
    if not length:
        return 0
    (stated,) = struct.unpack("<q", _read(source, at, 8))
    # A buffer that would not shrink is stored as it is.
    return length if stated == -1 else max(length, stated)


def _root(data: bytes) -> _Table:
    return _Table(data, _unpack("<I", data, 0))


def _read(source: pa.NativeFile, at: int, length: int) -> bytes:
    if at < 0:
        raise ValueError("a place before the file")
    source.seek(at)
    data: bytes = source.read(length)
    return data


def _unpack(form: str, data: bytes, at: int) -> int:
    if at < 0:
        raise ValueError("a place before the table")
    (value,) = struct.unpack_from(form, data, at)
    return int(value)

"""Lines in a compressed file: JSON documents, one a line, which repeat the same words."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

from harvester.storage.backends.base import MAX_READ

LINES = ".log.zst"
"""Ending of the names of such files."""

_CHUNK_BYTES = 1 << 20


def pack(lines: Iterable[bytes]) -> bytes:
    """Return the contents of a file of these lines, each with its end."""
    packed: bytes = pa.Codec("zstd", compression_level=9).compress(b"".join(lines), asbytes=True)
    return packed


def unpack(data: bytes) -> list[bytes]:
    """Return the lines of a file. Raises ValueError if it is damaged, or longer than any of ours.

    A kilobyte may stand for gigabytes, so it is decompressed step by step.
    """
    found = bytearray()
    try:
        with pa.CompressedInputStream(pa.BufferReader(data), "zstd") as source:
            while chunk := source.read(_CHUNK_BYTES):
                found += chunk
                if len(found) >= MAX_READ:
                    raise ValueError("longer than any file of harvester")
    except OSError as error:
        raise ValueError("damaged") from error
    return bytes(found).splitlines()

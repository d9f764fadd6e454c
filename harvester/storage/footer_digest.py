"""A digest of a file's end that stands in this very end.

Parquet has checksums for pages and none for what comes behind them: indexes, statistics, keys. So
the end is written with an empty seal, digested as it then stands, and the digest put in its place.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

SEAL = b"harvester.seal"
"""The key: ``sha256:<hex>`` of all behind the data pages, with zeros where this hex stands."""

EMPTY = b"sha256:" + b"0" * 64
"""What stands there before."""


def append(path: Path, start: int) -> bytes:
    """Seal a file whose end begins at ``start`` and holds EMPTY once; returns the seal."""
    with path.open("r+b") as file:
        file.seek(start)
        end = file.read()
        seal = _digest(end)
        file.seek(start + end.index(EMPTY))
        file.write(seal)
    return seal


def is_intact(end: bytes, seal: bytes) -> bool:
    """Whether an end is as it was when it got its seal."""
    return _digest(end.replace(seal, EMPTY)) == seal


def _digest(end: bytes) -> bytes:
    return b"sha256:" + hashlib.sha256(end).hexdigest().encode()

"""Footer of a data file: Parquet keys with its coverage, its raw groups and its digests."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, NamedTuple

import pyarrow as pa

from harvester.core.calendar import Month, month_text
from harvester.core.dataset import Dataset
from harvester.core.errors import DamagedOutput, OtherVersion, StoreError
from harvester.storage import arrow_files
from harvester.storage.backends import regular_files
from harvester.storage.state import json_file
from harvester.tables import coverage
from harvester.tables.coverage import Coverage

SCHEMA_VERSION = 1
"""Version of the columns of all datasets. Each file states the version it was written with."""

BUCKET = b"harvester.bucket"
"""The bucket and the number of buckets, as in the file's name: ``0003-of-0016``."""

COVERAGE = b"harvester.coverage"
DATASET = b"harvester.dataset"
SCHEMA_KEY = b"harvester.schema_version"

DIGEST = b"harvester.rows_digest"
"""``sha256:<hex>:<length>`` of the first ``length`` bytes, which are all data pages."""

GROUPS = b"harvester.groups"
"""JSON, id to path: the raw groups whose answers are in the file, and which may still exist."""

SEAL = b"harvester.seal"
"""``sha256:<hex>`` of all bytes behind the data pages, computed with zeros in place of this hex."""

MAX_BYTES = 16 << 20
"""Longest footer that is read: a hundred times that of a month of 10,000 accounts."""

_OWN_KEYS = {BUCKET, COVERAGE, DATASET, DIGEST, GROUPS, SEAL}
_EMPTY_SEAL = b"sha256:" + b"0" * 64
_MAX_VERSION_DIGITS = 9
_HASH_BYTES = 1 << 20


class Footer(NamedTuple):
    """Coverage of a file, and the raw groups whose answers are in it, id to path."""

    coverage: Coverage
    groups: Mapping[str, str]


def encode_footer(
    dataset: Dataset, bucket: str, footer: Footer, rows_digest: bytes
) -> dict[bytes, bytes]:
    """Return the Parquet keys of a new file of a bucket, as in names; its seal is still empty."""
    return {
        DATASET: dataset.name.encode(),
        BUCKET: bucket.encode(),
        SCHEMA_KEY: str(SCHEMA_VERSION).encode(),
        COVERAGE: coverage.encode(footer.coverage).encode(),
        GROUPS: json.dumps(dict(footer.groups)).encode(),
        DIGEST: rows_digest,
        SEAL: _EMPTY_SEAL,
    }


def decode_footer(where: str, keys: dict[bytes, bytes], *, older: bool = False) -> Footer:
    """Decode the Parquet keys of a file; ``older`` accepts an older schema version too.

    ``where`` names the file in errors. Raises OtherVersion, and DamagedOutput for damage.
    """
    version = _schema_version(keys)
    # Checked first, because the keys of a newer version are unknown.
    if version > SCHEMA_VERSION:
        raise OtherVersion.newer(f"{where}: schema", version, SCHEMA_VERSION)
    if not version or not keys.keys() >= _OWN_KEYS:
        raise DamagedOutput(
            f"{where}: not written by harvester, or its keys were removed",
            "move it away: the month is then asked again",
        )
    if version < SCHEMA_VERSION and not older:
        raise OtherVersion(
            f"{where}: older schema version {version}, and this harvester writes {SCHEMA_VERSION}",
            "let the harvester that wrote it end its last run; then make a fresh output of it with"
            " `harvester rewrite`, and switch to that",
        )
    groups = json_file.decoded(keys[GROUPS], dict[str, str], where)
    if groups is None:
        raise _damaged(where)
    try:
        return Footer(coverage.decode(keys[COVERAGE]), groups)
    except (StoreError, OtherVersion) as error:
        raise type(error)(f"{where}: {error.problem}", error.advice) from None


def home_of(keys: Mapping[bytes, bytes], month: Month) -> str:
    """Return the name that a data file has by its keys and the month of its coverage."""
    # A planted key may have megabytes, and messages show the name.
    dataset, bucket = (keys[key][:100].decode(errors="replace") for key in (DATASET, BUCKET))
    return f"{dataset}/ref_month={month_text(month)}/part-{bucket}.parquet"


def length_from_footer(end: bytes) -> int:
    """Return the length of a file from its footer on, by its last eight bytes.

    Raises ArrowInvalid for a footer longer than any of harvester's, before it is read.
    """
    # A Parquet file ends with the footer's length and four letters.
    length = 8 + int.from_bytes(end[-8:-4], "little")
    if length > MAX_BYTES:
        raise pa.ArrowInvalid("a footer of an impossible length")
    return length


def refuse_long_footer(source: pa.NativeFile) -> None:
    """Raise ArrowInvalid as `length_from_footer`; leave the file at its begin."""
    source.seek(max(0, source.size() - 8))
    length_from_footer(source.read(8))
    source.seek(0)


def is_older(keys: dict[bytes, bytes]) -> bool:
    """Return whether a file was written with an earlier schema version."""
    return _schema_version(keys) < SCHEMA_VERSION


def _schema_version(keys: dict[bytes, bytes]) -> int:
    """Return the schema version, 0 if it is absent or not a number."""
    text = keys.get(SCHEMA_KEY, b"")
    # The length is limited, because int() takes quadratic time.
    return int(text) if text.isdigit() and len(text) <= _MAX_VERSION_DIGITS else 0


def digest(file: BinaryIO | pa.NativeFile, length: int) -> bytes:
    """Return ``sha256:<hex>:<length>`` of the next ``length`` bytes of a file."""
    sha = hashlib.sha256()
    left = length
    while left and (piece := file.read(min(left, _HASH_BYTES))):
        sha.update(piece)
        left -= len(piece)
    return f"sha256:{sha.hexdigest()}:{length}".encode()


def seal(path: Path, start: int) -> bytes:
    """Write the seal of a file whose data pages end at byte ``start``; return it.

    Parquet has checksums for pages, and none for the indexes, statistics and keys behind them.
    """
    with os.fdopen(regular_files.open_regular(path, os.O_RDWR), "r+b") as file:
        file.seek(start)
        end = file.read()
        written = _seal_of(end)
        file.seek(start + end.index(_EMPTY_SEAL))
        file.write(written)
    return written


def is_sealed(end: bytes, stated: bytes) -> bool:
    """Return whether the bytes behind the data pages are those that were sealed."""
    return _seal_of(end.replace(stated, _EMPTY_SEAL)) == stated


def _seal_of(end: bytes) -> bytes:
    return b"sha256:" + hashlib.sha256(end).hexdigest().encode()


def parquet_errors_as_store_errors(where: str) -> AbstractContextManager[None]:
    """Turn errors of Arrow and of the system into a StoreError that names the file."""
    return arrow_files.damage_as(lambda: _damaged(where), Path(where), pa.ArrowException)


def _damaged(where: str) -> DamagedOutput:
    return DamagedOutput(
        f"{where}: damaged: not a complete Parquet file",
        "restore it, or move it away to have its days asked again",
    )

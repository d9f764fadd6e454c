"""Checks one data file against itself: columns, keys and rows, and optionally all its bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from harvester.core.errors import OtherVersion, StoreError
from harvester.storage import arrow_files
from harvester.storage.backends import atomic_files
from harvester.storage.footer import (
    DIGEST,
    SEAL,
    decode_footer,
    digest,
    home_of,
    is_sealed,
    refuse_long_footer,
)
from harvester.tables import integrity
from harvester.tables.columns import arrow_schema
from harvester.tables.coverage import Coverage
from harvester.tables.equal_rows import account_digests
from harvester.tables.integrity import FileIdentity, RowCheck

_MAX_DIGITS = 19
_UNREADABLE = (OSError, pa.ArrowException, ValueError)


@dataclass(slots=True)
class FileCheck:
    """Result of checking a file.

    ``coverage`` is None if it cannot be read. ``remedy`` is advice for a file of another version,
    and is empty otherwise. ``digests`` are those of each row group, if its data was read.
    """

    rows: int = 0
    defects: list[str] = field(default_factory=list)
    coverage: Coverage | None = None
    remedy: str = ""
    digests: list[pa.Table] = field(default_factory=list)


class _OpenFile(NamedTuple):
    """A file that is being checked, and its name in the output."""

    name: str
    file: pq.ParquetFile
    source: pa.NativeFile
    keys: dict[bytes, bytes]
    identity: FileIdentity
    coverage: Coverage
    read_data: bool
    digests: list[pa.Table]


def check_file(path: Path, name: str, place: FileIdentity, *, read_data: bool) -> FileCheck:
    """Check a data file of this name and place; ``read_data`` adds every page and the digest.

    The file is opened once, so one that is replaced meanwhile is checked as it was. Raises
    StoreError if the system refuses to read it.
    """
    with atomic_files.os_errors_as_store_errors(path):
        source = arrow_files.open_file(path)
    with source:
        try:
            refuse_long_footer(source)
            # Checksums report a changed page before it is decoded.
            file = pq.ParquetFile(source, pre_buffer=False, page_checksum_verification=True)
            keys = file.metadata.metadata or {}
            coverage = decode_footer("", keys).coverage
        except (StoreError, OtherVersion) as error:
            remedy = error.advice if isinstance(error, OtherVersion) else ""
            return FileCheck(defects=[error.problem.removeprefix(": ")], remedy=remedy)
        except _UNREADABLE:
            return FileCheck(defects=["no whole Parquet file"])
        opened = _OpenFile(name, file, source, keys, place, coverage, read_data, [])
        defects = list(_defects(opened))
        return FileCheck(file.metadata.num_rows, defects, coverage, digests=opened.digests)


def _defects(opened: _OpenFile) -> Iterator[str]:
    length = _data_length(opened)
    home = home_of(opened.keys, opened.coverage.month)
    if home != opened.name:
        yield f"its footer says that it belongs to {home}"
    if not _has_its_seal(opened, length):
        yield "its end is not as it was written"
    yield from integrity.coverage_defects(opened.coverage, opened.identity)
    if not opened.file.schema_arrow.equals(arrow_schema(opened.identity.dataset)):
        # Its rows cannot be checked without the key columns.
        yield "its columns are not the dataset's"
        return
    yield from _row_defects(opened)
    if opened.read_data and not _has_its_digest(opened, length):
        yield "its pages are not as they were written"


def _row_defects(opened: _OpenFile) -> Iterator[str]:
    """Check the keys of all rows, or all their columns, a row group at a time."""
    columns = integrity.key_columns(opened.identity.dataset)
    wanted = None if opened.read_data else columns
    rows = RowCheck(opened.identity, opened.coverage)
    for number in range(opened.file.num_row_groups):
        try:
            table = opened.file.read_row_group(number, columns=wanted, use_threads=False)
            table.validate(full=True)
            rows.add_rows(table.select(columns))
            if opened.read_data:
                opened.digests.append(account_digests(table))
        except _UNREADABLE:
            # Without a row group, order and number of the rest prove nothing.
            yield "pages that cannot be read"
            return
    if rows.count != opened.file.metadata.num_rows:
        yield "another number of rows than it says"
    yield from rows.defects()


def _data_length(opened: _OpenFile) -> int:
    """Return the length of the data pages as the digest states it, at most that of the file."""
    size: int = opened.source.size()
    text = opened.keys[DIGEST].rpartition(b":")[2]
    # int() refuses very many digits. Nothing else of an impossible length fits either.
    return min(size, int(text)) if text.isdigit() and len(text) <= _MAX_DIGITS else size


def _has_its_digest(opened: _OpenFile, length: int) -> bool:
    """Compare the bytes of all pages with their digest."""
    opened.source.seek(0)
    return opened.keys[DIGEST] == digest(opened.source, length)


def _has_its_seal(opened: _OpenFile, length: int) -> bool:
    """Compare the bytes behind the pages with their seal."""
    opened.source.seek(length)
    return is_sealed(opened.source.read(), opened.keys[SEAL])

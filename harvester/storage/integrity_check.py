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
    identity: FileIdentity
    coverage: Coverage
    read_data: bool


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
            coverage = decode_footer("", file.metadata.metadata or {}).coverage
        except (StoreError, OtherVersion) as error:
            remedy = error.advice if isinstance(error, OtherVersion) else ""
            return FileCheck(defects=[error.problem.removeprefix(": ")], remedy=remedy)
        except _UNREADABLE:
            return FileCheck(defects=["no whole Parquet file"])
        opened = _OpenFile(name, file, source, place, coverage, read_data)
        found = FileCheck(file.metadata.num_rows, coverage=coverage)
        found.defects += _defects(opened, found.digests)
        return found


def _defects(opened: _OpenFile, digests: list[pa.Table]) -> Iterator[str]:
    """Yield the defects, and add the digests of the row groups to ``digests``."""
    keys, source = opened.file.metadata.metadata, opened.source
    length = _data_length(keys[DIGEST], source.size())
    home = home_of(keys, opened.coverage.month)
    if home != opened.name:
        yield f"its footer says that it belongs to {home}"
    source.seek(length)
    if not is_sealed(source.read(), keys[SEAL]):
        yield "its end is not as it was written"
    yield from integrity.coverage_defects(opened.coverage, opened.identity)
    if not opened.file.schema_arrow.equals(arrow_schema(opened.identity.dataset)):
        # Its rows cannot be checked without the key columns.
        yield "its columns are not the dataset's"
        return
    yield from _row_defects(opened, digests)
    source.seek(0)
    if opened.read_data and digest(source, length) != keys[DIGEST]:
        yield "its pages are not as they were written"


def _row_defects(opened: _OpenFile, digests: list[pa.Table]) -> Iterator[str]:
    """Check the keys of all rows, or all their columns, a row group at a time."""
    columns = ["appid", *opened.identity.dataset.key]
    wanted = None if opened.read_data else columns
    rows = RowCheck(opened.identity, opened.coverage)
    for number in range(opened.file.num_row_groups):
        try:
            table = opened.file.read_row_group(number, columns=wanted, use_threads=False)
            table.validate(full=True)
            rows.add_rows(table.select(columns))
            if opened.read_data:
                digests.append(account_digests(table))
        except _UNREADABLE:
            # Without a row group, order and number of the rest prove nothing.
            yield "pages that cannot be read"
            return
    if rows.count != opened.file.metadata.num_rows:
        yield "another number of rows than it says"
    yield from rows.defects()


def _data_length(stated: bytes, size: int) -> int:
    """Return the length of the data pages as the digest states it, at most that of the file."""
    text = stated.rpartition(b":")[2]
    # int() refuses very many digits. Nothing else of an impossible length fits either.
    return min(size, int(text)) if text.isdigit() and len(text) <= _MAX_DIGITS else size

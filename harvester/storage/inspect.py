"""One data file against itself: its form, its keys, its rows, and on demand every byte of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from harvester.core.errors import OtherVersion, StoreError
from harvester.storage import footer_digest, partitions
from harvester.storage.backends import atomic_files
from harvester.storage.partitions import DATASET, DIGEST, GROUPS
from harvester.tables import integrity
from harvester.tables.columns import arrow_schema
from harvester.tables.coverage import Coverage
from harvester.tables.integrity import Defect, FileIdentity, RowCheck

_UNREADABLE = (OSError, pa.ArrowException, ValueError)


@dataclass(slots=True)
class FileCheck:
    """What a look at a file came to.

    ``coverage`` is None if the file cannot tell what it knows. ``remedy`` tells what to do if that
    is because it is of another version, and is empty otherwise.
    """

    rows: int = 0
    defects: list[Defect] = field(default_factory=list)
    coverage: Coverage | None = None
    remedy: str = ""


class _Inspection(NamedTuple):
    """A file that is being looked at."""

    file: pq.ParquetFile
    source: pa.NativeFile
    keys: dict[bytes, bytes]
    place: FileIdentity
    coverage: Coverage
    read_data: bool


def check_file(path: Path, place: FileIdentity, *, read_data: bool) -> FileCheck:
    """Check a data file; with ``read_data`` every page of it and the digest.

    It is opened once, so a file that is replaced meanwhile is seen as it was. Raises StoreError if
    the system will not give it to us.
    """
    with atomic_files.os_errors_as_store_errors(path):
        source = pa.OSFile(str(path))
    with source:
        try:
            # A page whose bytes changed is told by its checksum before anybody decodes it.
            file = pq.ParquetFile(source, pre_buffer=False, page_checksum_verification=True)
            keys = file.metadata.metadata or {}
            coverage = partitions.footer_of("", keys).coverage
        except (StoreError, OtherVersion) as error:
            remedy = error.advice if isinstance(error, OtherVersion) else ""
            return FileCheck(defects=[Defect(error.problem.removeprefix(": "), {})], remedy=remedy)
        except _UNREADABLE:
            return FileCheck(defects=[Defect("no whole Parquet file", {})])
        look = _Inspection(file, source, keys, place, coverage, read_data)
        return FileCheck(file.metadata.num_rows, list(_flaws(look)), coverage)


def _flaws(look: _Inspection) -> Iterator[Defect]:
    everyone = integrity.all_days(look.coverage)
    length = _data_length(look)
    if look.keys.get(DATASET) != look.place.dataset.name.encode():
        yield Defect("a file of another dataset", everyone)
    if length is None or GROUPS not in look.keys:
        yield Defect("keys are missing or make no sense", everyone)
    elif not _is_sealed(look, length):
        yield Defect("its end is not as it was written", everyone)
    yield from integrity.coverage_flaws(look.coverage, look.place)
    if not look.file.schema_arrow.equals(arrow_schema(look.place.dataset)):
        yield Defect("its columns are not the dataset's", everyone)
        return
    unreadable = []
    for flaw in _row_flaws(look):
        unreadable.append(flaw)
        yield flaw
    if look.read_data and length is not None and not _has_its_digest(look, length):
        yield Defect(
            "its pages are not as they were written", integrity.merged(unreadable) or everyone
        )


def _row_flaws(look: _Inspection) -> Iterator[Defect]:
    """Read the keys of all rows, or all there is, a row group at a time."""
    columns = integrity.key_columns(look.place.dataset)
    wanted = None if look.read_data else columns
    rows, whole = RowCheck(look.place, look.coverage), True
    for number in range(look.file.num_row_groups):
        try:
            table = look.file.read_row_group(number, columns=wanted, use_threads=False)
            table.validate(full=True)
            rows.add_rows(table.select(columns))
        except _UNREADABLE:
            whole = False
            yield Defect("pages that cannot be read", _whose(look, number))
    if whole:
        if rows.count != look.file.metadata.num_rows:
            yield Defect("another number of rows than it says", integrity.all_days(look.coverage))
        yield from rows.flaws()


def _whose(look: _Inspection, number: int) -> dict[str, int]:
    """The accounts of a row group, by its statistics; all if those cannot be had."""
    try:
        statistics = look.file.metadata.row_group(number).column(0).statistics
        where = integrity.between(look.coverage, statistics.min, statistics.max)
    except (AttributeError, TypeError, *_UNREADABLE):
        where = {}
    return where or integrity.all_days(look.coverage)


def _data_length(look: _Inspection) -> int | None:
    """How long the data pages are, by the digest's own word; None if that makes no sense."""
    kind, _, rest = look.keys.get(DIGEST, b"").partition(b":")
    length = rest.partition(b":")[2]
    if kind == b"sha256" and length.isdigit() and int(length) <= look.source.size():
        return int(length)
    return None


def _has_its_digest(look: _Inspection, length: int) -> bool:
    """Compare the bytes of all pages with what was written down when they were."""
    look.source.seek(0)
    return look.keys[DIGEST] == partitions.digest(look.source, length)


def _is_sealed(look: _Inspection, length: int) -> bool:
    """Compare all behind the pages with its seal. Files of the first days have none."""
    stated = look.keys.get(footer_digest.SEAL)
    look.source.seek(length)
    return stated is None or footer_digest.is_intact(look.source.read(), stated)

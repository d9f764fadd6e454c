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
from harvester.tables.integrity import Flaw, Place, Rows

_UNREADABLE = (OSError, pa.ArrowException, ValueError)


@dataclass(slots=True)
class Finding:
    """What a look at a file came to.

    ``coverage`` is None if the file cannot tell what it knows. ``remedy`` tells what to do if that
    is because it is of another version, and is empty otherwise.
    """

    rows: int = 0
    flaws: list[Flaw] = field(default_factory=list)
    coverage: Coverage | None = None
    remedy: str = ""


class _Look(NamedTuple):
    """A file that is being looked at."""

    file: pq.ParquetFile
    source: pa.NativeFile
    keys: dict[bytes, bytes]
    place: Place
    coverage: Coverage
    read_data: bool


def inspect(path: Path, place: Place, *, read_data: bool) -> Finding:
    """Check a data file; with ``read_data`` every page of it and the digest.

    It is opened once, so a file that is replaced meanwhile is seen as it was. Raises StoreError if
    the system will not give it to us.
    """
    with atomic_files.guarded(path):
        source = pa.OSFile(str(path))
    with source:
        try:
            # A page whose bytes changed is told by its checksum before anybody decodes it.
            file = pq.ParquetFile(source, pre_buffer=False, page_checksum_verification=True)
            keys = file.metadata.metadata or {}
            coverage = partitions.footer_of("", keys).coverage
        except (StoreError, OtherVersion) as error:
            remedy = error.advice if isinstance(error, OtherVersion) else ""
            return Finding(flaws=[Flaw(error.problem.removeprefix(": "), {})], remedy=remedy)
        except _UNREADABLE:
            return Finding(flaws=[Flaw("no whole Parquet file", {})])
        look = _Look(file, source, keys, place, coverage, read_data)
        return Finding(file.metadata.num_rows, list(_flaws(look)), coverage)


def _flaws(look: _Look) -> Iterator[Flaw]:
    everyone = integrity.everyone(look.coverage)
    length = _data_length(look)
    if look.keys.get(DATASET) != look.place.dataset.name.encode():
        yield Flaw("a file of another dataset", everyone)
    if length is None or GROUPS not in look.keys:
        yield Flaw("keys are missing or make no sense", everyone)
    elif not _is_sealed(look, length):
        yield Flaw("its end is not as it was written", everyone)
    yield from integrity.coverage_flaws(look.coverage, look.place)
    if not look.file.schema_arrow.equals(arrow_schema(look.place.dataset)):
        yield Flaw("its columns are not the dataset's", everyone)
        return
    unreadable = []
    for flaw in _row_flaws(look):
        unreadable.append(flaw)
        yield flaw
    if look.read_data and length is not None and not _has_its_digest(look, length):
        yield Flaw(
            "its pages are not as they were written", integrity.merged(unreadable) or everyone
        )


def _row_flaws(look: _Look) -> Iterator[Flaw]:
    """Read the keys of all rows, or all there is, a row group at a time."""
    columns = integrity.key_columns(look.place.dataset)
    wanted = None if look.read_data else columns
    rows, whole = Rows(look.place, look.coverage), True
    for number in range(look.file.num_row_groups):
        try:
            table = look.file.read_row_group(number, columns=wanted, use_threads=False)
            table.validate(full=True)
            rows.see(table.select(columns))
        except _UNREADABLE:
            whole = False
            yield Flaw("pages that cannot be read", _whose(look, number))
    if whole:
        if rows.count != look.file.metadata.num_rows:
            yield Flaw("another number of rows than it says", integrity.everyone(look.coverage))
        yield from rows.flaws()


def _whose(look: _Look, number: int) -> dict[str, int]:
    """The accounts of a row group, by its statistics; all if those cannot be had."""
    try:
        statistics = look.file.metadata.row_group(number).column(0).statistics
        where = integrity.between(look.coverage, statistics.min, statistics.max)
    except (AttributeError, TypeError, *_UNREADABLE):
        where = {}
    return where or integrity.everyone(look.coverage)


def _data_length(look: _Look) -> int | None:
    """How long the data pages are, by the digest's own word; None if that makes no sense."""
    kind, _, rest = look.keys.get(DIGEST, b"").partition(b":")
    length = rest.partition(b":")[2]
    if kind == b"sha256" and length.isdigit() and int(length) <= look.source.size():
        return int(length)
    return None


def _has_its_digest(look: _Look, length: int) -> bool:
    """Compare the bytes of all pages with what was written down when they were."""
    look.source.seek(0)
    return look.keys[DIGEST] == partitions.digest(look.source, length)


def _is_sealed(look: _Look, length: int) -> bool:
    """Compare all behind the pages with its seal. Files of the first days have none."""
    stated = look.keys.get(footer_digest.SEAL)
    look.source.seek(length)
    return stated is None or footer_digest.holds(look.source.read(), stated)

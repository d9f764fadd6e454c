"""Data files: rows, and in the footer what is known of their month.

Rows and coverage become visible in one rename, so neither is ever newer than the other. A file is
read back before it gets its name.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from harvester.core.calendar import month_text
from harvester.core.dataset import Column, Dataset, Kind
from harvester.core.errors import OtherVersion, StoreError
from harvester.storage import footer_digest
from harvester.storage.backends import atomic_files
from harvester.storage.backends.base import FileInfo, Store, Tail, Version
from harvester.tables import coverage
from harvester.tables.columns import SCHEMA_VERSION, arrow_schema
from harvester.tables.coverage import Coverage

COVERAGE = b"harvester.coverage"
DATASET = b"harvester.dataset"
SCHEMA = b"harvester.schema_version"
DIGEST = b"harvester.rows_digest"
"""``sha256:<hex>:<length>``: of the first so many bytes, which are all the data pages."""
GROUPS = b"harvester.groups"
"""JSON: the raw groups whose answers are in, and which may still exist; id to path."""

_LONGEST_VERSION = 10
_HASH_BYTES = 1 << 20
_TAIL_BYTES = 256 << 10
"""As much of a file's end as holds the footer of a month of 10,000 accounts."""


class Footer(NamedTuple):
    """What a file says of itself: its coverage, and the raw groups that are in, id to path."""

    coverage: Coverage
    groups: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class DataFile:
    """A data file as it stands: read at ``path``, ``where`` people know it.

    ``older`` says that its columns are those of an earlier schema version.
    """

    path: Path
    display_path: str
    version: Version
    rows: int
    footer: Footer
    is_older: bool = False

    def own_schema(self) -> pa.Schema:
        """The columns that are in it. Raises StoreError."""
        with _reading(self.display_path):
            return pq.read_schema(self.path)

    def batches(self, schema: pa.Schema, rows: int | None = None) -> Iterator[pa.RecordBatch]:
        """The rows, a row group at a time, or so many at most. Raises StoreError."""
        with _reading(self.display_path), pq.ParquetFile(self.path, pre_buffer=False) as file:
            if not file.schema_arrow.equals(schema):
                raise StoreError(
                    f"{self.display_path}: its columns are not those of schema {SCHEMA_VERSION}",
                    "use the harvester that wrote it, or move it away",
                )
            if rows is not None:
                yield from file.iter_batches(rows, use_threads=False)
                return
            for table in _prefetch(file):
                yield from table.to_batches()


def _prefetch(file: pq.ParquetFile) -> Iterator[pa.Table]:
    """Each row group, while the next one is being read already: a merge needs its time too."""
    with ThreadPoolExecutor(1) as reader:
        coming: Future[pa.Table] | None = None
        for place in range(file.num_row_groups):
            ready, coming = coming, reader.submit(file.read_row_group, place, use_threads=False)
            if ready is not None:
                yield ready.result()
        if coming is not None:
            yield coming.result()


def release_memory() -> None:
    """Return memory that nothing uses any more to the system."""
    pa.default_memory_pool().release_unused()


@contextmanager
def opened(
    store: Store, name: str, temp: Path, *, older: bool = False
) -> Iterator[DataFile | None]:
    """A data file to read in the block, None if there is none; ``temp`` is where it may lie.

    With ``older`` it may be of an older schema version. Raises StoreError and OtherVersion.
    """
    with store.local_copy(name, temp) as copy:
        stored = None
        if copy is not None:
            where = store.display_path(name)
            with _reading(where):
                metadata = pq.read_metadata(copy.path)
            keys = metadata.metadata or {}
            footer = footer_of(where, keys, older=older)
            _refuse_misplaced(store, name, keys, footer)
            is_older = _version(keys) < SCHEMA_VERSION
            stored = DataFile(copy.path, where, copy.version, metadata.num_rows, footer, is_older)
        yield stored


def footers(store: Store, found: Iterable[FileInfo]) -> Iterator[Footer | None]:
    """What each data file says of itself, in the order given; None for one that is gone.

    Raises StoreError and OtherVersion if that cannot be read: it is never taken for nothing.
    """
    for tail in store.tails(found, _TAIL_BYTES):
        yield None if tail is None else _footer_in(store, tail)


def refuse_newer(store: Store, found: Iterable[FileInfo]) -> None:
    """Raise OtherVersion for a file of a newer version. Damage is told where it is in the way."""
    for tail in store.tails(found, _TAIL_BYTES):
        with suppress(StoreError):
            if tail is not None:
                _footer_in(store, tail, older=True)


def _footer_in(store: Store, tail: Tail, *, older: bool = False) -> Footer | None:
    """Read a footer from the end of its file, and more of the file if it is longer than that."""
    where = store.display_path(tail.file.name)
    # The length of a footer stands before the four letters that end a file. Once more only if the
    # file was replaced in between.
    while len(tail.data) < (length := 8 + int.from_bytes(tail.data[-8:-4], "little")):
        if length > tail.file.size:
            break
        (longer,) = store.tails([tail.file], length)
        if longer is None:
            return None
        tail = longer
    with _reading(where):
        keys = pq.read_metadata(pa.BufferReader(tail.data)).metadata or {}
    footer = footer_of(where, keys, older=older)
    _refuse_misplaced(store, tail.file.name, keys, footer)
    return footer


def _refuse_misplaced(store: Store, name: str, keys: dict[bytes, bytes], footer: Footer) -> None:
    """Raise StoreError for a file that was copied here: its days would be taken for others."""
    month = f"ref_month={month_text(footer.coverage.month)}"
    home = f"{keys.get(DATASET, b'').decode(errors='replace')}/{month}"
    if not name.startswith(f"{home}/"):
        raise StoreError(
            f"{store.display_path(name)}: by its own word a file of {home}",
            "move it away, or let `harvester verify --repair` do so; its days are then asked again",
        )


class NewFile(NamedTuple):
    """A data file to be written: where it is made, its name, its dataset, and what it replaces."""

    store: Store
    temp: Path
    name: str
    dataset: Dataset
    replaces: Version | None = None


def write(draft: NewFile, tables: Iterable[pa.Table], footer: Callable[[], Footer]) -> int:
    """Write a data file in the place of the old one, durably and whole; returns its rows.

    Each table becomes a row group. ``footer`` is called when all of them were taken. Raises
    StoreError, and LostRace if another run was faster; then what stood there stands as it was.
    """
    try:
        written = _write_temp(draft, tables, footer)
        with _reading(str(draft.temp)):
            _validate(draft, written)
        draft.store.put_if_version(draft.temp, draft.name, draft.replaces)
    finally:
        atomic_files.unlink_quietly(draft.temp)
    return written.rows


class _Expected(NamedTuple):
    """What a file must turn out to hold. ``bounds`` has a row group's first and last appid."""

    rows: int
    bounds: list[tuple[str, str]]
    footer: Footer
    keys: dict[bytes, bytes]


def _write_temp(
    draft: NewFile, tables: Iterable[pa.Table], footer: Callable[[], Footer]
) -> _Expected:
    with atomic_files.os_errors_as_store_errors(draft.temp):
        atomic_files.make_folder(draft.temp.parent)
        sink = pa.OSFile(str(draft.temp), "wb")
    with sink, _open_writer(sink, draft) as writer:
        bounds = []
        rows = 0
        for table in tables:
            with atomic_files.os_errors_as_store_errors(draft.temp):
                writer.write_table(table, row_group_size=len(table))
            bounds.append(_ends_of(table))
            rows += len(table)
            # Or two row groups would be held while the next one is gathered.
            del table
        final = footer()
        with atomic_files.os_errors_as_store_errors(draft.temp):
            sink.flush()
            length = sink.tell()
            keys = _keys(draft, final, length)
            writer.add_key_value_metadata(keys)
            writer.close()
    with atomic_files.os_errors_as_store_errors(draft.temp):
        keys[footer_digest.SEAL] = footer_digest.append(draft.temp, length)
    return _Expected(rows, bounds, final, keys)


def _ends_of(table: pa.Table) -> tuple[str, str]:
    """The first and the last account."""
    appids = table.column("appid")
    return appids[0].as_py(), appids[-1].as_py()


@contextmanager
def _open_writer(sink: pa.NativeFile, draft: NewFile) -> Iterator[pq.ParquetWriter]:
    with atomic_files.os_errors_as_store_errors(draft.temp):
        writer = _writer(sink, draft.dataset)
    try:
        yield writer
    except BaseException:
        # It closes itself sooner or later, and then tells stderr that its file is gone. What it
        # writes now is a whole file with half the rows; it never gets another name.
        with suppress(OSError, pa.ArrowException):
            writer.close()
        raise


def _writer(sink: pa.NativeFile, dataset: Dataset) -> pq.ParquetWriter:
    schema = arrow_schema(dataset)
    leaves = dict(_leaf_columns(dataset.columns))
    counters = [
        path for path, kind in leaves.items() if kind is Kind.COUNT and path not in dataset.key
    ]
    order = [("appid", "ascending"), *((name, "ascending") for name in dataset.key)]
    return pq.ParquetWriter(
        sink,
        schema,
        compression="zstd",
        compression_level=3,
        use_dictionary=[path for path in (*schema.names, *leaves) if path not in counters],
        column_encoding=dict.fromkeys(counters, "DELTA_BINARY_PACKED"),
        write_page_index=True,
        write_page_checksum=True,
        sorting_columns=pq.SortingColumn.from_ordering(schema, order),
    )


def _leaf_columns(columns: Iterable[Column], prefix: str = "") -> Iterator[tuple[str, Kind]]:
    """What Parquet calls columns, those in lists included, and what they hold."""
    for column in columns:
        if column.kind is Kind.LIST:
            yield from _leaf_columns(column.fields, f"{prefix}{column.name}.list.element.")
        else:
            yield prefix + column.name, column.kind


def _keys(draft: NewFile, footer: Footer, length: int) -> dict[bytes, bytes]:
    with draft.temp.open("rb") as file:
        found = digest(file, length)
    return {
        DATASET: draft.dataset.name.encode(),
        SCHEMA: str(SCHEMA_VERSION).encode(),
        COVERAGE: coverage.encode(footer.coverage).encode(),
        GROUPS: json.dumps(dict(footer.groups)).encode(),
        DIGEST: found,
        footer_digest.SEAL: footer_digest.EMPTY,
    }


def digest(file: BinaryIO | pa.NativeFile, length: int) -> bytes:
    """Return ``sha256:<hex>:<length>`` of the next bytes of a file."""
    found = hashlib.sha256()
    left = length
    while left and (piece := file.read(min(left, _HASH_BYTES))):
        found.update(piece)
        left -= len(piece)
    return f"sha256:{found.hexdigest()}:{length}".encode()


def _validate(draft: NewFile, written: _Expected) -> None:
    """Read the file back. Raises StoreError if it is not what was to be written."""
    with pq.ParquetFile(draft.temp) as file:
        metadata, schema = file.metadata, file.schema_arrow
    keys = metadata.metadata
    sound = (
        metadata.num_rows == written.rows
        and schema.equals(arrow_schema(draft.dataset))
        and [_bounds(metadata, place) for place in range(metadata.num_row_groups)] == written.bounds
        and all(keys.get(name) == value for name, value in written.keys.items())
        and footer_of(str(draft.temp), keys) == written.footer
        and _ascending(written.bounds)
    )
    if not sound:
        raise StoreError(
            f"{draft.store.display_path(draft.name)}: the file written does not read back the same",
            "the old file still stands; see that disk and memory are well, and run again",
        )


def _bounds(metadata: Any, place: int) -> tuple[str, str]:
    statistics = metadata.row_group(place).column(0).statistics
    return statistics.min, statistics.max


def _ascending(bounds: list[tuple[str, str]]) -> bool:
    edges = [edge for pair in bounds for edge in pair]
    return edges == sorted(edges)


def footer_of(where: str, keys: dict[bytes, bytes], *, older: bool = False) -> Footer:
    """What the keys of a file say of it; with ``older`` also in an older schema version.

    Raises OtherVersion, and StoreError for damage.
    """
    version = _version(keys)
    # First of all: it is not known which keys a newer version has.
    if version > SCHEMA_VERSION:
        raise OtherVersion.newer(f"{where}: schema", version, SCHEMA_VERSION)
    if COVERAGE not in keys or not version:
        raise StoreError(
            f"{where}: not written by harvester, or stripped of what is known of its month",
            "move it away: the month is then asked again",
        )
    if version < SCHEMA_VERSION and not older:
        raise OtherVersion(
            f"{where}: older schema version {version}, and this harvester writes {SCHEMA_VERSION}",
            "let the harvester that wrote it end its last run; then make a fresh output of it with"
            " `harvester compact`, and switch to that",
        )
    try:
        return Footer(coverage.decode(keys[COVERAGE]), json.loads(keys.get(GROUPS, b"{}")))
    except (StoreError, OtherVersion) as error:
        raise type(error)(f"{where}: {error.problem}", error.advice) from None
    except ValueError:
        raise _damaged(where) from None


def _version(keys: dict[bytes, bytes]) -> int:
    """Read the schema version, 0 if there is none that makes sense."""
    text = keys.get(SCHEMA, b"")
    return int(text) if text.isdigit() and len(text) < _LONGEST_VERSION else 0


@contextmanager
def _reading(where: str) -> Iterator[None]:
    """Turn what Arrow and the system say of a file into a StoreError that names it."""
    try:
        yield
    except OSError as error:
        # Without a number it is Arrow, telling of a footer that makes no sense.
        raise (
            _damaged(where) if error.errno is None else atomic_files.store_error(Path(where), error)
        ) from error
    except pa.ArrowException as error:
        raise _damaged(where) from error


def _damaged(where: str) -> StoreError:
    return StoreError(
        f"{where}: damaged, it is no whole Parquet file",
        "restore it, or move it away to have its days asked again",
    )

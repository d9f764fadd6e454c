"""Reads data files: rows and footer of one, or the footers of many."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from harvester.core.calendar import month_text
from harvester.core.errors import DamagedOutput, StoreError
from harvester.storage import arrow_files
from harvester.storage.backends.base import FileInfo, Store, Tail, Version
from harvester.storage.footer import (
    BUCKET,
    DATASET,
    Footer,
    decode_footer,
    is_older,
    length_from_footer,
    parquet_errors_as_store_errors,
    read_end,
)

_TAIL_BYTES = 256 << 10
"""Bytes read from a file's end at first: they hold the footer of a month of 10,000 accounts."""


@dataclass(frozen=True, slots=True)
class DataFile:
    """A data file to be read at ``path``; ``display_path`` is its name in messages.

    ``is_older`` is True if its columns are those of an earlier schema version.
    """

    path: Path
    display_path: str
    version: Version
    rows: int
    footer: Footer
    is_older: bool = False

    def own_schema(self) -> pa.Schema:
        """Return the columns that are in the file. Raises StoreError."""
        with (
            parquet_errors_as_store_errors(self.display_path),
            arrow_files.open_file(self.path) as source,
        ):
            return pq.read_schema(source)

    def batches(self, schema: pa.Schema, rows: int | None = None) -> Iterator[pa.RecordBatch]:
        """Yield the rows, a row group at a time, or at most ``rows`` at a time.

        Raises StoreError, also if the columns are not those of ``schema``.
        """
        with (
            parquet_errors_as_store_errors(self.display_path),
            arrow_files.open_file(self.path) as source,
            pq.ParquetFile(source, pre_buffer=False) as file,
        ):
            if not file.schema_arrow.equals(schema):
                raise DamagedOutput(
                    f"{self.display_path}: its columns are not those of its schema version",
                    "use the harvester that wrote it, or move it away",
                )
            if rows is not None:
                yield from file.iter_batches(rows, use_threads=False)
                return
            for table in _prefetch(file):
                yield from table.to_batches()


def _prefetch(file: pq.ParquetFile) -> Iterator[pa.Table]:
    """Yield each row group while the next one is being read, because a merge takes time too."""
    with ThreadPoolExecutor(1) as reader:
        coming: Future[pa.Table] | None = None
        for number in range(file.num_row_groups):
            ready, coming = coming, reader.submit(file.read_row_group, number, use_threads=False)
            if ready is not None:
                yield ready.result()
        if coming is not None:
            yield coming.result()


@contextmanager
def opened(store: Store, name: str, *, older: bool = False) -> Iterator[DataFile | None]:
    """Open a data file for the block; None if there is none.

    ``older`` accepts an older schema version. Raises StoreError and OtherVersion.
    """
    with store.local_copy(name) as copy:
        if copy is None:
            yield None
            return
        where = store.display_path(name)
        with parquet_errors_as_store_errors(where), arrow_files.open_file(copy.path) as source:
            metadata, footer = _read_footer(store, name, source, older=older)
        rows = metadata.num_rows
        yield DataFile(copy.path, where, copy.version, rows, footer, is_older(metadata.metadata))


def footers(store: Store, found: Iterable[FileInfo]) -> Iterator[Footer | None]:
    """Yield the footer of each data file, in the order given; None for one that is gone.

    Raises StoreError and OtherVersion for a footer that cannot be read, because reading it as
    empty would ask for its days again.
    """
    return (each and each[1] for each in rows_and_footers(store, found))


def rows_and_footers(
    store: Store, found: Iterable[FileInfo]
) -> Iterator[tuple[int, Footer] | None]:
    """Yield the number of rows too. Raises as `footers`."""
    for tail in store.tails(found, _TAIL_BYTES):
        read = None if tail is None else _footer_in(store, tail)
        yield None if read is None else (read[0].num_rows, read[1])


def refuse_newer(store: Store, found: Iterable[FileInfo]) -> None:
    """Raise OtherVersion for a file of a newer version. Damaged files are passed over."""
    for tail in store.tails(found, _TAIL_BYTES):
        with suppress(StoreError):
            if tail is not None:
                _footer_in(store, tail, older=True)


def _footer_in(store: Store, tail: Tail, *, older: bool = False) -> tuple[Any, Footer] | None:
    """Read a footer from the end of its file; read more of the file if the footer is longer."""
    with parquet_errors_as_store_errors(store.display_path(tail.file.name)):
        # The loop runs more than once only if the file was replaced in between.
        while len(tail.data) < (length := length_from_footer(tail.data)):
            if length > tail.file.size:
                break
            (longer,) = store.tails([tail.file], length)
            if longer is None:
                return None
            tail = longer
    return _read_footer(store, tail.file.name, pa.BufferReader(tail.data), older=older)


def _read_footer(
    store: Store, name: str, source: pa.NativeFile, *, older: bool
) -> tuple[Any, Footer]:
    """Return a file's metadata and footer. Raises StoreError for a file of another partition."""
    where = store.display_path(name)
    with parquet_errors_as_store_errors(where):
        length_from_footer(read_end(source))
        metadata = pq.read_metadata(source)
    keys = metadata.metadata or {}
    footer = decode_footer(where, keys, older=older)
    month = f"ref_month={month_text(footer.coverage.month)}"
    dataset, bucket = (keys[key].decode(errors="replace") for key in (DATASET, BUCKET))
    home = f"{dataset}/{month}/part-{bucket}.parquet"
    # The days of a copied file would be taken for days of the month that it was copied to, and its
    # rows would be read twice.
    if name != home:
        raise DamagedOutput(
            f"{where}: its footer says that it belongs to {home}: it was copied or renamed",
            "move it away, or let `harvester verify --repair` do so; its days are then asked again",
        )
    return metadata, footer

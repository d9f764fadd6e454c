"""Reads data files: rows and footer of one, rows of a few days, or the footers of many."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from harvester.core import calendar
from harvester.core.dataset import DATE_COLUMN
from harvester.core.errors import DamagedOutput, StoreError
from harvester.core.model import Window, bucket_of
from harvester.storage import arrow_files, layout
from harvester.storage.backends.base import FileInfo, Store, Version
from harvester.storage.backends.concurrently import map_concurrently
from harvester.storage.footer import (
    Footer,
    decode_footer,
    home_of,
    is_older,
    length_from_footer,
    parquet_errors_as_store_errors,
    refuse_long_footer,
)
from harvester.storage.layout import Tree
from harvester.tables import arrow_functions as pc

_TAIL_BYTES = 256 << 10
"""Bytes read from a file's end at first: they hold the footer of a month of 10,000 accounts."""


class DataFile(NamedTuple):
    """A data file to be read at ``path``; ``display_path`` is its name in messages.

    ``is_older`` is True if its columns are those of an earlier schema version.
    """

    path: Path
    display_path: str
    version: Version
    rows: int
    footer: Footer
    is_older: bool = False

    def batches(
        self, schema: pa.Schema | None, rows: int | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Yield the rows, a row group at a time, or at most ``rows`` at a time.

        Raises StoreError, also for other columns than in ``schema``, unless that is None.
        """
        with (
            _source(self.path, self.display_path) as source,
            pq.ParquetFile(source, pre_buffer=False) as file,
        ):
            if schema is not None and not file.schema_arrow.equals(schema):
                raise DamagedOutput(
                    f"{self.display_path}: its columns are not those of its schema version",
                    "use the harvester that wrote it, or move it away",
                )
            if rows is not None:
                yield from file.iter_batches(rows, use_threads=False)
                return
            # The next one is read meanwhile, because a merge takes time too.
            read = partial(file.read_row_group, use_threads=False)
            for table in map_concurrently(read, range(file.num_row_groups), calls=1):
                yield from table.to_batches()

    def rows_of(self, window: Window) -> pa.Table:
        """Return the rows of a window. Raises StoreError."""
        day = pc.field(DATE_COLUMN)
        begin, end = map(calendar.date_of, (window.begin, window.end))
        # Also filters whole row groups by their statistics, so that a large file is not read.
        rows = (pc.field("appid") == window.appid) & (day >= begin) & (day <= end)
        with _source(self.path, self.display_path) as source:
            return pq.read_table(source, filters=rows)


@contextmanager
def _source(path: Path, where: str) -> Iterator[pa.NativeFile]:
    """Open a file for the block. Raises StoreError, also for damage found in the block."""
    with parquet_errors_as_store_errors(where), arrow_files.open_file(path) as source:
        yield source


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
        with _source(copy.path, where) as source:
            metadata, footer = _read_footer(store, name, source, older=older)
        rows = metadata.num_rows
        yield DataFile(copy.path, where, copy.version, rows, footer, is_older(metadata.metadata))


def published_rows(tree: Tree, window: Window) -> Iterator[pa.Table]:
    """Yield the published rows of a window, a table for each month that has a file.

    For the holder of the account's bucket. Raises StoreError, and UsageError for files of a newer
    version or another number of buckets.
    """
    bucket = bucket_of(window.appid, tree.buckets)
    months = {*calendar.each_month(calendar.day_range(window.begin, window.end))}
    for partition in reversed(layout.partitions(tree, window.dataset, [bucket])):
        if partition.month in months:
            with opened(tree.store, tree.name(partition), older=True) as file:
                if file is not None:
                    yield file.rows_of(window)


def footers(store: Store, found: Iterable[FileInfo]) -> Iterator[Footer]:
    """Yield the footer of each data file that is still there, in the order given.

    Raises StoreError and OtherVersion for a footer that cannot be read, because reading it as
    empty would ask for its days again.
    """
    return (each[1] for each in rows_and_footers(store, found) if each is not None)


def rows_and_footers(
    store: Store, found: Iterable[FileInfo]
) -> Iterator[tuple[int, Footer] | None]:
    """Yield the number of rows too, and None for a file that is gone. Raises as `footers`."""
    found = [*found]
    for file, end in zip(found, store.get_many(found, _TAIL_BYTES), strict=True):
        read = _footer_in(store, file, end)
        yield None if read is None else (read[0].num_rows, read[1])


def refuse_newer(tree: Tree, datasets: Iterable[str], buckets: Collection[int]) -> None:
    """Raise OtherVersion if a data file of these buckets is of a newer version.

    Reads every footer; damaged files are passed over. Called before many files are changed, so
    that either all or none are.
    """
    for dataset in datasets:
        found = layout.partitions(tree, dataset, buckets).values()
        for file, end in zip(found, tree.store.get_many(found, _TAIL_BYTES), strict=True):
            with suppress(StoreError):
                _footer_in(tree.store, file, end, older=True)


def _footer_in(
    store: Store, file: FileInfo, end: bytes | None, *, older: bool = False
) -> tuple[Any, Footer] | None:
    """Read a footer from the end of its file; read more of the file if the footer is longer."""
    with parquet_errors_as_store_errors(store.display_path(file.name)):
        wanted = _TAIL_BYTES
        # The loop runs more than once only if the file was replaced in between. A file that ends
        # before its footer begins is damaged.
        while end is not None and wanted <= len(end) < (length := length_from_footer(end)):
            wanted = length
            (end,) = store.get_many([file], wanted)
    if end is None:
        return None
    return _read_footer(store, file.name, pa.BufferReader(end), older=older)


def _read_footer(
    store: Store, name: str, source: pa.NativeFile, *, older: bool
) -> tuple[Any, Footer]:
    """Return a file's metadata and footer. Raises StoreError for a file of another partition."""
    where = store.display_path(name)
    with parquet_errors_as_store_errors(where):
        refuse_long_footer(source)
        metadata = pq.read_metadata(source)
    keys = metadata.metadata or {}
    footer = decode_footer(where, keys, older=older)
    home = home_of(keys, footer.coverage.month)
    # The days of a copied file would be taken for days of the month that it was copied to, and its
    # rows would be read twice.
    if name != home:
        raise DamagedOutput(
            f"{where}: its footer says that it belongs to {home}: it was copied or renamed",
            "move it away, or let `harvester verify --repair` do so; its days are then asked again",
        )
    return metadata, footer

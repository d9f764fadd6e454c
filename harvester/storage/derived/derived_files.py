"""Files of the tables beside the datasets: read whole, and put only where their rows differ.

A file is made in memory, a row group at a time. A damaged file, and one with other columns, counts
as none where it is to be changed: it is made again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, suppress
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from harvester.catalogue.field_ids import field_ids
from harvester.core import calendar
from harvester.core.calendar import Month
from harvester.core.errors import DamagedOutput, EarlierBuild, OtherVersion
from harvester.storage.arrow_files import damage_as
from harvester.storage.backends.base import FileInfo, Store, retry_races
from harvester.storage.footer import refuse_long_footer
from harvester.storage.layout import ACCOUNTS, CODES, COVERAGE, RUN_ROWS, Tree
from harvester.tables import derived
from harvester.tables.columns import with_field_ids

MAX_ROWS = 1 << 23
"""Most rows of a file: those of 10,000 accounts and all datasets whose every day is another."""

SCHEMAS = {
    ACCOUNTS: derived.ACCOUNTS,
    COVERAGE: derived.COVERAGE,
    CODES: derived.CODES,
    RUN_ROWS: derived.RUNS,
}
"""Columns of the tables by folder."""

CODES_NAME = f"{CODES}/codes.parquet"
"""The file of the codes."""


def accounts_name(tree: Tree, bucket: int) -> str:
    """Return the name of the accounts of a bucket."""
    return f"{ACCOUNTS}/part-{tree.bucket_label(bucket)}.parquet"


def coverage_name(tree: Tree, bucket: int, month: Month) -> str:
    """Return the name of the coverage of a bucket in a month."""
    part = f"part-{tree.bucket_label(bucket)}.parquet"
    return f"{COVERAGE}/ref_month={calendar.month_text(month)}/{part}"


def runs_name(month: str) -> str:
    """Return the name of the runs that began in a month like ``2026-05``."""
    return f"{RUN_ROWS}/{month}.parquet"


def files(tree: Tree, folder: str) -> list[FileInfo]:
    """Return the files of a table. Raises StoreError."""
    return [file for file in tree.files(folder) if file.name.endswith(".parquet")]


def read(store: Store, name: str) -> pa.Table:
    """Return the rows of a file, none if it is not there.

    Raises StoreError, also if the file is damaged.
    """
    schema, found = _schema(name), store.get(name)
    if found is None:
        return schema.empty_table()
    where = store.display_path(name)
    with _damage_told(where), _opened(found.data, schema, where) as file:
        return file.read(use_threads=False)


def read_all(tree: Tree, folder: str) -> pa.Table:
    """Return the rows of all files of a table. Raises as `read`."""
    tables = (read(tree.store, file.name) for file in files(tree, folder))
    return pa.concat_tables([SCHEMAS[folder].empty_table(), *tables])


def replace(
    tree: Tree, name: str, change: Callable[[pq.ParquetFile | None], Iterable[pa.Table]]
) -> None:
    """Put what ``change`` makes of a file, a table for each row group, if any row differs.

    Of no rows there is no file. If another process is faster, its file is changed. Raises
    StoreError, MemoryError, and LeaseLost for a run that holds the bucket no longer.
    """
    store, schema = tree.store, _schema(name)
    where = store.display_path(name)
    numbered = with_field_ids(schema, field_ids(name.partition("/")[0]))

    def made(old: bytes) -> bytes:
        # No file is as one that cannot be read, or that an earlier build wrote.
        with (
            suppress(DamagedOutput, EarlierBuild),
            _damage_told(where),
            _opened(old, schema, where) as file,
        ):
            return _encoded(numbered, change(file))
        return _encoded(numbered, change(None))

    def attempt(_: int) -> None:
        old = store.get(name)
        there = b"" if old is None else old.data
        data = made(there)
        # The same rows are the same bytes.
        if data == there:
            return
        tree.hold.check()
        if data:
            store.put(name, data, None if old is None else old.version)
        else:
            store.delete(name)

    retry_races(attempt)


def pieces(file: pq.ParquetFile | None) -> Iterator[pa.Table]:
    """Yield the row groups of a file that is to be changed."""
    if file is not None:
        for number in range(file.num_row_groups):
            yield file.read_row_group(number, use_threads=False)


def months(tree: Tree, bucket: int) -> dict[Month, str]:
    """Return the versions of the files of the table `coverage`. Raises StoreError."""
    found, part = dict[Month, str](), f"part-{tree.bucket_label(bucket)}.parquet"
    for file in files(tree, COVERAGE):
        month = file.name.removeprefix(f"{COVERAGE}/ref_month=").removesuffix(f"/{part}")
        # Files of other buckets, and files that are not harvester's, are left out.
        with suppress(ValueError):
            found[calendar.parse_month(month)] = file.version
    return found


def rows_of(file: pq.ParquetFile | None, schema: pa.Schema) -> pa.Table:
    """Return the rows of a file that is to be changed."""
    return pa.concat_tables([schema.empty_table(), *pieces(file)])


def _schema(name: str) -> pa.Schema:
    return SCHEMAS[name.partition("/")[0]]


def _damage_told(where: str) -> AbstractContextManager[None]:
    """Raise DamagedOutput for what a file that is opened in the block cannot give."""
    problem = f"{where}: not a file of this table"
    damage = partial(DamagedOutput, problem, "the next run makes it again")
    return damage_as(damage, Path(where), pa.ArrowException, ValueError)


def _opened(data: bytes, schema: pa.Schema, where: str) -> pq.ParquetFile:
    """Open a file of a table. Raises OtherVersion; damage is for `_damage_told`, and later too."""
    source = pa.BufferReader(data)
    refuse_long_footer(source)
    file = pq.ParquetFile(source)
    version = int((file.metadata.metadata or {}).get(derived.VERSION_KEY, 0))
    if version > derived.VERSION:
        raise OtherVersion.newer(f"{where}: table", version, derived.VERSION)
    if 0 < version < derived.VERSION:
        raise EarlierBuild.of(f"{where}: table", version)
    if file.metadata.num_rows > MAX_ROWS or not file.schema_arrow.equals(schema):
        raise ValueError("not a file of this table")
    return file


def _encoded(schema: pa.Schema, pieces: Iterable[pa.Table]) -> bytes:
    """Return a file of these row groups, empty without rows."""
    sink, is_empty = pa.BufferOutputStream(), True
    # Most times of answers differ, and a few seconds from the one before.
    packed = {x.name: "DELTA_BINARY_PACKED" for x in schema if pa.types.is_timestamp(x.type)}
    others = [name for name in schema.names if name not in packed]
    options = {"compression": "zstd", "use_dictionary": others, "column_encoding": packed}
    with pq.ParquetWriter(sink, schema, **options) as writer:
        for piece in filter(len, pieces):
            writer.write_table(piece, row_group_size=len(piece))
            is_empty = False
    data: bytes = b"" if is_empty else sink.getvalue().to_pybytes()
    return data

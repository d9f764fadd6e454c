"""Writes data files: rows, and in the footer the coverage of their month.

One rename makes rows and coverage visible, so neither is ever newer than the other. A file is read
back before it gets its name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from harvester.catalogue.field_ids import field_ids
from harvester.core.dataset import Column, Dataset, Kind
from harvester.core.errors import StoreError
from harvester.storage import arrow_files, footer
from harvester.storage.backends import atomic_files, flock, regular_files
from harvester.storage.backends.base import Store, Version, temp_path
from harvester.storage.footer import Footer
from harvester.storage.layout import label_of
from harvester.tables.columns import arrow_schema, described_schema, with_field_ids
from harvester.tables.coverage import Coverage


@dataclass(frozen=True)
class NewFile:
    """A data file to be written and named ``name``; ``replaces`` is the old version."""

    store: Store
    name: str
    dataset: Dataset
    replaces: Version | None = None

    @cached_property
    def temp(self) -> Path:
        """The path at which it is written."""
        return temp_path(self.store, self.name)


class _Expected(NamedTuple):
    """Contents that a file must have. ``bounds`` has each row group's first and last appid."""

    rows: int
    bounds: list[tuple[str, str]]
    footer: Footer
    keys: dict[bytes, bytes]


class Written(NamedTuple):
    """The rows of a file that was written, its version, and its coverage."""

    rows: int
    version: Version
    coverage: Coverage


def write(new: NewFile, tables: Iterable[pa.Table], final_footer: Callable[[], Footer]) -> Written:
    """Write a data file in the place of the old one, durably.

    Each table becomes a row group. ``final_footer`` is called after the last table. Raises
    StoreError, and LostRace if another run replaced the file; then the file that stood there is
    unchanged.
    """
    # Marked until it has its name, because any run removes what no process is writing.
    with flock.in_progress(new.temp), atomic_files.os_errors_as_store_errors(new.temp):
        try:
            expected = _write_temp(new, tables, final_footer)
            with footer.parquet_errors_as_store_errors(str(new.temp)):
                _validate(new, expected)
            # If it is lost to this put itself, whose answer got lost, the next merge finds it.
            version = new.store.put(new.name, new.temp, new.replaces)
        finally:
            atomic_files.unlink_quietly(new.temp)
    # Arrow would keep it for the next file, and the system may need it until then.
    pa.default_memory_pool().release_unused()
    return Written(expected.rows, version, expected.footer.coverage)


def _write_temp(
    new: NewFile, tables: Iterable[pa.Table], final_footer: Callable[[], Footer]
) -> _Expected:
    bounds = []
    rows = 0
    with pa.OSFile(str(new.temp), "wb") as sink, _parquet_writer(sink, new.dataset) as writer:
        for table in tables:
            writer.write_table(table, row_group_size=len(table))
            appids = table.column("appid")
            bounds.append((appids[0].as_py(), appids[-1].as_py()))
            rows += len(table)
            # Otherwise two row groups are in memory while the next one is gathered.
            del table, appids
        final = final_footer()
        # All data pages are on disk now, and nothing else is.
        sink.flush()
        length = sink.tell()
        with regular_files.reader(new.temp) as pages:
            digest = footer.digest(pages, length)
        keys = footer.encode_footer(new.dataset, label_of(new.name), final, digest)
        writer.add_key_value_metadata(keys)
        writer.close()
    keys[footer.SEAL] = footer.seal(new.temp, length)
    return _Expected(rows, bounds, final, keys)


def _parquet_writer(sink: pa.NativeFile, dataset: Dataset) -> pq.ParquetWriter:
    schema = with_field_ids(described_schema(dataset), field_ids(dataset.name))
    leaves = dict(_leaf_columns(dataset.columns))
    counters = [
        path for path, kind in leaves.items() if kind is Kind.COUNT and path not in dataset.key
    ]
    order = [(name, "ascending") for name in ("appid", *dataset.key)]
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
    """Yield path and kind of each Parquet column, those inside of lists included."""
    for column in columns:
        if column.kind is Kind.LIST:
            yield from _leaf_columns(column.fields, f"{prefix}{column.name}.list.element.")
        else:
            yield prefix + column.name, column.kind


def _validate(new: NewFile, expected: _Expected) -> None:
    """Read the file back. Raises StoreError if it does not hold what was written."""
    with arrow_files.open_file(new.temp) as source, pq.ParquetFile(source) as file:
        metadata, schema = file.metadata, file.schema_arrow
    keys = metadata.metadata
    groups = map(metadata.row_group, range(metadata.num_row_groups))
    appids = [group.column(0).statistics for group in groups]
    edges = list(chain.from_iterable(expected.bounds))
    is_intact = (
        metadata.num_rows == expected.rows
        and schema.equals(arrow_schema(new.dataset))
        and [(each.min, each.max) for each in appids] == expected.bounds
        and all(keys.get(name) == value for name, value in expected.keys.items())
        and footer.decode_footer(str(new.temp), keys) == expected.footer
        and edges == sorted(edges)
    )
    if not is_intact:
        raise StoreError(
            f"{new.store.display_path(new.name)}: the file written does not read back the same",
            "the old file still stands; check disk and memory, then run again",
        )

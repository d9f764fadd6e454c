"""Readers of an output and of tables in a lakehouse: each gives the rows in one spelling."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import deltalake
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from harvester.storage.layout import TABLES
from harvester.verbs.lakehouse.tables import lake_tables

Rows = list[str]
"""Rows of a table as texts that name their columns, sorted."""


def spelled(tables: Iterable[pa.Table]) -> Rows:
    """Return rows of equal columns, without columns that are null in them."""
    return sorted(
        repr(sorted((name, _plain(value)) for name, value in row.items() if value is not None))
        for table in tables
        for row in table.to_pylist()
    )


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return [*map(_plain, value.items())]
    return value


def rows_of_output(root: Path, table: str, *, has_months: bool = True) -> Rows:
    """Return what the files of an output hold; those of months with the month."""
    read = _with_month if has_months else _read
    return spelled(map(read, files_of_output(root, table)))


def files_of_output(root: Path, table: str) -> list[Path]:
    """Return the files of a table of an output."""
    return sorted((root / table).rglob("*.parquet"))


def _read(path: Path) -> pa.Table:
    return pq.ParquetFile(path).read()


def _with_month(path: Path) -> pa.Table:
    table = _read(path)
    _, found, month = path.parent.name.partition("ref_month=")
    if not found:
        return table
    return table.append_column("ref_month", pa.array([month] * len(table), pa.string()))


class LakeReader(Protocol):
    """Reader of the tables below a place, by the library of their format."""

    def __init__(self, root: Path) -> None:
        """Read below a place."""

    has_months: bool
    """True if `ref_month` is a column."""

    def versions(self, table: str) -> list[str]:
        """Return the versions that can be read, the newest last; none without a table."""

    def rows(self, table: str, version: str) -> Rows:
        """Return the rows of a version."""

    def others(self, table: str) -> Iterator[Rows]:
        """Yield the rows of the newest version as other readers read them."""

    def files(self, table: str, version: str) -> set[Path]:
        """Return the data files that a version needs."""

    def compact(self, table: str) -> None:
        """Compact the table with the tool of the format."""

    def texts(self, path: Path, /) -> Iterator[str]:
        """Yield what a file that is not Parquet says in other words than its bytes."""


class DeltaReader:
    """Reader of Delta tables."""

    has_months = True

    def __init__(self, root: Path) -> None:
        self._root = root

    def versions(self, table: str) -> list[str]:
        """Return the versions whose log can be read."""
        if not (self._root / table / "_delta_log").is_dir():
            return []
        log = self._root / table / "_delta_log"
        whole = {int(path.name[:20]) for path in log.glob("*.checkpoint*.parquet")}
        lines = {int(path.name[:20]) for path in log.glob("*.json")}
        first = min(whole | {version for version in lines if version == 0})
        # What is before the first checkpoint cannot be read without version 0.
        return [str(version) for version in sorted(whole | lines) if version >= first]

    def rows(self, table: str, version: str) -> Rows:
        """Read with deltalake."""
        return spelled([self._at(table, version).to_pyarrow_table()])

    def others(self, table: str) -> Iterator[Rows]:
        """Read with Polars, which reads the files itself."""
        yield spelled([pl.scan_delta(str(self._root / table)).collect().to_arrow()])

    def files(self, table: str, version: str) -> set[Path]:
        """Return what the version names."""
        return {*map(Path, self._at(table, version).file_uris())}

    def compact(self, table: str) -> None:
        """Merge the files of each month."""
        deltalake.DeltaTable(self._root / table).optimize.compact()

    def texts(self, _: Path) -> Iterator[str]:
        """Yield nothing: all other files are JSON."""
        yield from ()

    def _at(self, table: str, version: str) -> deltalake.DeltaTable:
        return deltalake.DeltaTable(self._root / table, version=int(version))


READERS: dict[str, type[LakeReader]] = {"delta": DeltaReader}
"""Readers by format."""

LAKE_TABLES = (*lake_tables(),)
"""Names of all tables, of which `TABLES` are those beside the datasets."""

assert {*TABLES} <= {*LAKE_TABLES}

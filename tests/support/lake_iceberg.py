"""Reader of Iceberg tables, and their compaction by hand."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyiceberg.avro.file import AvroFile
from pyiceberg.catalog import load_catalog
from pyiceberg.exceptions import NoSuchNamespaceError, NoSuchTableError
from pyiceberg.expressions import AlwaysTrue
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.table import Table

from harvester.verbs.lakehouse.tables import lake_tables
from tests.support.lake_readers import Rows, spelled


class IcebergReader:
    """Reader of Iceberg tables in the catalog that is a file beside them."""

    has_months = False

    def __init__(self, root: Path) -> None:
        self._root = root

    def versions(self, table: str) -> list[str]:
        """Return the snapshots by their order."""
        with self._opened(table) as found:
            snapshots = found.snapshots() if found else []
        ordered = sorted(snapshots, key=lambda each: each.sequence_number or 0)
        return [str(each.snapshot_id) for each in ordered]

    def rows(self, table: str, version: str) -> Rows:
        """Read with pyiceberg."""
        with self._opened(table) as found:
            assert found is not None
            return spelled([found.scan(snapshot_id=int(version)).to_arrow()])

    def others(self, table: str) -> Iterator[Rows]:
        """Read with Polars."""
        with self._opened(table) as found:
            assert found is not None
            frame = pl.scan_iceberg(found, reader_override="native").collect()
            yield spelled([frame.to_arrow()])

    def files(self, table: str, version: str) -> set[Path]:
        """Return what the snapshot names."""
        with self._opened(table) as found:
            assert found is not None
            tasks = found.scan(snapshot_id=int(version)).plan_files()
            return {Path(task.file.file_path.removeprefix("file://")) for task in tasks}

    def compact(self, table: str) -> None:
        """Write a file for each month, as another program does: pyiceberg has no compaction."""
        day, folder = lake_tables()[table].day, self._root / table / "data"
        folder.mkdir(exist_ok=True)
        with self._opened(table) as found:
            assert found is not None
            rows, paths = found.scan().to_arrow(), list[str]()
            months = pc.strftime(rows[day], "%Y-%m") if day else pa.array([""] * len(rows))
            for month in months.unique().to_pylist():
                paths.append(str(folder / f"{uuid4()}.parquet"))
                pq.write_table(rows.filter(pc.equal(months, month)), paths[-1])
            with found.transaction() as change:
                change.delete(AlwaysTrue())
                change.add_files(paths)

    def texts(self, path: Path) -> Iterator[str]:
        """Yield the entries of manifests, which are compressed."""
        if path.suffix == ".avro":
            entries: AvroFile[Any]
            with AvroFile(PyArrowFileIO().new_input(str(path))) as entries:
                yield from map(repr, entries)

    @contextmanager
    def _opened(self, table: str) -> Iterator[Table | None]:
        """Provide a table; None without one."""
        place = f"sqlite:///{self._root}/catalog.db"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if not (self._root / "catalog.db").exists():
                yield None
                return
            catalog = load_catalog("harvester", type="sql", uri=place)
            try:
                try:
                    found = catalog.load_table(("wechat", table))
                except (NoSuchTableError, NoSuchNamespaceError):
                    found = None
                yield found
            finally:
                catalog.close()

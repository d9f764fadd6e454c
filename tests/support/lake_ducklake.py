"""Reader of DuckLake tables: DuckDB's extension reads and compacts them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from tests.support.lake_readers import Rows, spelled


class DuckLakeReader:
    """Reader of DuckLake tables in the catalog that is a file beside them."""

    has_months = True

    def __init__(self, root: Path) -> None:
        self._root = root
        self._stamp: list[tuple[int, int, int]] | None = None
        self._versions: dict[str, list[str]] = {}

    def versions(self, table: str) -> list[str]:
        """Return the snapshots in which the table changed, or the next one that was not expired."""
        # A killed process leaves its last commits in the second one.
        places = (self._root / f"catalog.ducklake{end}" for end in ("", ".wal"))
        found = [place.stat() for place in places if place.exists()]
        stamp = [(each.st_ino, each.st_size, each.st_mtime_ns) for each in found]
        # The catalog is one file for all tables, and takes its time to be opened.
        if stamp != self._stamp:
            self._stamp, self._versions = stamp, self._read_versions()
        return self._versions.get(table, [])

    def _read_versions(self) -> dict[str, list[str]]:
        with self._opened() as con:
            if con is None:
                return {}
            known = "__ducklake_metadata_lake.ducklake"
            found = con.execute(
                f"""
                with mine as (
                    select table_id, table_name, begin_snapshot from {known}_table
                    where end_snapshot is null
                ), files as (
                    select table_name, f.* from {known}_data_file f join mine using (table_id)
                ), points as (
                    select table_name, begin_snapshot as point from mine
                    union select table_name, begin_snapshot from files
                    union select table_name, end_snapshot from files where end_snapshot is not null
                ), there as (select snapshot_id from {known}_snapshot),
                first as (
                    select table_name, min(snapshot_id) as snapshot_id
                    from points join there on snapshot_id >= point group by table_name, point
                )
                select table_name, list_sort(list_distinct(list(snapshot_id))) from first group by 1
                """
            )
            return {name: [*map(str, numbers)] for name, numbers in found.fetchall()}

    def rows(self, table: str, version: str) -> Rows:
        """Read with DuckDB."""
        with self._opened() as con:
            assert con is not None
            found = con.sql(f"from lake.wechat.{table} at (version => {version})")
            return spelled([found.to_arrow_table()])

    def others(self, _: str) -> Iterator[Rows]:
        """Yield nothing: no other library reads these tables."""
        yield from ()

    def files(self, table: str, version: str) -> set[Path]:
        """Return what the snapshot names."""
        with self._opened() as con:
            assert con is not None
            found = con.execute(
                "select data_file from ducklake_list_files('lake', ?, schema => 'wechat',"
                f" snapshot_version => {version})",
                [table],
            )
            return {Path(path) for (path,) in found.fetchall()}

    def compact(self, table: str) -> None:
        """Merge the files of each month."""
        with self._opened() as con:
            assert con is not None
            con.execute(
                "call ducklake_merge_adjacent_files('lake', ?, schema => 'wechat')", [table]
            )
            con.execute("call ducklake_cleanup_old_files('lake', cleanup_all => true)")

    def texts(self, path: Path, /) -> Iterator[str]:
        """Yield the rows of the catalog's own tables, some of which are compressed."""
        if path.suffix == ".ducklake":
            with duckdb.connect(str(path)) as con:
                for (name,) in con.execute("select table_name from duckdb_tables()").fetchall():
                    yield repr(con.execute(f"select columns(*)::varchar from {name}").fetchall())

    @contextmanager
    def _opened(self) -> Iterator[duckdb.DuckDBPyConnection | None]:
        """Attach the catalog; None without one."""
        place = self._root / "catalog.ducklake"
        if not place.exists():
            yield None
            return
        with duckdb.connect(config={"autoinstall_known_extensions": "false"}) as con:
            con.execute(f"attach 'ducklake:{place}' as lake")
            yield con

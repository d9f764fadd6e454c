"""Tables of DuckLake: a database, the catalog, names the files of each snapshot.

DuckDB's extension reads and writes it. A transaction is one snapshot of all tables in the catalog.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from harvester.core.errors import HarvesterError, StoreAway, UsageError
from harvester.manifest.option_values import spelled
from harvester.verbs.lakehouse.formats import CALL_LIMIT, Lake, Lakehouse, within
from harvester.verbs.lakehouse.plan import month_of, source_of
from harvester.verbs.lakehouse.tables import MONTH, PREFIX, LakeTable, Swap, TableState
from harvester.verbs.sql.dialects import dialect_of
from harvester.verbs.sql.duckdb_stores import load_extension, reach_store

_COLUMNS = "table_name varchar, cursor varchar, selection varchar, rows bigint, erased bigint"
"""Columns of the table of exports, one row per exported table.

``rows`` is the number of rows in its files, and ``erased`` the newest snapshot that deleted some
for good.
"""

_SERVERS = {"sqlite", "postgres", "mysql"}
"""Beginnings of catalogs that need an extension to be read; any other is a file of DuckDB."""

_WORK_LIMIT = 3600.0
"""Seconds after which a statement has failed that may read or remove any number of files."""

_INSTEAD = "or export tables of another format, which need no extension"
_SQL = dialect_of("duckdb")

_INLINED = "ducklake_inlined_data_"
"""Beginning of the file of rows that are in the catalog, where only other programs put them."""

_NARROW = """
    update __ducklake_metadata_lake.ducklake_table_column_stats as whole
    set min_value = files.lowest, max_value = files.highest from (
        select table_id, column_id, min(min_value) as lowest, max(max_value) as highest
        from __ducklake_metadata_lake.ducklake_column
        left join __ducklake_metadata_lake.ducklake_file_column_stats using (table_id, column_id)
        where column_type = 'varchar' group by all
        having count(*) filter (value_count > 0 and (min_value is null or max_value is null)) = 0
    ) as files where whole.table_id = files.table_id and whole.column_id = files.column_id
"""
"""Makes the bounds of texts in a table those of its files, which DuckLake only ever widens.

Files without bounds leave them as they are: without bounds DuckLake takes a column as empty."""

_KEEP = """
    delete from __ducklake_metadata_lake.ducklake_files_scheduled_for_deletion
    where if(path_is_relative, ? || path, path)
    in (select path from __ducklake_metadata_lake.ducklake_data_file)
"""
"""Keeps the files of expired snapshots that came back into a table, under the name of a copy.

DuckLake removes files by the entries of expired snapshots, and does not look for newer ones."""

_SNAPSHOTS = "from ducklake_snapshots('lake')"


class Tables(Lakehouse):
    """Tables of DuckLake in a catalog. Raises UsageError for a warehouse."""

    _ERRORS = (duckdb.Error, sqlite3.Error, OSError)
    _RACE = re.compile(r"conflict|\block|retry count", re.IGNORECASE)

    def __init__(self, lake: Lake) -> None:
        super().__init__(lake)
        self._con = _connected(lake.place, lake.catalog, lake.warehouse)
        self._catalog = lake.catalog or lake.address("catalog.ducklake")
        self._kind, _, self._address = self._catalog.partition(":")
        self._attach()
        self._exports = self._name(f"{PREFIX}_export")
        self._run(f"create schema if not exists lake.{_SQL.quoted(lake.schema)}")
        self._run(f"create table if not exists {self._exports} ({_COLUMNS})")

    @classmethod
    def check(cls, place: Path | str, catalog: str | None, warehouse: str | None) -> None:
        """Raise HarvesterError also for a missing extension."""
        _connected(place, catalog, warehouse).close()

    def state(self, table: LakeTable) -> TableState | None:
        """Return the snapshot of the newest export of a table, and the files that it has now."""
        with self._transaction():
            return self._state(table)

    def commit(self, table: LakeTable, base: TableState | None, swap: Swap) -> str:
        """Swap files in a transaction, which fails if another one changed the table."""
        name = self._name(table.name)
        with self._transaction():
            found, (*_, known, erased) = self._state(table), self._row(table)
            if found != base:
                raise self._lost(table.name)
            self._prepare(table, name, base)
            rows = (known if base else 0) + sum(copy.rows for copy in swap.added)
            for removed in swap.removed:
                # DuckLake drops a file that has no row left, and writes no list of its rows.
                path = self._path(table, removed)
                rows -= self._work(f"delete from {name} where filename = ?", path)[0][0]
            if swap.added:
                paths = [self._path(table, copy.name) for copy in swap.added]
                options = "schema => ?, allow_missing => true, hive_partitioning => ?"
                add = f"call ducklake_add_data_files('lake', ?, ?, {options})"
                self._work(add, table.name, paths, self._lake.schema, table.day is not None)
            # Zero is the snapshot of the row itself, whose number is not known yet.
            row = table.name, swap.cursor, swap.selection, rows, 0 if swap.erases else erased
            self._run(f"delete from {self._exports} where table_name = ?", table.name)
            self._run(f"insert into {self._exports} values (?, ?, ?, ?, ?)", *row)
        return str(self._run("from ducklake_last_committed_snapshot('lake')")[0][0])

    def holding(self, table: LakeTable) -> list[str]:
        """Return the snapshots of the table before the newest one that erased rows."""
        created = "where list_contains(changes['tables_created'], ?)"
        since = f"(select coalesce(max(snapshot_id), 0) {_SNAPSHOTS} {created})"
        older = f"snapshot_id >= {since} and snapshot_id < ? order by 1"
        given = f"{self._lake.schema}.{table.name}", self._row(table)[-1]
        found = self._run(f"select snapshot_id {_SNAPSHOTS} where {older}", *given)
        return [f"snapshot {number}" for (number,) in found]

    def expire(self, table: LakeTable) -> None:
        """Remove all snapshots but the newest, those of other tables too, and their files."""
        found = self._run(f"select snapshot_id {_SNAPSHOTS} order by 1")
        if older := [number for (number,) in found[:-1]]:
            expire = "select count(*) from ducklake_expire_snapshots('lake', versions => ?)"
            self._work(expire, older)
        self._run(_KEEP, self._lake.address(""))
        self._work("call ducklake_cleanup_old_files('lake', cleanup_all => true)")
        if self._row(table)[-1] is not None:
            self._run(_NARROW)
            with self._errors():
                self._rewrite()

    def _state(self, table: LakeTable) -> TableState | None:
        schema, name = self._lake.schema, self._name(table.name)
        where = "database_name = 'lake' and schema_name = ? and table_name = ?"
        found = f"select column_name from duckdb_columns() where {where} order by column_index"
        columns = [column for (column,) in self._run(found, schema, table.name)]
        if not columns:
            return None
        version, cursor, selection, known, erased = self._row(table)
        listed = "select data_file, delete_file from ducklake_list_files('lake', ?, schema => ?)"
        files = self._run(listed, table.name, schema)
        count = f"select count(*) from {name}"
        rows = self._work(count), self._work(f"{count} where starts_with(filename, '{_INLINED}')")
        is_changed = rows != ([(known,)], [(0,)]) or any(deletes for _, deletes in files)
        if selection is None:
            raise self._refused(table, "was not made by harvester")
        if is_changed:
            raise self._refused(table, "has rows that another program changed")
        start = self._lake.address(f"{table.name}/")
        months = {path.removeprefix(start): month_of(path) for path, _ in files}
        return TableState(str(version), months, columns, cursor, selection, erased is not None)

    def _name(self, table: str) -> str:
        return f"lake.{_SQL.view(self._lake.schema, table)}"

    def _row(self, table: LakeTable) -> tuple[int, str | None, str | None, int, int | None]:
        """Return what is known of a table: snapshot, cursor, selection, rows, and what erased."""
        erased = "case erased when 0 then snapshot_id else erased end"
        known = f"select snapshot_id, cursor, selection, rows, {erased} from {self._exports}"
        found = self._run(f"{known} where table_name = ?", table.name)
        return found[0] if found else (0, None, None, 0, None)

    def _prepare(self, table: LakeTable, name: str, base: TableState | None) -> None:
        """Make a table, or add the columns that it lacks."""
        fields = [*table.schema, *([MONTH] if table.day else [])]
        types = self._con.from_arrow(pa.schema(fields).empty_table()).types
        columns = {
            field.name: f"{_SQL.quoted(field.name)} {type_}{'' if field.nullable else ' not null'}"
            for field, type_ in zip(fields, types, strict=True)
        }
        if base is None:
            self._run(f"create table {name} ({', '.join(columns.values())})")
            self._run(f"comment on table {name} is {_SQL.text(table.comment)}")
            if table.day:
                self._run(f"alter table {name} set partitioned by ({MONTH.name})")
        for field in fields:
            if base and field.name in base.columns:
                continue
            if base:
                self._run(f"alter table {name} add column {columns[field.name]}")
            comment = _SQL.text(field.metadata[b"comment"].decode())
            self._run(f"comment on column {name}.{_SQL.quoted(field.name)} is {comment}")

    def _path(self, table: LakeTable, name: str) -> str:
        """Return the path of a file; one of compaction has it as its name."""
        return self._lake.address(f"{table.name}/{name}") if source_of(name) else name

    def _attach(self) -> None:
        options = f"data_path {_SQL.text(self._lake.address(''))}, data_inlining_row_limit 0"
        self._run(f"attach {_SQL.text(f'ducklake:{self._catalog}')} as lake ({options})")

    def _rewrite(self) -> None:
        """Write a catalog file anew, because databases keep deleted rows in free pages."""
        if self._kind not in _SERVERS:
            fresh = Path(f"{self._catalog}.new")
            fresh.unlink(missing_ok=True)
            self._run("checkpoint __ducklake_metadata_lake")
            self._run(f"attach {_SQL.text(str(fresh))} as fresh")
            self._work("copy from database __ducklake_metadata_lake to fresh")
            self._run("detach fresh")
            # Before the lock of the old file is given up.
            fresh.replace(self._catalog)
        self._run("detach lake")
        if self._kind == "sqlite":
            with closing(sqlite3.connect(self._address)) as catalog:
                catalog.execute("vacuum")
        self._attach()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._run("begin")
        try:
            yield
        except StoreAway:
            # The connection may be in the middle of a call.
            raise
        except BaseException:
            with suppress(HarvesterError):
                self._run("rollback")
            raise
        self._work("commit")

    def _run(self, statement: str, *values: object) -> list[Any]:
        """Execute a statement. Raises StoreError."""
        return self._within(CALL_LIMIT, statement, values)

    def _work(self, statement: str, *values: object) -> list[Any]:
        """Execute a statement that may read or remove any number of files. Raises StoreError."""
        return self._within(_WORK_LIMIT, statement, values)

    def _within(self, limit: float, statement: str, values: Sequence[object]) -> list[Any]:
        def execute() -> list[Any]:
            return self._con.execute(statement, values).fetchall()

        with self._errors():
            return within(limit, self._who, execute)

    def _shown(self, error: Exception) -> str:
        # A database quotes its address, which may have a password.
        return f"DuckLake has refused: {error}".replace(self._address or self._catalog, "…")


def _connected(
    place: Path | str, catalog: str | None, warehouse: str | None
) -> duckdb.DuckDBPyConnection:
    """Return a connection with what the place and the catalog need. Raises HarvesterError."""
    if warehouse:
        raise UsageError(f"{spelled('warehouse')}: DuckLake tables have none", "leave it out")
    if not catalog and not isinstance(place, Path):
        problem = "the catalog of DuckLake is a database, and none can be in an object store"
        raise UsageError(problem, f"name one with {spelled('catalog')}: postgres:… or sqlite:…")
    con = duckdb.connect()
    kind = (catalog or "").partition(":")[0]
    for extension in ("ducklake", *(f"{kind}_scanner" for kind in {kind} & _SERVERS)):
        load_extension(con, extension, str(place), _INSTEAD)
    if not isinstance(place, Path):
        reach_store(con, str(place), _INSTEAD)
    return con

"""Tables of Iceberg in a catalog, which names the newest metadata of each.

No documented call of pyiceberg swaps single files in one commit, so parts of its own commits are
used here. docs/decisions/0071 has the list of them, and why the version is bounded.
"""

from __future__ import annotations

import logging
import re
import weakref
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import count
from os import environ
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
from pyiceberg import exceptions
from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.io.pyarrow import parquet_file_to_data_file, pyarrow_to_schema
from pyiceberg.manifest import DataFile, DataFileContent, ManifestContent, ManifestFile
from pyiceberg.schema import Schema, assign_fresh_schema_ids
from pyiceberg.table import CreateTableTransaction, Table, Transaction
from pyiceberg.table.snapshots import Operation, Snapshot, ancestors_of
from pyiceberg.table.update.schema import TABLE_ROOT_ID
from pyiceberg.table.update.snapshot import _OverwriteFiles, _SnapshotProducer
from pyiceberg.transforms import MonthTransform
from pyiceberg.utils.datetime import to_human_month

from harvester.catalogue.field_ids import field_ids
from harvester.core.calendar import utc_text
from harvester.core.errors import UsageError
from harvester.core.text.inert_text import inert
from harvester.manifest.option_values import spelled
from harvester.tables.columns import with_field_ids
from harvester.verbs.lakehouse.formats import CALL_LIMIT, Lake, Lakehouse, within
from harvester.verbs.lakehouse.plan import source_of
from harvester.verbs.lakehouse.tables import PREFIX, Copy, LakeTable, Swap, TableState

_CATALOG = "harvester"
"""The name of the catalog in pyiceberg's configuration, and in the rows of a SQL catalog."""

_SELECTION, _CURSOR, _ERASED = (f"{PREFIX}.{name}" for name in ("selection", "cursor", "erased"))
_FORMAT = 2
_NEVER = datetime(9999, 1, 1, tzinfo=UTC)
_KINDS = {"sqlite": "sql", "postgresql": "sql", "http": "rest", "https": "rest"}


class Tables(Lakehouse):
    """Tables of Iceberg below the place of a lake. Raises UsageError for a catalog of no kind."""

    # They have no class in common: of pyiceberg, pyarrow, SQLAlchemy, requests and others.
    _ERRORS = (Exception,)
    _RACE = re.compile("^(CommitFailedException|TableAlreadyExistsError)|database is locked")

    def __init__(self, lake: Lake) -> None:
        super().__init__(lake)
        logging.getLogger("pyiceberg").addHandler(logging.NullHandler())
        with self._errors():
            options = _options(lake.place, lake.catalog, lake.warehouse)
            self._catalog = within(CALL_LIMIT, self._who, load_catalog, _CATALOG, **options)
        for call in Catalog.__abstractmethods__:
            # On the catalog itself, because tables ask it when they commit.
            setattr(self._catalog, call, _limited(self._catalog, call, self._who))
        weakref.finalize(self, self._catalog.close)

    @classmethod
    def check(cls, place: Path | str, catalog: str | None, warehouse: str | None) -> None:
        """Raise UsageError for a catalog that cannot be."""
        _options(place, catalog, warehouse)

    def state(self, table: LakeTable) -> TableState | None:
        """Return the newest snapshot of a table."""
        with self._errors(table.name):
            try:
                found = self._opened(table)
            except (exceptions.NoSuchTableError, exceptions.NoSuchNamespaceError):
                return None
            selection = found.properties.get(_SELECTION)
            if selection is None or found.metadata.format_version != _FORMAT:
                what = "was not made by harvester" if selection is None else "has another version"
                raise self._refused(table, what)
            if found.location().rstrip("/") != self._lake.address(table.name):
                raise self._refused(table, f"is at {inert(found.location())} by the catalog")
            return TableState(
                _version(found),
                {
                    _name(table, file.file_path): _month(table, found, file)
                    for file in _files(found, found.current_snapshot()).values()
                    if file.content == DataFileContent.DATA
                },
                [field.name for field in found.schema().fields],
                _cursor(found),
                selection,
                _ERASED in found.properties,
                not _agree(found.schema(), _columns(table)),
            )

    def commit(self, table: LakeTable, base: TableState | None, swap: Swap) -> str:
        """Commit one snapshot, unless the table has another one than ``base``."""
        with self._errors(table.name):
            found = self._opened(table) if base else None
            if found and base and _version(found) != base.version:
                raise self._lost(table.name)
            change = found.transaction() if found else self._created(table, swap)
            _add_columns(change, _columns(table), has_own_ids=bool(base and base.has_own_ids))
            self._check_ids(table, change.table_metadata.schema(), swap.added)
            if swap.erases:
                newest = change.table_metadata.next_sequence_number()
                change.set_properties({_ERASED: str(newest)})
            files = _files(found, found.current_snapshot()) if found else {}
            removed = [file for path, file in files.items() if _name(table, path) in swap.removed]
            added = [f"{self._lake.address(table.name)}/{copy.name}" for copy in swap.added]
            return _swapped(change, swap.cursor, added, removed)

    def holding(self, table: LakeTable) -> list[str]:
        """Return the snapshots before the newest one that erased rows, while their files exist."""
        with self._errors(table.name):
            found = self._opened(table)
            erased = int(found.properties.get(_ERASED, 0))
            older = [one for one in found.snapshots() if (one.sequence_number or 0) < erased]
            unused = self._unused(table, found) if erased and not older else []
            if any(name.endswith(".parquet") for name in unused):
                return ["snapshots that were removed without their files"]
            return [f"snapshot {x.snapshot_id} of {utc_text(x.timestamp_ms / 1000)}" for x in older]

    def expire(self, table: LakeTable) -> None:
        """Remove snapshots with the table's own expiry, and what only they need.

        The snapshot that remains is a new one, because entries for removed files name accounts.
        A tag or a branch keeps its snapshot. Files that no snapshot has had may be of a writer that
        has not committed yet. They stay, unless they may name who was deleted.
        """
        with self._errors(table.name):
            found = self._opened(table)
            has_erased = _ERASED in found.properties
            log = [each.metadata_file for each in found.metadata.metadata_log]
            before = self._needed(table, found, log)
            if len(found.snapshots()) > 1 or has_erased:
                _swapped(found.transaction(), _cursor(found), [], [])
                found.maintenance.expire_snapshots().older_than(_NEVER).commit()
            for name in self._unused(table, found):
                if has_erased or name in before or source_of(name):
                    self._files.delete(f"{table.name}/{name}")
            if has_erased and len(found.snapshots()) == 1:
                with found.transaction() as change:
                    change.remove_properties(_ERASED)

    def _opened(self, table: LakeTable) -> Table:
        return self._catalog.load_table((self._lake.schema, table.name))

    def _created(self, table: LakeTable, swap: Swap) -> Transaction:
        """Return the transaction that makes a table together with its first snapshot."""
        self._catalog.create_namespace_if_not_exists(self._lake.schema)
        name, location = (self._lake.schema, table.name), self._lake.address(table.name)
        # An appid is kept whole.
        properties = {"write.metadata.metrics.default": "truncate(18)", "comment": table.comment}
        properties[_SELECTION] = swap.selection
        columns = _columns(table)
        made = self._catalog.create_table_transaction(
            name, columns, location, properties=properties
        )
        # pyiceberg and servers of catalogs number the columns of a new table by their places.
        staged: Any = made._table  # noqa: SLF001
        ids = {"schemas": [columns], "last_column_id": columns.highest_field_id}
        staged.metadata = staged.metadata.model_copy(update=ids)
        change = CreateTableTransaction(staged)
        if table.day:
            with change.update_spec() as parts:
                parts.add_field(table.day, MonthTransform(), f"{table.day}_month")
        # Files of earlier builds have no field ids.
        names = change.table_metadata.schema().name_mapping.model_dump_json()
        return change.set_properties({"schema.name-mapping.default": names})

    def _check_ids(self, table: LakeTable, columns: Schema, added: Sequence[Copy]) -> None:
        """Raise UsageError if a file has other field ids than the table."""
        known = _ids(columns)
        for copy in added:
            if not _ids(pyarrow_to_schema(copy.schema, columns.name_mapping)) <= known:
                raise self._refused(table, f"has other field ids than {copy.name}")

    def _unused(self, table: LakeTable, found: Table) -> list[str]:
        """Return the files below the folder of a table that no snapshot needs."""
        # Listed first, because what another writer commits after that is needed.
        listed = [_name(table, f"/{file.name}") for file in self._files.list(table.name)]
        needed = self._needed(table, found.refresh())
        return [name for name in listed if name not in needed]

    def _needed(self, table: LakeTable, found: Table, more: Sequence[str] = ()) -> set[str]:
        """Return the files that the snapshots of a table need, its metadata, and more."""
        metadata = found.metadata
        needed = {found.metadata_location, *more}
        statistics = (*metadata.statistics, *metadata.partition_statistics)
        needed.update(each.statistics_path for each in statistics)
        for snapshot in metadata.snapshots:
            needed.update((snapshot.manifest_list, *_files(found, snapshot)))
            needed.update(each.manifest_path for each in snapshot.manifests(found.io))
        return {_name(table, path) for path in needed}


class _FileSwap(_OverwriteFiles):
    """A snapshot that adds and removes exactly the files that it is given.

    Entries for files that were removed earlier are left out.
    """

    def commit(self) -> None:
        """Stage the snapshot, without what pyiceberg needs to try again on top of other changes."""
        super(_SnapshotProducer, self).commit()

    def _existing_manifests(self) -> list[ManifestFile]:
        found = super()._existing_manifests()
        return [
            self._live(one) for one in found if one.has_added_files() or one.has_existing_files()
        ]

    def _live(self, manifest: ManifestFile) -> ManifestFile:
        if not manifest.deleted_files_count or manifest.content != ManifestContent.DATA:
            return manifest
        with self.new_manifest_writer(self.spec(manifest.partition_spec_id)) as writer:
            for entry in self.fetch_manifest_entry(manifest):
                writer.existing(entry)
        return writer.to_manifest_file()


def _limited(catalog: Catalog, call: str, who: str) -> Callable[..., Any]:
    """Return a call of a catalog that ends in time, or raises StoreAway."""

    def limited(*given: Any, **named: Any) -> Any:
        return within(CALL_LIMIT, who, getattr(type(catalog), call), catalog, *given, **named)

    return limited


def _swapped(
    change: Transaction, cursor: str | None, added: Sequence[str], removed: Sequence[DataFile]
) -> str:
    """Commit a change with a snapshot that adds files and removes others; return its number."""
    properties = {_CURSOR: cursor} if cursor else {}
    operation = Operation.OVERWRITE if removed else Operation.APPEND
    io = change._table.io  # noqa: SLF001 - a table that is being made has it nowhere else
    metadata = change.table_metadata
    swap = _FileSwap(operation, change, io, snapshot_properties=properties)
    for path in added:
        swap.append_data_file(parquet_file_to_data_file(io, metadata, path))
    for file in removed:
        swap.delete_data_file(file)
    swap.commit()
    change.commit_transaction()
    return str(swap.snapshot_id)


def _options(place: Path | str, catalog: str | None, warehouse: str | None) -> dict[str, str]:
    """Return what pyiceberg needs to open a catalog. Raises UsageError."""
    if not catalog and not isinstance(place, Path):
        what = f"{place}: Iceberg tables in an object store need a catalog"
        raise UsageError(what, f"name one with {spelled('catalog')}")
    if str(place).startswith("az://"):
        raise UsageError(f"{place}: pyiceberg knows no az://", "export to s3:// or gs://")
    uri = catalog or f"sqlite:///{place}/catalog.db"
    parts = urlsplit(uri)
    kind = _KINDS.get(parts.scheme.partition("+")[0])
    given = spelled("catalog")
    if kind is None:
        raise UsageError(f"{given}: no catalog of Iceberg", "write https://… or postgresql://…")
    if parts.password or "password" in parts.query:
        raise UsageError(f"{given}: has a password", "set PGPASSWORD, or use ~/.pgpass")
    options = {
        "type": kind,
        # Without a driver SQLAlchemy 2.1 takes one that pyiceberg does not bring.
        "uri": re.sub("^postgresql:", "postgresql+psycopg2:", uri),
        "warehouse": warehouse,
        # As the store reads them; the keys pyiceberg finds by itself.
        "s3.endpoint": environ.get("AWS_ENDPOINT_URL") or environ.get("AWS_ENDPOINT"),
        "s3.region": environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION"),
    }
    return {name: value for name, value in options.items() if value}


def _columns(table: LakeTable) -> Schema:
    """Return the columns of a table with the field ids of the files, and with their comments."""
    fields = (field.with_metadata({"doc": field.metadata[b"comment"]}) for field in table.schema)
    return pyarrow_to_schema(with_field_ids(pa.schema(fields), field_ids(table.name)))


def _ids(columns: Schema) -> set[tuple[int, str | None]]:
    """Return the field ids of columns and their members with their paths."""
    return {(each, columns.find_column_name(each)) for each in columns.field_ids}


def _agree(one: Schema, other: Schema) -> bool:
    """Return whether no id has two paths, and no path two ids."""
    found = _ids(one) | _ids(other)
    return len(found) == len({each for each, _ in found}) == len({path for _, path in found})


def _add_columns(change: Transaction, columns: Schema, *, has_own_ids: bool) -> None:
    """Add the columns that a table lacks, with their ids, or with the next ones of the table."""
    metadata = change.table_metadata
    known = {field.name for field in metadata.schema().fields}
    new = [field for field in columns.fields if field.name not in known]
    if has_own_ids:
        next_id = count(metadata.last_column_id + 1).__next__
        new = [*assign_fresh_schema_ids(Schema(*new), next_id).fields]
    if new:
        with change.update_schema() as update:
            # Its own call gives them the next ids of the table.
            update._adds[TABLE_ROOT_ID] = [  # noqa: SLF001
                field.model_copy(update={"required": False}) for field in new
            ]


def _files(found: Table, snapshot: Snapshot | None) -> dict[str, DataFile]:
    """Return the files of a snapshot by path."""
    manifests = snapshot.manifests(found.io) if snapshot else []
    entries = (entry for each in manifests for entry in each.fetch_manifest_entry(found.io))
    return {entry.data_file.file_path: entry.data_file for entry in entries}


def _name(table: LakeTable, path: str) -> str:
    """Return the name of a file below the folder of a table, a path elsewhere as it is."""
    # Writers differ in how they spell the beginning.
    return path.rpartition(f"/{table.name}/")[2]


def _month(table: LakeTable, found: Table, file: DataFile) -> str:
    """Return the month of a file by its partition, empty if it is of no single month."""
    for place, field in enumerate(found.specs()[file.spec_id].fields):
        source = found.schema().find_column_name(field.source_id)
        if isinstance(field.transform, MonthTransform) and source == table.day:
            value = file.partition[place]
            return "" if value is None else to_human_month(value)
    return ""


def _version(found: Table) -> str:
    snapshot = found.current_snapshot()
    return str(snapshot.snapshot_id) if snapshot else ""


def _cursor(found: Table) -> str | None:
    """Return the cursor of the newest snapshot with one; those of compaction have none."""
    for snapshot in ancestors_of(found.current_snapshot(), found.metadata):
        if snapshot.summary is not None and (cursor := snapshot.summary[_CURSOR]):
            return str(cursor)
    return None

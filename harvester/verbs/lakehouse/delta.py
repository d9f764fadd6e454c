"""Tables of Delta Lake: a folder per table, whose log has a JSON file for each version.

The library reads the log, makes checkpoints and removes files. The commit is written here, because
none of its calls replaces single files: https://github.com/delta-io/delta/blob/master/PROTOCOL.md
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import deltalake
import pyarrow as pa
from deltalake.exceptions import DeltaError, TableNotFoundError

from harvester.core.errors import UsageError
from harvester.manifest.option_values import spelled
from harvester.storage.backends import atomic_files
from harvester.storage.backends.local import LocalStore
from harvester.storage.state.change_entries import LogPosition, cursor, parse_cursor
from harvester.verbs.lakehouse.copies import temporary
from harvester.verbs.lakehouse.formats import Lakehouse
from harvester.verbs.lakehouse.plan import month_of
from harvester.verbs.lakehouse.tables import MONTH, PREFIX, Copy, LakeTable, Swap, TableState

_LOG = "_delta_log"
_VERSION = re.compile(rf"{_LOG}/(\d{{20}})\.(?:json|checkpoint\.)")
_SELECTION, _ERASED = f"{PREFIX}.selection", f"{PREFIX}/erased"
_MAX_WRITER = 2
"""The version of the protocol above which adding and removing files may not be enough."""

_EVERY = 10
"""Commits after which a checkpoint is made, as the protocol recommends."""


class Tables(Lakehouse):
    """Tables of Delta Lake in the folders of a lake. Raises UsageError for a catalog."""

    _ERRORS = (DeltaError, OSError, ValueError)
    _RACE = re.compile("^CommitFailedError")

    @classmethod
    def check(cls, place: Path | str, catalog: str | None, warehouse: str | None) -> None:  # noqa: ARG003 - as the others
        """Raise UsageError for a catalog and a warehouse."""
        if catalog or warehouse:
            given = spelled("catalog" if catalog else "warehouse")
            raise UsageError(f"{given}: Delta tables have none", "leave it out")

    def state(self, table: LakeTable) -> TableState | None:
        """Return the newest snapshot of a table; its cursor is kept as transactions."""
        with self._errors(table.name):
            try:
                found = deltalake.DeltaTable(self._lake.address(table.name))
            except TableNotFoundError:
                return None
        selection = found.metadata().configuration.get(_SELECTION)
        if selection is None or found.protocol().min_writer_version > _MAX_WRITER:
            what = "was not made by harvester" if selection is None else "needs a newer writer"
            raise self._refused(table, what)
        actions = _actions(found)
        months = actions.get(f"partition.{MONTH.name}", [""] * len(actions["path"]))
        return TableState(
            str(found.version()),
            dict(zip(actions["path"], months, strict=True)),
            [field.name for field in found.schema().fields],
            self._cursor(found),
            selection,
            bool(found.transaction_version(_ERASED)),
        )

    def commit(self, table: LakeTable, base: TableState | None, swap: Swap) -> str:
        """Write the next version of the log, unless another writer was faster.

        A table is made, and columns are added, in versions of their own before it.
        """
        version = self._prepared(table, base, swap) + 1
        lines = self._lines(swap, base, version)
        text = "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines)
        self._create(table, f"{version:020d}.json", text.encode())
        if version % _EVERY == 0:
            with self._errors(table.name):
                self._opened(table).create_checkpoint()
        return str(version)

    def holding(self, table: LakeTable) -> list[str]:
        """Return the versions before the newest one that erased rows, while their files exist."""
        erased = self._opened(table).transaction_version(_ERASED) or 0
        known = {version for version, _ in self._log(table)} if self._unused(table) else ()
        return [f"version {version}" for version in sorted(known) if version < erased]

    def expire(self, table: LakeTable) -> None:
        """Remove files with the table's own vacuum, and the log before a new checkpoint."""
        with self._errors(table.name):
            self._opened(table).vacuum(
                0, dry_run=False, enforce_retention_duration=False, full=True
            )
            found = self._opened(table)
            found.create_checkpoint()
        # It keeps files whose removal is in its future, as after a clock that was ahead. Statistics
        # in older entries of the log name accounts.
        log = [name for version, name in self._log(table) if version < found.version()]
        for name in (*self._unused(table), *log):
            self._files.delete(name)

    def _prepared(self, table: LakeTable, base: TableState | None, swap: Swap) -> int:
        """Make a table, or add the columns that it lacks; return the version that there is then."""
        schema = table.schema if table.day is None else table.schema.append(MONTH)
        fields = deltalake.Schema.from_arrow(schema).fields
        with self._errors(table.name):
            if base is None:
                made = deltalake.DeltaTable.create(
                    self._lake.address(table.name),
                    deltalake.Schema(fields),
                    partition_by=[MONTH.name] if table.day else None,
                    name=table.name,
                    description=table.comment,
                    configuration={_SELECTION: swap.selection},
                    raise_if_key_not_exists=False,
                )
                return made.version()
            version = int(base.version)
            if added := [field for field in fields if field.name not in base.columns]:
                self._opened(table).alter.add_columns(added)
                # If another writer was faster the version behind this one is there.
                version += 1
            return version

    def _opened(self, table: LakeTable) -> deltalake.DeltaTable:
        with self._errors(table.name):
            return deltalake.DeltaTable(self._lake.address(table.name))

    def _unused(self, table: LakeTable) -> set[str]:
        """Return the data files that the newest version does not need."""
        used = {f"{table.name}/{name}" for name in _actions(self._opened(table))["path"]}
        names = {file.name for file in self._files.list(table.name)} - used
        return {x for x in names if x.endswith(".parquet") and f"/{_LOG}/" not in x}

    def _log(self, table: LakeTable) -> Iterator[tuple[int, str]]:
        for file in self._files.list(f"{table.name}/{_LOG}"):
            if match := _VERSION.match(file.name.removeprefix(f"{table.name}/")):
                yield int(match[1]), file.name

    def _cursor(self, found: deltalake.DeltaTable) -> str | None:
        positions = dict[str, LogPosition]()
        for label in self._lake.labels:
            seq = found.transaction_version(f"{PREFIX}/{label}")
            mark = found.transaction_version(f"{PREFIX}/{label}/mark")
            if seq is not None and mark is not None:
                positions[label] = LogPosition(seq, f"{mark:010x}" if mark >= 0 else "")
        return cursor(positions) if positions else None

    def _lines(
        self, swap: Swap, base: TableState | None, version: int
    ) -> Iterator[dict[str, dict[str, Any]]]:
        """Yield the actions of a version of the log.

        The positions in the change feed are versions, which are numbers, of transactions.
        Compaction keeps them, whereas it hides the details of older commits.
        """
        now = int(self._lake.now() * 1000)
        yield {"commitInfo": {"timestamp": now, "operation": "WRITE"}}
        versions = {_ERASED: version} if swap.erases else {}
        for label, (seq, mark) in (parse_cursor(swap.cursor) or {}).items():
            versions[f"{PREFIX}/{label}"] = seq
            versions[f"{PREFIX}/{label}/mark"] = int(mark, 16) if mark else -1
        for app, number in versions.items():
            yield {"txn": {"appId": app, "version": number, "lastUpdated": now}}
        for name in swap.removed:
            about = {"deletionTimestamp": now, "extendedFileMetadata": True}
            yield {"remove": _file(name, base.files[name] if base else "") | about}
        for copy in swap.added:
            known = {"size": copy.size, "modificationTime": now, "stats": _statistics(copy)}
            yield {"add": _file(copy.name, month_of(copy.name)) | known}

    def _create(self, table: LakeTable, version: str, data: bytes) -> None:
        """Put a version into the log, unless it has one. Raises LostRace."""
        name = f"{table.name}/{_LOG}/{version}"
        if not isinstance(self._files, LocalStore):
            self._files.put(name, data, None)
            return
        # Linked, because other writers of Delta tables know nothing of the locks of harvester.
        final = self._files.path(name)
        with atomic_files.os_errors_as_store_errors(final), temporary(self._files, name) as temp:
            temp.write_bytes(data)
            atomic_files.sync(temp)
            try:
                os.link(temp, final)
            except FileExistsError:
                raise self._lost(table.name) from None
            atomic_files.sync(final.parent)


def _actions(found: deltalake.DeltaTable) -> dict[str, list[Any]]:
    """Return the data files of a table, column by column."""
    columns: dict[str, list[Any]] = pa.table(found.get_add_actions(flatten=True)).to_pydict()
    return columns


def _file(name: str, month: str) -> dict[str, Any]:
    """Return what an action of the log says of a file that is added or removed."""
    values = {MONTH.name: month} if month else {}
    return {"path": name, "dataChange": True, "partitionValues": values}


def _statistics(copy: Copy) -> str:
    """Return the number of rows, and the bounds of accounts and days, by which readers skip."""
    lowest = {name: bounds[0] for name, bounds in copy.bounds.items()}
    highest = {name: bounds[1] for name, bounds in copy.bounds.items()}
    found = {"numRecords": copy.rows, "minValues": lowest, "maxValues": highest}
    return json.dumps(found, ensure_ascii=False)

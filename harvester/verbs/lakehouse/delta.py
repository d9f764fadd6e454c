"""Tables of Delta Lake: a folder per table, whose log has a JSON file for each version.

The library reads the log, makes checkpoints and removes files. The commit is written here, because
none of its calls replaces single files: https://github.com/delta-io/delta/blob/master/PROTOCOL.md
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import deltalake
import pyarrow as pa
from deltalake.exceptions import DeltaError

from harvester.core.errors import LostRace, StoreError, UsageError
from harvester.core.text.inert_text import inert
from harvester.manifest.option_values import spelled
from harvester.storage.backends import atomic_files
from harvester.storage.backends.base import Store, temp_path
from harvester.storage.backends.local import LocalStore
from harvester.storage.state.change_entries import LogPosition, cursor, parse_cursor
from harvester.verbs.lakehouse.formats import Lake
from harvester.verbs.lakehouse.tables import MONTH, PREFIX, Copy, LakeTable, Swap, TableState

_LOG = "_delta_log"
_VERSION = re.compile(rf"{_LOG}/(\d{{20}})\.(?:json|checkpoint\.)")
_SELECTION = f"{PREFIX}.selection"
_MAX_WRITER = 2
"""The version of the protocol above which adding and removing files may not be enough."""

_EVERY = 10
"""Commits after which a checkpoint is made, as the protocol recommends."""


class Tables:
    """Tables of Delta Lake in the folders of a lake. Raises UsageError for a catalog."""

    def __init__(self, lake: Lake) -> None:
        if lake.catalog or lake.warehouse:
            given = spelled("catalog" if lake.catalog else "warehouse")
            raise UsageError(f"{given}: Delta tables have none", "leave it out")
        self._lake, self._files = lake, lake.files

    def state(self, table: LakeTable) -> TableState | None:
        """Return the newest snapshot of a table; its cursor is kept as transactions."""
        found = self._opened(table)
        if found is None:
            return None
        selection = found.metadata().configuration.get(_SELECTION)
        if selection is None or found.protocol().min_writer_version > _MAX_WRITER:
            what = "was not made by harvester" if selection is None else "needs a newer writer"
            where = self._files.display_path(table.name)
            raise UsageError(f"{where}: the Delta table there {what}", "export to another place")
        actions = _actions(found)
        names = actions["path"]
        months = actions.get(f"partition.{MONTH.name}", [""] * len(names))
        return TableState(
            str(found.version()),
            dict(zip(names, months, strict=True)),
            [field.name for field in found.schema().fields],
            self._cursor(found),
            selection,
        )

    def commit(self, table: LakeTable, base: TableState | None, swap: Swap) -> str:
        """Write the next version of the log, unless another writer was faster.

        A table is made, and columns are added, in versions of their own before it.
        """
        version = self._prepared(table, base, swap) + 1
        lines = [
            {"commitInfo": {"timestamp": self._millis(), "operation": "WRITE"}},
            *self._transactions(swap, version),
            *(self._remove(name, base) for name in swap.removed),
            *(self._add(table, copy) for copy in swap.added),
        ]
        text = "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines)
        self._create(f"{table.name}/{_LOG}/{version:020d}.json", text.encode())
        if version % _EVERY == 0:
            self._checkpoint(table)
        return str(version)

    def holding(self, table: LakeTable) -> list[str]:
        """Return the versions before the newest one that erased rows, while their files exist."""
        found = self._opened(table)
        erased = found and found.transaction_version(f"{PREFIX}/erased")
        if not found or not erased or not self._unused(table, found):
            return []
        return [f"version {version}" for version in self._versions(table) if version < erased]

    def expire(self, table: LakeTable) -> None:
        """Remove files with the table's own vacuum, and the log before a new checkpoint."""
        found = self._opened(table)
        if found is None:
            return
        with _errors(self._files, table):
            found.vacuum(0, dry_run=False, enforce_retention_duration=False, full=True)
        newest = self._checkpoint(table)
        # Statistics in older entries name accounts.
        for version, name in self._log(table):
            if version < newest:
                self._files.delete(name)

    def _prepared(self, table: LakeTable, base: TableState | None, swap: Swap) -> int:
        """Make a table, or add the columns that it lacks; return the version that there is then."""
        schema = table.schema if table.day is None else table.schema.append(MONTH)
        fields = deltalake.Schema.from_arrow(schema).fields
        with _errors(self._files, table):
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
            added = [field for field in fields if field.name not in base.columns]
            found = self._opened(table) if added else None
            if found is None:
                return int(base.version)
            found.alter.add_columns(added)
            if found.version() != int(base.version) + 1:
                where = self._files.display_path(table.name)
                raise LostRace(f"{where}: another writer was faster", "run again")
            return found.version()

    def _opened(self, table: LakeTable) -> deltalake.DeltaTable | None:
        with _errors(self._files, table):
            if not self._versions(table):
                return None
            return deltalake.DeltaTable(self._lake.address(table.name))

    def _checkpoint(self, table: LakeTable) -> int:
        """Make a checkpoint of the newest version, and return that."""
        with _errors(self._files, table):
            found = self._opened(table)
            if found is None:
                return 0
            found.create_checkpoint()
            return found.version()

    def _log(self, table: LakeTable) -> Iterator[tuple[int, str]]:
        for file in self._files.list(f"{table.name}/{_LOG}"):
            if match := _VERSION.match(file.name.removeprefix(f"{table.name}/")):
                yield int(match[1]), file.name

    def _versions(self, table: LakeTable) -> list[int]:
        return sorted({version for version, _ in self._log(table)})

    def _unused(self, table: LakeTable, found: deltalake.DeltaTable) -> bool:
        """Return whether there are data files that the newest version does not have."""
        used = {f"{table.name}/{name}" for name in _actions(found)["path"]}
        names = {file.name for file in self._files.list(table.name)} - used
        return any(name.endswith(".parquet") and f"/{_LOG}/" not in name for name in names)

    def _cursor(self, found: deltalake.DeltaTable) -> str | None:
        positions = dict[str, LogPosition]()
        for label in self._lake.labels:
            seq = found.transaction_version(f"{PREFIX}/{label}")
            mark = found.transaction_version(f"{PREFIX}/{label}/mark")
            if seq is not None and mark is not None:
                positions[label] = LogPosition(seq, f"{mark:010x}" if mark >= 0 else "")
        return cursor(positions) if positions else None

    def _transactions(self, swap: Swap, version: int) -> Iterator[dict[str, Any]]:
        """Yield the positions in the change feed as versions, which are numbers, of transactions.

        Compaction keeps them, whereas it hides the details of older commits.
        """
        versions = {f"{PREFIX}/erased": version} if swap.erases else {}
        for label, (seq, mark) in (parse_cursor(swap.cursor) or {}).items():
            versions[f"{PREFIX}/{label}"] = seq
            versions[f"{PREFIX}/{label}/mark"] = int(mark, 16) if mark else -1
        for app, number in versions.items():
            yield {"txn": {"appId": app, "version": number, "lastUpdated": self._millis()}}

    def _add(self, table: LakeTable, copy: Copy) -> dict[str, Any]:
        return {
            "add": {
                "path": copy.name,
                "partitionValues": {MONTH.name: copy.month} if table.day else {},
                "size": copy.size,
                "modificationTime": self._millis(),
                "dataChange": True,
                "stats": json.dumps(_statistics(copy), ensure_ascii=False),
            }
        }

    def _remove(self, name: str, base: TableState | None) -> dict[str, Any]:
        month = base.files[name] if base else ""
        return {
            "remove": {
                "path": name,
                "deletionTimestamp": self._millis(),
                "dataChange": True,
                "extendedFileMetadata": True,
                "partitionValues": {MONTH.name: month} if month else {},
            }
        }

    def _millis(self) -> int:
        return int(self._lake.now() * 1000)

    def _create(self, name: str, data: bytes) -> None:
        """Put a file under a name that no file has. Raises LostRace."""
        if not isinstance(self._files, LocalStore):
            self._files.put(name, data, None)
            return
        # Linked, because other writers of Delta tables know nothing of the locks of harvester.
        temp, final = temp_path(self._files, name), self._files.path(name)
        for folder in (temp.parent, final.parent):
            atomic_files.make_folder(folder)
        with atomic_files.os_errors_as_store_errors(final):
            temp.write_bytes(data)
            atomic_files.sync(temp)
        try:
            _link(temp, final)
        except FileExistsError:
            where = self._files.display_path(name)
            raise LostRace(f"{where}: another writer was faster", "run again") from None
        finally:
            atomic_files.unlink_quietly(temp)


def _link(temp: Path, final: Path) -> None:
    os.link(temp, final)
    atomic_files.sync(final.parent)


def _actions(found: deltalake.DeltaTable) -> dict[str, list[Any]]:
    """Return the data files of a table, column by column."""
    columns: dict[str, list[Any]] = pa.table(found.get_add_actions(flatten=True)).to_pydict()
    return columns


def _statistics(copy: Copy) -> dict[str, Any]:
    """Return the number of rows, and the bounds of accounts and days, by which readers skip."""
    lowest = {name: bounds[0] for name, bounds in copy.bounds.items()}
    highest = {name: bounds[1] for name, bounds in copy.bounds.items()}
    return {"numRecords": copy.rows, "minValues": lowest, "maxValues": highest}


@contextmanager
def _errors(files: Store, table: LakeTable) -> Iterator[None]:
    """Raise what the library raises in the block as StoreError."""
    try:
        yield
    except (DeltaError, OSError, ValueError) as error:
        where = files.display_path(table.name)
        raise StoreError(f"{where}: {inert(str(error))}", "see what the message names") from error

"""Copies of an output's files below the folder of a table, under names that never change.

A journal names the copies that were there before an export. After a kill, the next export uses or
removes the copies of the killed one. Copies of older snapshots stay.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from harvester.core.dataset import DATE_COLUMN
from harvester.storage.backends import atomic_files
from harvester.storage.backends.base import META_DIR, Store, temp_path
from harvester.storage.derived import derived_files
from harvester.storage.footer import decode_footer, parquet_errors_as_store_errors
from harvester.storage.layout import COVERAGE, TABLES
from harvester.storage.state import json_file
from harvester.tables.columns import with_field_ids
from harvester.verbs.changes import ChosenChanges
from harvester.verbs.lakehouse.plan import copy_name, source_of
from harvester.verbs.lakehouse.tables import Copy

_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class _Note:
    """Copies that may stay ``at`` a version of a table, and those about to be committed on it."""

    at: str
    kept: frozenset[str]
    added: frozenset[str] = frozenset()


class Copies(NamedTuple):
    """Copies of files of the store ``source`` below the folder of a table in ``target``.

    Only the rows that are ``chosen`` are copied, and no field ids if ``without_ids``. A journal has
    the names of the copies that were there before an export began to copy.
    """

    source: Store
    target: Store
    folder: str
    chosen: ChosenChanges
    without_ids: bool = False

    def copy(self, source: str) -> Copy | None:
        """Copy a file. None if it is gone or has no rows. Raises StoreError and OtherVersion."""
        name = f"{self.folder}/{source}"
        with self.source.local_copy(name) as found, temporary(self.target, name) as temp:
            if found is None:
                return None
            where = self.source.display_path(name)
            with parquet_errors_as_store_errors(where):
                # A newer file may mean something else. That of a table has other keys.
                if self.folder in TABLES:
                    derived_files.read(self.source, name)
                else:
                    decode_footer(where, pq.read_metadata(found.path).metadata or {}, older=True)
                digest = self._fill(temp, found.path)
                metadata = pq.read_metadata(temp)
            if not metadata.num_rows:
                return None
            copy, size = copy_name(source, digest), temp.stat().st_size
            self.target.put(f"{self.folder}/{copy}", temp)
            schema = metadata.schema.to_arrow_schema()
            return Copy(copy, size, metadata.num_rows, _bounds(metadata, schema), schema)

    def _fill(self, temp: Path, found: Path) -> str:
        """Write the chosen rows of a file; return the digest of what was written."""
        days = ("begin_date", "end_date") if self.folder == COVERAGE else (DATE_COLUMN, DATE_COLUMN)
        there = pq.read_schema(found)
        schema = with_field_ids(there, {}) if self.without_ids else there
        condition = self.chosen.condition(schema.names, *days)
        if condition is None and schema.equals(there, check_metadata=True):
            return _copied(found, temp)
        with pq.ParquetFile(found) as file, pq.ParquetWriter(temp, schema) as writer:
            for number in range(file.num_row_groups):
                rows = file.read_row_group(number, use_threads=False)
                rows = rows if condition is None else rows.filter(condition)
                if len(rows):
                    writer.write_table(rows)
        with temp.open("rb") as written:
            return hashlib.file_digest(written, "sha256").hexdigest()

    def begin(self, files: Collection[str], version: str) -> None:
        """Note which copies may stay: those in ``files``, the table, or from before.

        Without an export that was killed, all that are there are from before. ``version`` is that
        of the table.
        """
        there, noted = self._listed(), self._noted(version)
        kept = there if noted is None else there & (noted | {*files})
        json_file.write(self.target, self._name, _Note(version, kept))

    def commit(self, added: Collection[str], version: str) -> None:
        """Note that copies are about to be committed on top of a version."""
        note = _Note(version, self._noted(version) or frozenset(), frozenset(added))
        json_file.write(self.target, self._name, note)

    def end(self, files: Collection[str], version: str) -> None:
        """Remove copies that are neither in ``files`` nor from before, if an export has begun.

        ``version`` is that of the table before this export.
        """
        if (noted := self._noted(version)) is None:
            return
        for name in sorted(self._listed() - noted - {*files}):
            self.target.delete(f"{self.folder}/{name}")
        self.target.delete(self._name)

    @property
    def _name(self) -> str:
        return f"{META_DIR}/export-{self.folder}.json"

    def _listed(self) -> frozenset[str]:
        names = (x.name.removeprefix(f"{self.folder}/") for x in self.target.list(self.folder))
        return frozenset(name for name in names if source_of(name) is not None)

    def _noted(self, version: str) -> frozenset[str] | None:
        """Return what may stay by the journal, None without one that can be read.

        Where the table has another version, an export has died after its commit, or another writer
        was there: a version may need what was about to be committed.
        """
        note = json_file.read(self.target, self._name, _Note)
        if note is None:
            return None
        return note.kept if note.at == version else note.kept | note.added


def _copied(found: Path, temp: Path) -> str:
    """Copy the bytes of a file; return their digest. Reads once: twice costs a tenth more."""
    digest = hashlib.sha256()
    with found.open("rb") as read, temp.open("wb") as write:
        while block := read.read(_BLOCK):
            digest.update(block)
            write.write(block)
    return digest.hexdigest()


@contextmanager
def temporary(store: Store, name: str) -> Iterator[Path]:
    """Provide the path of a file that is made before it gets its name, and is removed."""
    temp = temp_path(store, name)
    atomic_files.make_folder(temp.parent)
    try:
        yield temp
    finally:
        atomic_files.unlink_quietly(temp)


def _bounds(metadata: pq.FileMetaData, schema: pa.Schema) -> dict[str, tuple[str, str]]:
    """Return the bounds of the first two columns that readers skip by."""
    bounds = dict[str, tuple[str, str]]()
    for place, name in enumerate(schema.names[:2]):
        groups = map(metadata.row_group, range(metadata.num_row_groups))
        found = [group.column(place).statistics for group in groups]
        if name in ("appid", DATE_COLUMN) and all(each and each.has_min_max for each in found):
            bounds[name] = str(min(x.min for x in found)), str(max(x.max for x in found))
    return bounds


def values_in(store: Store, names: Iterable[str], column: str) -> set[object]:
    """Return the values of a column in files, pairs for a map. Raises StoreError."""
    found = set[object]()
    for name in names:
        where = store.display_path(name)
        with store.local_copy(name) as copy, parquet_errors_as_store_errors(where):
            if copy is not None:
                values = pq.ParquetFile(copy.path).read([column])[column].to_pylist()
                found.update(chain(*values) if column == "labels" else values)
    return found

"""News of a table's files since a cursor, by the change feed of the output.

The feed does not name the files of the tables beside the datasets. They are few and short, so a
mark of all their versions is in the cursor, and where it differs all of them are looked at.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from harvester.storage import layout
from harvester.storage.backends.base import FileInfo
from harvester.storage.derived import derived_files
from harvester.storage.layout import TABLES, Tree
from harvester.storage.state import change_reader
from harvester.storage.state.change_entries import (
    BrokenHistory,
    LogEntry,
    LogPosition,
    cursor,
    files_mark,
    parse_cursor,
)
from harvester.storage.state.change_reader import News as FeedNews
from harvester.verbs.changes import ChosenChanges
from harvester.verbs.lakehouse.plan import month_of

BESIDE = "0000-of-0000"
"""Place in a cursor of the mark of a table beside the datasets; no bucket has this name."""


class News(NamedTuple):
    """Sources of a table that were replaced or deleted, and the cursor behind it.

    ``changed`` is None if that cannot be told. ``erases`` is True if rows were deleted for good, or
    may have been. The feed has ``many`` entries since the cursor before.
    """

    changed: frozenset[str] | None
    cursor: str
    erases: bool
    many: int


class Feed:
    """The change feed of an output, for the months that are chosen of it."""

    def __init__(self, tree: Tree, chosen: ChosenChanges) -> None:
        self._tree = tree
        self._months = chosen.begin_date[:7], chosen.end_date[:7]
        # Tables that were exported together have the same cursor, and entries name many accounts.
        self._read_once = lru_cache(4)(self._read)

    def sources(self, table: str) -> set[str]:
        """Return the files that a table is made of. Raises StoreError and UsageError."""
        return {*self._chosen(table, (file.name for file in self._listed(table)))}

    def since(self, table: str, at: str | None, *, again: bool = False) -> News:
        """Return the news of a table since a cursor, None for one that is not known.

        Another table may have read them a while ago, unless they are read ``again``. Raises
        StoreError, and UsageError for a newer version.
        """
        before = parse_cursor(at) if at else None
        # A cursor has no place of a table without files.
        mark = None if before is None else before.pop(BESIDE, LogPosition())
        read = self._read if again else self._read_once
        found = None if before is None else read(cursor(before))
        entries, positions = found or ([], change_reader.ends(self._tree)[0])
        changed: frozenset[str] | None = None
        many = len(entries)
        if table in TABLES:
            now = LogPosition(0, files_mark(self._listed(table)))
            positions = positions | {BESIDE: now}
            if found and mark == now:
                changed = frozenset()
        elif found:
            entries = [entry for entry in entries if entry.dataset == table]
            changed = frozenset(self._chosen(table, (entry.path for entry in entries)))
        # Rows may have been deleted in what is not known of the history.
        erases = found is None or any(map(_erases, entries))
        return News(changed, cursor(positions), erases, many)

    def _read(self, at: str) -> FeedNews | None:
        try:
            return change_reader.since(self._tree.store, parse_cursor(at) or {})
        except BrokenHistory:
            return None

    def _listed(self, table: str) -> Iterable[FileInfo]:
        if table in TABLES:
            return derived_files.files(self._tree.store, table)
        return layout.partitions(self._tree, table).values()

    def _chosen(self, table: str, names: Iterable[str]) -> Iterable[str]:
        first, last = self._months
        for name in names:
            source = name.removeprefix(f"{table}/")
            month = month_of(source)
            if not month or first <= month <= last:
                yield source


def _erases(entry: LogEntry) -> bool:
    """Return whether an entry is of rows that were deleted for good.

    A file is deleted with its last account. `rewrite` and `verify --repair` delete files too, and
    count no rows, because those are in other files or fetched again.
    """
    return entry.op != "replaced" and entry.rows_before > 0

"""News of a table's files since a cursor, by the change feed of the output.

The feed does not name the files of the tables beside the datasets. They are few and short, so a
mark of all their versions is in the cursor, and where it differs all of them are looked at.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from harvester.core.errors import HistoryLost
from harvester.core.results import Change
from harvester.storage import layout
from harvester.storage.backends.base import FileInfo
from harvester.storage.derived import derived_files
from harvester.storage.layout import TABLES, Tree
from harvester.storage.state.change_entries import LogPosition, cursor, files_mark, parse_cursor
from harvester.verbs.changes import ChosenChanges, changes_of
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

    def sources(self, table: str) -> frozenset[str]:
        """Return the files that a table is made of. Raises StoreError and UsageError."""
        return self._chosen(table, (file.name for file in self._listed(table)))

    def since(self, table: str, at: str | None, *, again: bool = False) -> News:
        """Return the news of a table since a cursor, None for one that is not known.

        Another table may have read them a while ago, unless they are read ``again``. Raises
        StoreError, and UsageError for a newer version.
        """
        places = parse_cursor(at or "")
        # A cursor has no place of a table without files.
        mark = None if places is None else places.pop(BESIDE, LogPosition())
        read = self._read if again else self._read_once
        entries, behind = read("" if places is None else cursor(places))
        changed: frozenset[str] | None = None
        of_table = entries or []
        if table in TABLES:
            now = LogPosition(0, files_mark(self._listed(table)))
            behind = cursor({BESIDE: now, **(parse_cursor(behind) or {})})
            if entries is not None and mark == now:
                changed = frozenset()
        elif entries is not None:
            of_table = [entry for entry in entries if entry.dataset == table]
            changed = self._chosen(table, (entry.path for entry in of_table))
        # Rows may have been deleted in what is not known of the history.
        erases = entries is None or any(map(_erases, of_table))
        return News(changed, behind, erases, len(entries or ()))

    def _read(self, at: str) -> tuple[list[Change] | None, str]:
        """Return the changes since a cursor, None for one that is not known, and the next one."""
        try:
            return changes_of(self._tree, at)
        except HistoryLost as lost:
            return None, lost.cursor

    def _listed(self, table: str) -> Iterable[FileInfo]:
        if table in TABLES:
            return derived_files.files(self._tree, table)
        return layout.partitions(self._tree, table).values()

    def _chosen(self, table: str, names: Iterable[str]) -> frozenset[str]:
        """Return the sources of chosen months, and the sources that belong to no month."""
        first, last = self._months
        sources = (name.removeprefix(f"{table}/") for name in names)
        return frozenset(x for x in sources if not month_of(x) or first <= month_of(x) <= last)


def _erases(entry: Change) -> bool:
    """Return whether a change is of rows that were deleted for good.

    A file is deleted with its last account. `rewrite` and `verify --repair` delete files too, and
    count no rows, because those are in other files or fetched again.
    """
    return entry.op != "replaced" and entry.rows_before > 0

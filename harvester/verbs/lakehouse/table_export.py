"""Export of one table: what changed is copied, and one commit puts it into the table."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple

from harvester.core.errors import LostRace, UsageError
from harvester.core.text.inert_text import inert
from harvester.storage.backends.base import META_DIR, read_bytes
from harvester.storage.derived import derived_files
from harvester.storage.layout import ACCOUNTS, CODES, RUN_ROWS, TABLES, Tree
from harvester.verbs.changes import ChosenChanges
from harvester.verbs.lakehouse.copies import Copies, values_in
from harvester.verbs.lakehouse.formats import Lakehouse
from harvester.verbs.lakehouse.news import Feed
from harvester.verbs.lakehouse.plan import removed, scope_of
from harvester.verbs.lakehouse.tables import Copy, LakeTable, Swap, TableState

_OWNER = f"{META_DIR}/owner"
"""File at the place of tables that says whose they are: format and schema."""

_MAX_BEHIND = 200
"""Entries of the feed after which a table that did not change commits its cursor alone."""

_MAX_ROUNDS = 10
"""Times that changed files are copied before a commit, while a run goes on publishing."""


class ExportedTable(NamedTuple):
    """A table after an export: its newest version, and the files that were added and removed.

    ``rows`` is the number of rows that were added. ``holding`` names snapshots that can be read
    and hold rows that were deleted for good.
    """

    name: str
    version: str
    added: int
    removed: int
    rows: int
    holding: list[str]


_NOTHING = Swap((), (), "", "", erases=False)


class TableExport(NamedTuple):
    """Export of tables of ``source`` into ``lake``, whose files are in ``target``.

    ``selection`` names what is ``chosen`` of the rows, in a table's property. ``owner`` is the
    format and the schema of all tables there.
    """

    source: Tree
    target: Tree
    lake: Lakehouse
    chosen: ChosenChanges
    selection: str
    feed: Feed
    owner: str

    def run(self, table: LakeTable, *, expire: bool) -> ExportedTable | None:
        """Bring a table up to date; None if there is neither a table nor a file of it."""
        state, sources = self.lake.state(table), self.feed.sources(table.name)
        if state is None:
            if not sources:
                return None
            self._claim()
        known = state or TableState("", {}, (), None, self.selection, has_erased=False)
        if known.selection != self.selection:
            where = self.target.store.display_path(table.name)
            advice = "name the same --accounts, --begin-date and --end-date, or another place"
            raise UsageError(f"{where}: the table was made of other accounts or days", advice)
        version, done = known.version, _NOTHING
        folder = Copies(self.source.store, self.target.store, table.name, self.chosen)
        if swap := self._swap(table, known, sources, folder):
            folder.commit([copy.name for copy in swap.added], known.version)
            self.target.hold.check()
            version, done = self.lake.commit(table, state, swap), swap
        added = {copy.name for copy in done.added}
        folder.end(known.files.keys() - {*done.removed} | added, known.version)
        if expire:
            self.target.hold.check()
            self.lake.expire(table)
            # An expiry may make a newer version, and it removes that of the commit.
            version = (self.lake.state(table) or known).version
        rows = sum(copy.rows for copy in done.added)
        holding = self.lake.holding(table) if known.has_erased or done.erases else []
        return ExportedTable(table.name, version, len(added), len(done.removed), rows, holding)

    def _swap(
        self, table: LakeTable, known: TableState, sources: Collection[str], folder: Copies
    ) -> Swap | None:
        """Copy what changed since the last commit of a table; None if nothing did."""
        files, news = known.files, self.feed.since(table.name, known.cursor)
        changed, erases = news.changed, news.erases
        scope = scope_of(files, sources, changed)
        # Older snapshots of a dataset may have rows that the newest had lost before they were
        # deleted for good. Of chosen accounts only a removed file tells, as the feed names none.
        is_enough = known.version != "" and table.name not in TABLES and not self.selection
        if not (any(scope) or (erases and is_enough)) and news.many < _MAX_BEHIND:
            return None
        folder.begin(files, known.version)
        copies, waiting = dict[str, Copy | None](), scope.sources
        for _ in range(_MAX_ROUNDS):
            copies |= {name: folder.copy(name) for name in sorted(waiting)}
            # A run may have replaced files since the first was copied.
            news = self.feed.since(table.name, news.cursor, again=True)
            if news.changed == frozenset():
                break
            changed = None if changed is None or news.changed is None else changed | news.changed
            scope = scope_of(files, self.feed.sources(table.name), changed)
            waiting = scope.sources - copies.keys() | (news.changed or scope.sources)
            erases = erases or news.erases
        else:
            where = self.source.store.display_path(table.name)
            raise LostRace(f"{where}: files are replaced faster than they are copied", "run again")
        made = [copy for copy in copies.values() if copy is not None]
        gone = removed(files, scope, {copy.name for copy in made})
        added = [copy for copy in made if copy.name not in files]
        # The feed tells of the files of datasets alone.
        erases = erases and "appid" in table.schema.names
        erases = erases or self._has_forgotten(table.name, gone)
        return Swap(added, gone, news.cursor, self.selection, erases and (is_enough or bool(gone)))

    def _claim(self) -> None:
        """Keep the place for one owner. Raises UsageError if it has the tables of another owner.

        An expiry removes each file below the folder of a table that this very table does not need.
        """
        store, mine = self.target.store, self.owner.encode()
        if (found := read_bytes(store, _OWNER)) is None:
            store.put(_OWNER, mine)
        elif found != mine:
            what = f"{store.display_path()}: has tables of {inert(found.decode(errors='replace'))}"
            raise UsageError(what, "name another place")

    def _has_forgotten(self, table: str, names: Iterable[str]) -> bool:
        """Return whether files of a table beside the datasets name accounts that were forgotten.

        Some accounts never had a row in a dataset, and those in labels of runs may be of others.
        """
        if table == CODES or table not in TABLES:
            return False
        about, column = (table, "labels") if table == RUN_ROWS else (ACCOUNTS, "appid")
        now = (file.name for file in derived_files.files(self.source.store, about))
        named = (self.lake.stored(table, name) for name in names)
        before = values_in(self.target.store, named, column)
        return not before <= values_in(self.source.store, now, column)

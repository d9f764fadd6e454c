"""Export of one table: what changed is copied, and one commit puts it into the table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from harvester.core.errors import LostRace, UsageError
from harvester.storage.derived import derived_files
from harvester.storage.layout import ACCOUNTS, COVERAGE, Tree
from harvester.verbs.changes import ChosenChanges
from harvester.verbs.lakehouse.copies import Copier, Journal, accounts_in
from harvester.verbs.lakehouse.news import Feed
from harvester.verbs.lakehouse.plan import removed, scope_of
from harvester.verbs.lakehouse.tables import Copy, Lakehouse, LakeTable, Swap, TableState

_MAX_BEHIND = 200
"""Entries of the feed after which a table that did not change commits its cursor alone."""

_MAX_ROUNDS = 10
"""Times that changed files are copied before a commit, while a run goes on publishing."""


class ExportedTable(NamedTuple):
    """A table after an export: its newest version, and the files that were added and removed.

    ``rows`` are those of the added files. ``holding`` names the snapshots that can still be read
    and hold rows that were deleted for good.
    """

    name: str
    version: str
    added: int
    removed: int
    rows: int
    holding: list[str]


@dataclass(frozen=True, slots=True)
class TableExport:
    """Export of tables of ``source`` into ``lake``, whose files are in ``target``.

    ``selection`` names what is ``chosen`` of the rows, in a table's property.
    """

    source: Tree
    target: Tree
    lake: Lakehouse
    chosen: ChosenChanges
    selection: str
    feed: Feed

    def run(self, table: LakeTable, *, expire: bool) -> ExportedTable | None:
        """Bring a table up to date; None if there is neither a table nor a file of it."""
        state = self.lake.state(table)
        if state is not None and state.selection != self.selection:
            where = self.target.store.display_path(table.name)
            raise UsageError(
                f"{where}: the table was made of other accounts or days",
                "name the same --accounts, --begin-date and --end-date, or another place",
            )
        swap = self._swap(table, state)
        if swap is None and state is None:
            return None
        version, files = _version(state), {*state.files} if state else set[str]()
        journal = Journal(self.target.store, table.name)
        if swap is not None:
            added = {copy.name for copy in swap.added}
            journal.commit(added, version)
            self.target.hold.check()
            version = self.lake.commit(table, state, swap)
            files = files - {*swap.removed} | added
        journal.end(files, _version(state))
        if expire:
            self.target.hold.check()
            self.lake.expire(table)
        done = swap or Swap((), (), "", "", erases=False)
        rows = sum(copy.rows for copy in done.added)
        holding = self.lake.holding(table)
        return ExportedTable(table.name, version, len(done.added), len(done.removed), rows, holding)

    def _swap(self, table: LakeTable, state: TableState | None) -> Swap | None:
        """Copy what changed since the last commit of a table; None if nothing did."""
        files: Mapping[str, str] = {} if state is None else state.files
        if state is None and not self.feed.sources(table.name):
            return None
        news = self.feed.since(table.name, None if state is None else state.cursor)
        changed, erases = news.changed, news.erases
        scope = scope_of(files, self.feed.sources(table.name), changed)
        if not (scope.sources or scope.months) and (state is None or news.many < _MAX_BEHIND):
            return None
        Journal(self.target.store, table.name).begin(files, _version(state))
        copier = Copier(self.source.store, self.target.store, table.name, self.chosen)
        copies, waiting = dict[str, Copy | None](), scope.sources
        for _ in range(_MAX_ROUNDS):
            copies |= {name: copier.copy(name) for name in sorted(waiting)}
            # A run may have replaced files since the first was copied.
            news = self.feed.since(table.name, news.cursor, again=True)
            if news.changed == frozenset():
                break
            is_known = changed is not None and news.changed is not None
            changed = (changed or frozenset()) | (news.changed or frozenset()) if is_known else None
            scope = scope_of(files, self.feed.sources(table.name), changed)
            waiting = scope.sources - copies.keys() | (news.changed or scope.sources)
            erases = erases or news.erases
        else:
            where = self.source.store.display_path(table.name)
            raise LostRace(f"{where}: files are replaced faster than they are copied", "run again")
        made = [copy for copy in copies.values() if copy is not None]
        gone = removed(files, scope, {copy.name for copy in made})
        added = [copy for copy in made if copy.name not in files]
        erases = erases or self._has_forgotten(table.name, gone)
        # Runs and codes name no account.
        erases = erases and bool(gone) and "appid" in table.schema.names
        return Swap(added, gone, news.cursor, self.selection, erases)

    def _has_forgotten(self, table: str, names: Iterable[str]) -> bool:
        """Return whether files of a table beside the datasets name accounts that were forgotten.

        The feed tells of the files of datasets alone, in which some accounts never had a row.
        """
        if table not in (ACCOUNTS, COVERAGE):
            return False
        known = (file.name for file in derived_files.files(self.source.store, ACCOUNTS))
        named = accounts_in(self.target.store, (f"{table}/{name}" for name in names))
        return not named <= accounts_in(self.source.store, known)


def _version(state: TableState | None) -> str:
    return "" if state is None else state.version

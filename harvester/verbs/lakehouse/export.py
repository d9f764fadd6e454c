"""`export`: the output as tables of a lakehouse. Reads the output, and writes beside it alone.

Each table follows the change feed from the cursor in its own newest commit, so an export that was
killed is repeated, and each change is in one snapshot.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

from harvester.core.config.settings import Output
from harvester.core.errors import LostRace, UsageError
from harvester.core.text.inert_text import inert
from harvester.manifest.narrowing import ALL, Selection
from harvester.manifest.option_values import place_named
from harvester.runs.run_log import locked, new_run_log
from harvester.storage import layout
from harvester.storage.backends.base import META_DIR, read_bytes
from harvester.storage.derived import derived_files
from harvester.storage.layout import ACCOUNTS, CHANGES, CODES, RUN_ROWS, TABLES, Tree, open_tree
from harvester.storage.state.change_entries import mark_of, shelves
from harvester.verbs import arguments
from harvester.verbs.changes import ALL_CHANGES, ChosenChanges, chosen_changes
from harvester.verbs.lakehouse.copies import Copies, values_in
from harvester.verbs.lakehouse.formats import Lake, Lakehouse, writer_of
from harvester.verbs.lakehouse.news import BESIDE, Feed
from harvester.verbs.lakehouse.plan import removed, scope_of
from harvester.verbs.lakehouse.tables import Copy, LakeTable, Swap, TableState, lake_tables
from harvester.verbs.project import is_inside, open_harvested
from harvester.verbs.results import VerbResult
from harvester.verbs.sql.script import usable

Format: TypeAlias = Literal["iceberg", "delta", "ducklake"]


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


@dataclass(frozen=True, slots=True, repr=False)
class Exported(VerbResult):
    """The tables that an output has in a lakehouse."""

    place: str
    format: Format
    tables: list[ExportedTable]

    @property
    def holding(self) -> list[ExportedTable]:
        """The tables whose older snapshots hold rows that were deleted for good."""
        return [table for table in self.tables if table.holding]


@arguments.checked
def export(
    uri: str | os.PathLike[str],
    *,
    to: Format,
    output: str | os.PathLike[str],
    catalog: str | None = None,
    warehouse: str | None = None,
    schema: str = "wechat",
    expire: bool = False,
    chosen: Selection = ALL,
    lock_timeout: str | timedelta | None = None,
) -> Exported:
    """Bring tables of a lakehouse below ``uri`` up to date with an output.

    Files are copied, each commit of a table replaces single files, and nothing is written into the
    output. ``catalog`` and ``warehouse`` are where Iceberg and DuckLake keep their tables, in the
    namespace ``schema``. A table has the accounts and the days that it was made with. ``expire``
    removes all snapshots but the newest.

    Raises UsageError, HarvesterError if the library of the format is not installed, Busy if another
    export works there for longer than ``lock_timeout``, LostRace if another writer was faster, and
    StoreError if the output or the tables cannot be read or written.
    """
    space = usable("schema", schema)
    project = open_harvested(None, output, lock_timeout)
    source = project.tree
    part = chosen_changes(project.manifest, chosen, project.clock.started_at)
    place = _beside(project.manifest.output.path, place_named(os.fspath(uri), "uri"))
    target, buckets = open_tree(Output(path=place)), map(source.bucket_label, range(source.buckets))
    labels = {BESIDE, *shelves(source.store.list(CHANGES)), *buckets}
    writer = writer_of(to)
    writer.check(place, catalog, warehouse)
    stream = new_run_log(Path("export"), project.clock, verb="export").stream
    with locked(target, [0], stream, project.lock_timeout) as held:
        # A killed export may have left rows that are deleted for good since.
        layout.clean_temp(held)
        lake = writer(Lake(held.store, place, labels, catalog, warehouse, space, stream.now))
        feed, owner = Feed(source, part), f"{to} in the schema {space}"
        one = TableExport(source, held, lake, part, _selection(part), feed, owner)
        tables = [
            one.run(table, expire=expire)
            for name, table in lake_tables().items()
            if name in TABLES or part.datasets is None or name in part.datasets
        ]
    return Exported(target.store.display_path(), to, [table for table in tables if table])


def _beside(output: Path | str, place: Path | str) -> Path | str:
    """Return the place of the tables as an absolute one. Raises UsageError for an unusable one."""
    if is_inside(place, output):
        raise UsageError(f"{inert(str(place))}: inside of the output", "name a place beside it")
    # Links stay in it, because it is what a catalog keeps.
    whole = place.absolute() if isinstance(place, Path) else place
    # Catalogs and tables are opened by URLs, which end at one and read on behind the other.
    if {"%", "?"}.intersection(str(whole)):
        raise UsageError(f"{inert(str(whole))}: has a `%` or a `?`", "name another place")
    return whole


def _selection(chosen: ChosenChanges) -> str:
    """Return what tells one choice of accounts and days from another; empty for everything."""
    if chosen._replace(datasets=None) == ALL_CHANGES:
        return ""
    appids = None if chosen.appids is None else sorted(chosen.appids)
    return mark_of(json.dumps([appids, chosen.begin_date, chosen.end_date]))


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
        stores = self.source.store, self.target.store
        folder = Copies(*stores, table.name, self.chosen, known.has_own_ids)
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
        now = (file.name for file in derived_files.files(self.source, about))
        named = (self.lake.stored(table, name) for name in names)
        before = values_in(self.target.store, named, column)
        return not before <= values_in(self.source.store, now, column)

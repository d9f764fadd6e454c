"""`export`: the output as tables of a lakehouse. Reads the output, and writes beside it alone.

Each table follows the change feed from the cursor in its own newest commit, so an export that was
killed is repeated, and each change is in one snapshot.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Literal, TypeAlias

from harvester.core.config.settings import Output
from harvester.core.errors import UsageError
from harvester.core.text.inert_text import inert
from harvester.manifest.narrowing import ALL, Selection
from harvester.manifest.option_values import place_named
from harvester.runs.run_log import locked, new_run_log
from harvester.storage import layout
from harvester.storage.layout import CHANGES, TABLES, open_tree
from harvester.storage.state.change_entries import mark_of, shelves
from harvester.verbs import arguments
from harvester.verbs.changes import ALL_CHANGES, ChosenChanges, chosen_changes
from harvester.verbs.lakehouse.formats import Lake, opened
from harvester.verbs.lakehouse.news import BESIDE, Feed
from harvester.verbs.lakehouse.table_export import ExportedTable, TableExport
from harvester.verbs.lakehouse.tables import lake_tables
from harvester.verbs.project import is_inside, open_harvested
from harvester.verbs.results import VerbResult
from harvester.verbs.sql.script import usable

Format: TypeAlias = Literal["iceberg", "delta", "ducklake"]


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
    stream = new_run_log(Path("export"), project.clock, verb="export").stream
    with locked(target, [0], stream, project.lock_timeout) as held:
        # A killed export may have left rows that are deleted for good since.
        layout.clean_temp(held)
        lake = opened(to, Lake(held.store, place, labels, catalog, warehouse, space, stream.now))
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

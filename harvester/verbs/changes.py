"""`changes`: which files were replaced or deleted since a cursor. Reads only."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from functools import lru_cache, reduce
from operator import and_
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from harvester.catalogue import CATALOGUE
from harvester.core import calendar
from harvester.core.calendar import Day
from harvester.core.config.settings import Manifest
from harvester.core.dataset import DATE_COLUMN
from harvester.core.errors import HistoryLost
from harvester.core.model import bucket_of
from harvester.core.results import Change
from harvester.manifest.narrowing import ALL, Selection, meant, narrow
from harvester.runs.clock import CheckedClock
from harvester.storage import layout, partition_reader
from harvester.storage.backends.base import FileInfo
from harvester.storage.layout import Tree
from harvester.storage.state import change_reader
from harvester.storage.state.change_entries import BrokenHistory, LogPosition, cursor, parse_cursor
from harvester.tables import arrow_functions as pc
from harvester.verbs.arguments import ManifestSource, checked
from harvester.verbs.project import open_alone, open_project

_BUCKET = re.compile(r"(\d+)-of-(0*[1-9]\d*)")

FROM_THE_BEGINNING = "begin"
"""Cursor before everything: each file that exists is listed once."""


class ChosenChanges(NamedTuple):
    """Part of an output: some accounts and datasets, None for all of them, and a range of days."""

    appids: frozenset[str] | None = None
    datasets: frozenset[str] | None = None
    begin_date: str = ""
    end_date: str = "9999"

    def part_of(self, change: Change) -> Change | None:
        """Return a change without the days and accounts that are not chosen; None if none is left.

        A deleted or erased file concerns all accounts of its bucket.
        """
        if not self.has_file(change.path):
            return None
        if change.op != "replaced":
            return change
        days = tuple(day for day in change.days if self.begin_date <= day <= self.end_date)
        appids = tuple(x for x in change.appids if self.appids is None or x in self.appids)
        if (self.appids is not None or days != change.days) and not (days and appids):
            return None
        return replace(change, days=days, appids=appids)

    def has_file(self, name: str) -> bool:
        """Return whether a file may have a chosen day of a chosen account, by its name."""
        dataset, _, month = name.rpartition("/")[0].partition("/ref_month=")
        is_of_dataset = self.datasets is None or dataset in self.datasets
        is_of_month = self.begin_date[:7] <= month <= self.end_date[:7]
        is_of_account = self.appids is None
        if self.appids is not None and (place := _BUCKET.fullmatch(layout.label_of(name))):
            is_of_account = int(place[1]) in _buckets_of(self.appids, int(place[2]))
        return is_of_dataset and is_of_month and is_of_account

    def condition(
        self, columns: Sequence[str], first: str = DATE_COLUMN, last: str = DATE_COLUMN
    ) -> pc.Expression | None:
        """Return the condition of a chosen row of a table with these columns; None if all are.

        Its days are those from the column ``first`` to the column ``last``. Selected datasets
        choose whole tables, so a table beside the datasets has the rows of all of them.
        """
        parts = list[pc.Expression]()
        if self.appids is not None and "appid" in columns:
            # Of no account at all the type would be unknown.
            parts.append(pc.field("appid").isin(pa.array(sorted(self.appids), pa.string())))
        if first in columns and self.begin_date:
            parts.append(pc.field(last) >= date.fromisoformat(self.begin_date))
        if first in columns and self.end_date != ALL_CHANGES.end_date:
            parts.append(pc.field(first) <= date.fromisoformat(self.end_date))
        return reduce(and_, parts) if parts else None


@lru_cache(8)
def _buckets_of(appids: frozenset[str], buckets: int) -> frozenset[int]:
    # Once for all files, because there may be thousands of both.
    return frozenset(bucket_of(appid, buckets) for appid in appids)


def day_bounds(begin: Day | None, end: Day | None) -> tuple[str, str]:
    """Return the first and the last day of a choice; None is no limit."""
    first = "" if begin is None else calendar.day_text(begin)
    return first, "9999" if end is None else calendar.day_text(end)


ALL_CHANGES = ChosenChanges()
"""The whole feed."""


@checked
def changes(
    manifest: ManifestSource | None,
    *,
    since: str | None = None,
    chosen: Selection = ALL,
    output: str | os.PathLike[str] | None = None,
) -> tuple[list[Change], str]:
    """Return the changes since a cursor, and the next cursor. Creates nothing.

    Without a manifest, accounts and jobs are those that the last runs kept in ``output``. One that
    does not exist yet has no changes. Raises UsageError for words that match nothing and for an
    unfinished rewrite, and as `changes_of`.
    """
    if manifest is None and not (chosen.accounts or chosen.jobs):
        # A follower asks often: kept manifests take a second to read, and one may be damaged.
        place, tree = open_alone(output)
        now, known = CheckedClock().started_at, Manifest(Path(), (), (), place, dict(CATALOGUE))
    else:
        project = open_project(manifest, output=output, authorised="optional", may_be_new=True)
        now, known, tree = project.clock.started_at, project.manifest, project.tree
    return changes_of(tree, since, chosen_changes(known, chosen, now))


def changes_of(
    tree: Tree, since: str | None = None, chosen: ChosenChanges = ALL_CHANGES
) -> tuple[list[Change], str]:
    """Return the changes of a tree since a cursor, and the next cursor.

    Without a cursor, or with ``begin``, all files that exist are listed. Changes of a bucket are in
    the order in which they became durable; each is returned at least once to a reader that keeps
    the cursors. Raises HistoryLost for a cursor of another tree or of dropped history, StoreError,
    and UsageError for a file of a newer version.
    """
    if since is None or since == FROM_THE_BEGINNING:
        positions, files = change_reader.ends(tree)
        return _chosen(_present(tree, positions, files), chosen), cursor(positions)
    before = parse_cursor(since)
    try:
        if before is None:
            raise BrokenHistory
        news = change_reader.since(tree.store, before)
    except BrokenHistory:
        raise HistoryLost(
            f"{tree.store.display_path()}: the cursor is of another output, or older than the"
            " changes that are kept",
            "read everything once, then go on from the new cursor",
            cursor(change_reader.ends(tree)[0]),
        ) from None
    return _chosen((entry.change() for entry in news.entries), chosen), cursor(news.positions)


def _chosen(found: Iterable[Change], chosen: ChosenChanges) -> list[Change]:
    return [part for change in found if (part := chosen.part_of(change)) is not None]


def _present(
    tree: Tree, positions: Mapping[str, LogPosition], files: list[FileInfo]
) -> Iterator[Change]:
    """Yield every data file as a change from nothing."""
    footers = partition_reader.rows_and_footers(tree.store, files)
    for file, found in zip(files, footers, strict=True):
        if found is not None:
            rows, known = found[0], found[1].coverage
            days, appids = known.filled()
            yield Change(
                seq=positions.get(layout.label_of(file.name), LogPosition()).seq,
                dataset=file.name.partition("/")[0],
                ref_month=calendar.month_text(known.month),
                path=file.name,
                days=tuple(map(calendar.day_text, calendar.each_day(days))),
                appids=tuple(appids),
                rows_after=rows,
            )


def chosen_changes(manifest: Manifest, selection: Selection, now: float) -> ChosenChanges:
    """Return what a selection chooses. Raises UsageError."""
    accounts = selection.accounts if "all" not in selection.accounts else ()
    appids, datasets = meant(manifest, accounts, selection.datasets)
    if selection.jobs:
        jobs = narrow(manifest, selection, now).jobs
        appids = frozenset(appid for job in jobs for appid in job.appids)
        datasets = frozenset(name for job in jobs for name in job.datasets)
    return ChosenChanges(
        appids if accounts or selection.jobs else None,
        datasets if selection.datasets or selection.jobs else None,
        *day_bounds(*selection.days(now)),
    )

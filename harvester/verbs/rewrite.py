"""`rewrite`: a new tree from an old one, with other buckets or the columns of this version.

Every file of the new tree is complete or missing, and a journal in it says which months are done
from which files of the old tree, so a killed rewrite continues when it is repeated. The old tree
only changes by publishing its raw log.
"""

from __future__ import annotations

import functools
import heapq
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from math import gcd
from operator import itemgetter
from pathlib import Path

import pyarrow as pa

from harvester.core import calendar
from harvester.core.calendar import Month
from harvester.core.config.settings import Output
from harvester.core.dataset import Dataset
from harvester.core.errors import UsageError
from harvester.core.model import bucket_of
from harvester.core.text.inert_text import inert
from harvester.manifest.option_values import place_named, spelled
from harvester.runs.run_log import RunLog, locked, new_run_log, recorded
from harvester.storage import layout, partition_reader, partition_writer, publish
from harvester.storage.backends.base import META_DIR, FileInfo
from harvester.storage.footer import Footer
from harvester.storage.layout import Partition, Tree, open_tree
from harvester.storage.partition_reader import DataFile
from harvester.storage.partition_writer import NewFile
from harvester.storage.publication import Published
from harvester.storage.state import rewrite_journal
from harvester.tables import coverage, row_groups, schema_upgrade
from harvester.tables.columns import arrow_schema
from harvester.tables.coverage import Coverage
from harvester.verbs import tree_copy
from harvester.verbs.arguments import ManifestSource, checked
from harvester.verbs.project import is_inside, open_harvested
from harvester.verbs.results import VerbResult

BATCH_ROWS = 16_384
"""Rows of each old file that are in memory at once."""

MAX_BUCKETS = 9_999
"""Maximum number of buckets that a manifest may name."""


@dataclass(frozen=True, slots=True, repr=False)
class NewTree(VerbResult):
    """The new tree: its place and contents; ``kept`` counts the files that an earlier try made."""

    path: str
    buckets: int
    files: int
    kept: int
    rows: int


@dataclass(frozen=True, slots=True)
class _Rewriting:
    """The rewrite of one dataset; ``old`` has its old files by month."""

    source: Tree
    target: Tree
    dataset: Dataset
    old: Mapping[Month, Mapping[Partition, FileInfo]]

    def versions(self, month: Month) -> dict[str, str]:
        """Return the versions of the old files of a month, by name."""
        return {self.source.name(part): found.version for part, found in self.old[month].items()}


@checked
def rewrite(
    manifest: ManifestSource,
    *,
    to: str | os.PathLike[str],
    buckets: int | None = None,
    output: str | os.PathLike[str] | None = None,
    lock_timeout: str | timedelta | None = None,
) -> NewTree:
    """Make a new tree at the place ``to``, with ``buckets`` buckets or as many as the old one has.

    Raises UsageError for an unusable place and for a bad number of buckets, Busy if a run
    is at work in either tree for longer than ``lock_timeout``, LeaseLost once it may be, and as
    `rewrite_tree`.
    """
    project = open_harvested(manifest, output, lock_timeout)
    old, clock, file = project.tree, project.clock, project.manifest.file
    new = open_tree(_place(project.manifest.output, os.fspath(to), buckets))
    timeout = project.lock_timeout
    old_log, new_log = (new_run_log(file, clock, verb="rewrite") for _ in range(2))
    with (
        locked(old, range(old.buckets), new_log.stream, timeout) as old,
        locked(new, range(new.buckets), new_log.stream, timeout) as new,
    ):
        made = rewrite_tree(old, new, project.manifest.datasets, old=old_log, new=new_log)
        # A run may have changed the old tree meanwhile; repeated, the rewrite notices that.
        old.hold.check()
        new.hold.check()
        return made


def _place(old: Output, to: str, buckets: int | None) -> Output:
    """Return the output of the new tree, which must not overlap with the old one."""
    if "${" in to:
        problem = f"{inert(to)}: a manifest would fill in what ${{…}} means"
        raise UsageError(problem, "name another place")
    if buckets is not None and not 1 <= buckets <= MAX_BUCKETS:
        problem = f"{spelled('buckets')} {buckets}: must be from 1 to {MAX_BUCKETS:,}"
        raise UsageError(problem, "look at `harvester plan`")
    new = replace(old, path=place_named(to), buckets=buckets or old.buckets, must_exist=False)
    if is_inside(new.path, old.path) or is_inside(old.path, new.path):
        raise UsageError(
            f"{inert(to)}: inside of {inert(str(old.path))}, or around it", "name a place beside it"
        )
    return new


def rewrite_tree(
    source: Tree, target: Tree, datasets: Mapping[str, Dataset], *, old: RunLog, new: RunLog
) -> NewTree:
    """Fill the new tree, or complete it; all locks of both trees must be held.

    ``old`` records what is published in the old tree, ``new`` what is made in the new one. Raises
    UsageError for a target with other contents, for one that was finished before the source
    changed, and for files of a newer version or another number of buckets; StoreError if a tree
    cannot be read or written.
    """
    finished = _is_finished(source, target, datasets)
    # Of both trees before the first change in either, so that a refusal leaves both as they were.
    for tree in (source, target):
        partition_reader.refuse_newer(tree, datasets, range(tree.buckets))
    for tree in (source, target):
        layout.clean_temp(tree)
    with recorded(old):
        old.open(source, list(range(source.buckets)))
        buckets, clock = range(source.buckets), old.stream.now
        publish.recover(source, datasets, buckets, old.record_published, now=clock)
    rewritings = [_rewriting(source, target, dataset) for dataset in datasets.values()]
    if finished:
        # It may have had runs since: it is compared with the source, and never changed.
        for each in rewritings:
            _refuse_changed(each)
        return _summed(target, datasets)
    begun = {"from": _identity(source), "buckets": target.buckets, "finished": False}
    # Before any file of data: from now on every verb but this one refuses the new tree.
    rewrite_journal.write(target, begun)
    with recorded(new):
        tree_copy.copy_side_files(source, target)
        tree_copy.copy_tables(source, target)
        new.open(target, list(range(target.buckets)), is_new=True)
        kept = sum([_make_dataset(each, new) for each in rewritings])
        tree_copy.retire_former_names(source, target, datasets, new)
    rewrite_journal.write(target, {**begun, "finished": True})
    return replace(_summed(target, datasets), kept=kept)


def _rewriting(source: Tree, target: Tree, dataset: Dataset) -> _Rewriting:
    old: dict[Month, dict[Partition, FileInfo]] = {}
    for partition, file in layout.partitions(source, dataset.name).items():
        old.setdefault(partition.month, {})[partition] = file
    return _Rewriting(source, target, dataset, old)


def _summed(target: Tree, datasets: Iterable[str]) -> NewTree:
    """Return what the journal says of a finished tree, as if an earlier try had made all of it."""
    months = (each for name in datasets for each in rewrite_journal.months(target, name).values())
    rows = [count for month in months for count in month.files.values()]
    return NewTree(target.store.display_path(), target.buckets, len(rows), len(rows), sum(rows))


def _is_finished(source: Tree, target: Tree, datasets: Mapping[str, Dataset]) -> bool:
    """Return whether the target was finished. Raises UsageError if it cannot be continued."""
    found, place = rewrite_journal.read(target), target.store.display_path()
    new = f"name a new place for {spelled('to')}"
    if found is None:
        if _is_inhabited(target, datasets):
            raise UsageError(f"{place}: there is an output already", new)
        return False
    origin, buckets = found.get("from"), found.get("buckets", target.buckets)
    if origin != _identity(source):
        raise UsageError(f"{place}: made of {inert(str(origin)[:1000])}", new)
    if buckets != target.buckets:
        count = inert(str(buckets)[:100])
        raise UsageError(
            f"{place}: made with {spelled('buckets')} {count}, not {target.buckets}",
            f"say {spelled('buckets')} {count}, or {new}",
        )
    return bool(found.get("finished"))


def _identity(tree: Tree) -> str:
    """Return the absolute place of a tree: a relative one depends on the current folder."""
    where = tree.store.display_path()
    return where if "://" in where else str(Path(where).resolve())


def _is_inhabited(target: Tree, datasets: Mapping[str, Dataset]) -> bool:
    """Return whether a tree has anything but locks: data, or other side files."""
    ours = (found.name for found in target.store.list(META_DIR))
    return any(not name.startswith(f"{META_DIR}/locks/") for name in ours) or any(
        target.store.list(folder) for folder in datasets
    )


def _make_dataset(rewriting: _Rewriting, run_log: RunLog) -> int:
    """Make the files of a dataset, newest month first; return how many an earlier try had made."""
    target, name = rewriting.target, rewriting.dataset.name
    versions = {calendar.month_text(month): rewriting.versions(month) for month in rewriting.old}
    journal = rewrite_journal.months(target, name)
    # By their versions, because a run or `forget` may have changed the source since.
    done = {key: each for key, each in journal.items() if each.of == versions.get(key)}
    kept = sum(len(each.files) for each in done.values())
    if done != journal:
        rewrite_journal.write_months(target, name, done)
    for month in rewriting.old:
        key = calendar.month_text(month)
        if key not in done:
            done[key] = rewrite_journal.DoneMonth(versions[key], _make_month(rewriting, month))
            # After each month, because a year of a large dataset may take an hour.
            rewrite_journal.write_months(target, name, done)
    rows = {path: count for each in done.values() for path, count in each.files.items()}
    _record_made(rewriting, rows, run_log)
    return kept


def _refuse_changed(rewriting: _Rewriting) -> None:
    """Raise UsageError if a month of the source changed since the target was finished."""
    name = rewriting.dataset.name
    then = {key: each.of for key, each in rewrite_journal.months(rewriting.target, name).items()}
    now = {calendar.month_text(month): rewriting.versions(month) for month in rewriting.old}
    for month in {**now, **then}:
        if now.get(month) != then.get(month):
            raise UsageError(
                f"{rewriting.source.store.display_path()}: {name} of {month} changed since the new"
                " tree was finished",
                f"switch to the new tree, or name another place for {spelled('to')}",
            )


def _record_made(rewriting: _Rewriting, rows: Mapping[str, int], run_log: RunLog) -> None:
    """Record the files of a dataset, also those of an earlier try: the history has begun anew.

    Files that are not among ``rows`` are removed.
    """
    tree, name = rewriting.target, rewriting.dataset.name
    found = layout.partitions(tree, name)
    # A killed rewrite made them of rows which `forget` has deleted since.
    for other in [partition for partition, file in found.items() if file.name not in rows]:
        tree.store.delete(found.pop(other).name)
    footers = partition_reader.footers(tree.store, found.values())
    for (partition, file), footer in zip(found.items(), footers, strict=True):
        days, appids = footer.coverage.filled() if footer else (calendar.NO_DAYS, [])
        # With as many buckets the name stood in the copied history already, with these rows.
        before = rows[file.name] if rewriting.source.buckets == tree.buckets else 0
        item = Published(name, partition.month, file.name, before, rows[file.name])
        run_log.record_published(replace(item, changed_days=days, changed_appids={*appids}))


def _make_month(rewriting: _Rewriting, month: Month) -> dict[str, int]:
    """Make the new files of a month, and return their rows by name."""
    step = gcd(rewriting.source.buckets, rewriting.target.buckets)
    made: dict[str, int] = {}
    for bucket in range(rewriting.target.buckets):
        partition = Partition(rewriting.dataset.name, month, bucket)
        # A bucket is a remainder: two numbers of buckets agree on it modulo their divisor.
        parts = [part for part in rewriting.old[month] if (part.bucket - bucket) % step == 0]
        rows = _make_file(rewriting, partition, parts)
        if rows is not None:
            made[rewriting.target.name(partition)] = rows
    return made


def _make_file(rewriting: _Rewriting, partition: Partition, parts: list[Partition]) -> int | None:
    """Make one file and return its rows; None if the old files know none of its accounts."""
    source, target = rewriting.source, rewriting.target
    schema = arrow_schema(rewriting.dataset)

    @functools.cache
    def is_mine(appid: str) -> bool:
        return bucket_of(appid, target.buckets) == partition.bucket

    with ExitStack() as stack:
        opened = [
            stack.enter_context(
                partition_reader.opened(source.store, source.name(part), older=True)
            )
            for part in parts
        ]
        stored = [each for each in opened if each is not None]
        known = _coverage(partition.month, stored, is_mine)
        if not known.appids:
            return None
        slices = (row_groups.account_slices(_batches(each, rewriting.dataset)) for each in stored)
        # Each old file is in the order of its appids, and no account is in two of them.
        mine = (filter(lambda item: is_mine(item[0]), of_file) for of_file in slices)
        pieces = (piece for _, piece in heapq.merge(*mine, key=itemgetter(0)))
        tables = row_groups.into_row_groups(schema, pieces)
        name = target.name(partition)
        # An earlier try may have made the file of rows that are other ones now.
        there = target.store.get(name, 1)
        draft = NewFile(target.store, name, rewriting.dataset, there and there.version)
        return partition_writer.write(draft, tables, lambda: Footer(known, {}))


def _coverage(month: Month, stored: list[DataFile], is_mine: Callable[[str], bool]) -> Coverage:
    """Collect the coverage of the new file's accounts from the old files."""
    every = (each.footer.coverage for each in stored)
    accounts = {x: known.account(x) for known in every for x in known.appids if is_mine(x)}
    return coverage.of_accounts(month, accounts)


def _batches(stored: DataFile, dataset: Dataset) -> Iterator[pa.RecordBatch]:
    """Read the rows of an old file in the columns of this version."""
    if not stored.is_older:
        return stored.batches(arrow_schema(dataset), BATCH_ROWS)
    old = stored.batches(None, BATCH_ROWS)
    return (schema_upgrade.upgraded(batch, dataset) for batch in old)

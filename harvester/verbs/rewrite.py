"""`rewrite`: a new tree from an old one, with other buckets or the columns of this version.

A journal in the new tree says whether it is finished. A killed rewrite begins anew when it is
repeated. The old tree only changes by publishing its raw log.
"""

from __future__ import annotations

import heapq
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import chain, groupby
from math import gcd
from operator import attrgetter, itemgetter
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from harvester.core.calendar import Month
from harvester.core.config.settings import Output
from harvester.core.dataset import Dataset
from harvester.core.errors import DamagedOutput, UsageError
from harvester.core.model import Partition, bucket_of
from harvester.core.text.inert_text import inert
from harvester.manifest.option_values import place_named, spelled
from harvester.runs.record.run_record import feed_entry
from harvester.runs.run_log import RunLog, locked, new_run_log, recorded
from harvester.storage import footer_index, layout, partition_reader, partition_writer, publish
from harvester.storage.backends.base import LOCKS, META_DIR, FileInfo, read_bytes
from harvester.storage.derived import derived_files
from harvester.storage.footer import Footer
from harvester.storage.layout import ACCOUNTS, COVERAGE, TABLES, Tree, open_tree
from harvester.storage.partition_reader import DataFile
from harvester.storage.partition_writer import NewFile
from harvester.storage.publication import Published
from harvester.storage.state import rewrite_journal
from harvester.storage.state.change_log import ChangeLog
from harvester.tables import coverage, row_groups, schema_upgrade
from harvester.tables.columns import arrow_schema
from harvester.tables.coverage import Coverage
from harvester.verbs.arguments import ManifestSource, checked
from harvester.verbs.erasure import MAX_BYTES, refuse_long
from harvester.verbs.project import is_inside, open_harvested
from harvester.verbs.results import VerbResult

BATCH_ROWS = 16_384
"""Rows of each old file that are in memory at once."""

MAX_BUCKETS = 9_999
"""Maximum number of buckets that a manifest may name."""

_LEFT_OUT = (layout.RAW, layout.INDEX, layout.DERIVED, layout.VIEWS, LOCKS, rewrite_journal.JOURNAL)
"""Beginnings of the names of side files that the new tree makes for itself."""


@dataclass(frozen=True, slots=True, repr=False)
class NewTree(VerbResult):
    """The new tree: its place and contents."""

    path: str
    buckets: int
    files: int
    rows: int


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
        return rewrite_tree(old, new, project.manifest.datasets, old=old_log, new=new_log)


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
        problem = f"{inert(to)}: inside of {inert(str(old.path))}, or around it"
        raise UsageError(problem, "name a place beside it")
    return new


def rewrite_tree(
    source: Tree, target: Tree, datasets: Mapping[str, Dataset], *, old: RunLog, new: RunLog
) -> NewTree:
    """Fill the new tree; all locks of both trees must be held.

    ``old`` records what is published in the old tree, ``new`` what is made in the new one. Raises
    UsageError for a target with other contents, for one that is finished, and for files of a newer
    version or another number of buckets; StoreError if a tree cannot be read or written.
    """
    _refuse_used(source, target, datasets)
    # Of both trees before the first change in either, so that a refusal leaves both as they were.
    for tree in (source, target):
        partition_reader.refuse_newer(tree, datasets, range(tree.buckets))
    layout.clean_temp(target)
    with recorded(old):
        old.open(source, list(range(source.buckets)))
        buckets, clock = range(source.buckets), old.stream.now
        publish.recover(source, datasets, buckets, old.record_published, now=clock)
    begun = {"from": _identity(source), "buckets": target.buckets, "finished": False}
    # Before any file of data: from now on every verb but this one refuses the new tree.
    rewrite_journal.write(target, begun)
    with recorded(new):
        _clear(target, datasets)
        _copy_side_files(source, target)
        _copy_tables(source, target)
        new.open(target, list(range(target.buckets)), is_new=True)
        made = (_make_dataset(source, target, each, new) for each in datasets.values())
        rows = [file.rows_after for file in chain.from_iterable(made)]
        _retire_former_names(source, target, datasets, new)
        footer_index.renew(target, datasets, range(target.buckets))
    for tree in (source, target):
        # Without its lease another run may have changed the tree meanwhile: then all is made anew.
        tree.hold.check()
    rewrite_journal.write(target, {**begun, "finished": True})
    return NewTree(target.store.display_path(), target.buckets, len(rows), sum(rows))


def _refuse_used(source: Tree, target: Tree, datasets: Mapping[str, Dataset]) -> None:
    """Raise UsageError for a target that is not empty, but for what a killed try has made of it."""
    found, place = rewrite_journal.read(target), target.store.display_path()
    new = f"name a new place for {spelled('to')}"
    if found is None:
        if _is_inhabited(target, datasets):
            raise UsageError(f"{place}: there is an output already", new)
        return
    origin, buckets = found.get("from"), found.get("buckets", target.buckets)
    if origin != _identity(source):
        raise UsageError(f"{place}: made of {inert(str(origin)[:1000])}", new)
    if buckets != target.buckets:
        count = inert(str(buckets)[:100])
        raise UsageError(
            f"{place}: made with {spelled('buckets')} {count}, not {target.buckets}",
            f"say {spelled('buckets')} {count}, or {new}",
        )
    if found.get("finished"):
        raise UsageError(
            f"{place}: an earlier rewrite has made all of it",
            f"switch to it if no command has changed the old output since, or {new}",
        )


def _identity(tree: Tree) -> str:
    """Return the absolute place of a tree: a relative one depends on the current folder."""
    where = tree.store.display_path()
    return where if "://" in where else str(Path(where).resolve())


def _is_inhabited(target: Tree, datasets: Mapping[str, Dataset]) -> bool:
    """Return whether a tree has anything but locks: data, tables, or other side files."""
    ours = (found.name for found in target.store.list(META_DIR))
    return any(not name.startswith(f"{LOCKS}/") for name in ours) or any(
        target.store.list(folder) for folder in (*datasets, *TABLES)
    )


def _make_dataset(
    source: Tree, target: Tree, dataset: Dataset, run_log: RunLog
) -> Iterator[Published]:
    """Make and record the files of a dataset, newest month first; yield what was made."""
    for month, of_month in groupby(layout.partitions(source, dataset.name), attrgetter("month")):
        parts = [*of_month]
        places = [Partition(dataset.name, month, bucket) for bucket in range(target.buckets)]
        files = (_make_file(source, target, dataset, place, parts) for place in places)
        made = [each for each in files if each is not None]
        run_log.record_published(*made)
        yield from made


def _make_file(
    source: Tree, target: Tree, dataset: Dataset, partition: Partition, old: list[Partition]
) -> Published | None:
    """Make a file of the old files of its month; None if these know none of its accounts."""
    schema, name = arrow_schema(dataset), target.name(partition)
    # A bucket is a remainder: two numbers of buckets agree on it modulo their divisor.
    step = gcd(source.buckets, target.buckets)
    parts = [part for part in old if (part.bucket - partition.bucket) % step == 0]

    def is_mine(appid: str) -> bool:
        return bucket_of(appid, target.buckets) == partition.bucket

    files = (partition_reader.opened(source.store, source.name(part), older=True) for part in parts)
    with ExitStack() as stack:
        stored = [each for each in map(stack.enter_context, files) if each is not None]
        known = _coverage(partition.month, stored, is_mine)
        if not known.appids:
            return None
        slices = (row_groups.account_slices(_batches(each, dataset)) for each in stored)
        # Each old file is in the order of its appids, and no account is in two of them.
        mine = (filter(lambda item: is_mine(item[0]), of_file) for of_file in slices)
        pieces = (piece for _, piece in heapq.merge(*mine, key=itemgetter(0)))
        tables = row_groups.into_row_groups(schema, pieces)
        draft = NewFile(target.store, name, dataset)
        rows = partition_writer.write(draft, tables, lambda: Footer(known, {})).rows
    days, appids = known.filled()
    # With as many buckets the name stands in the copied history already, with these rows.
    before = rows if source.buckets == target.buckets else 0
    made = Published(dataset.name, partition.month, name, before, rows)
    return replace(made, changed_days=days, changed_appids={*appids})


def _coverage(month: Month, stored: list[DataFile], is_mine: Callable[[str], bool]) -> Coverage:
    """Collect the coverage of the new file's accounts from the old files."""
    every = (each.footer.coverage for each in stored)
    accounts = {x: known.account(x) for known in every for x in known.appids if is_mine(x)}
    return coverage.of_accounts(month, accounts)


def _batches(stored: DataFile, dataset: Dataset) -> Iterator[pa.RecordBatch]:
    """Read the rows of an old file in the columns of this version."""
    if not stored.is_older:
        return stored.batches(arrow_schema(dataset), BATCH_ROWS)
    return (schema_upgrade.upgraded(x, dataset) for x in stored.batches(None, BATCH_ROWS))


def _clear(target: Tree, datasets: Iterable[str]) -> None:
    """Remove what a killed try has made: it may have accounts that were forgotten since.

    Raises StoreError, and LeaseLost once another command may work in the tree.
    """
    store = target.store
    names = [target.name(part) for name in datasets for part in layout.partitions(target, name)]
    for table in TABLES:
        names += [file.name for file in derived_files.files(target, table)]
    names += [file.name for file in _side_files(target)]
    for name in names:
        # Without its lease another rewrite may be filling the tree.
        target.hold.check()
        store.delete(name)


def _copy_side_files(source: Tree, target: Tree) -> None:
    """Copy change logs, quarantine, run records and other side files.

    Cursors stay valid, because the change logs of the new tree go on from there.
    """
    side_files = _side_files(source)
    refuse_long(source, side_files, MAX_BYTES, "move it away, then run again")
    for found in side_files:
        # None of them is longer than that, so each fits in memory.
        if (data := read_bytes(source.store, found.name, MAX_BYTES)) is not None:
            target.store.put(found.name, data)


def _copy_tables(source: Tree, target: Tree) -> None:
    """Copy `accounts` and `coverage`, in the buckets of the new tree. Raises StoreError.

    They cannot be made anew: they have accounts that no manifest and no file has any more, and of
    those a later `forget` must find what readers of tables still have.
    """
    for table in (ACCOUNTS, COVERAGE):
        by_folder = defaultdict[str, list[pa.Table]](list)
        for file in derived_files.files(source, table):
            # A damaged one is made again by the next run.
            with suppress(DamagedOutput):
                rows = derived_files.read(source.store, file.name)
                by_folder[file.name.rpartition("/")[0]].append(rows)
        for folder, tables in by_folder.items():
            _put_rows(target, folder, pa.concat_tables(tables))


def _put_rows(tree: Tree, folder: str, rows: pa.Table) -> None:
    """Put rows into the files of a folder, by bucket."""
    names = [name for name in ("dataset", "appid", "begin_date") if name in rows.schema.names]
    rows = rows.sort_by([(name, "ascending") for name in names])
    buckets = pa.array([bucket_of(x, tree.buckets) for x in rows["appid"].to_pylist()])
    for bucket in buckets.unique().to_pylist():
        part = f"{folder}/part-{tree.bucket_label(bucket)}.parquet"
        _put_part(tree, part, rows.filter(pc.equal(buckets, bucket)))


def _put_part(tree: Tree, name: str, rows: pa.Table) -> None:
    """Put rows into a file, with a row group for each dataset."""
    datasets = rows["dataset"].unique() if "dataset" in rows.schema.names else []
    pieces = [rows.filter(pc.equal(rows["dataset"], dataset)) for dataset in datasets] or [rows]
    derived_files.replace(tree, name, lambda _: pieces)


def _retire_former_names(source: Tree, target: Tree, datasets: Iterable[str], new: RunLog) -> None:
    """Record that the files of another number of buckets are gone, in the logs of those buckets."""
    if source.buckets == target.buckets:
        return
    # A reader that goes on from an old cursor must hear that the files it knows are not there.
    former = replace(target, buckets=source.buckets)
    log = ChangeLog(former, new.run_id, new.stream.now)
    log.open(map(former.bucket_label, range(former.buckets)), is_new=True)
    for name in datasets:
        for partition in layout.partitions(source, name):
            log.add(feed_entry(Published(*partition[:2], source.name(partition), op="deleted")))
    log.close()


def _side_files(tree: Tree) -> list[FileInfo]:
    """Return the side files that are copied: no raw log, lock, view, temporary file or journal."""
    return [
        file
        for file in tree.store.list(META_DIR)
        if not file.name.startswith(_LEFT_OUT) and not file.name.endswith(".tmp")
    ]

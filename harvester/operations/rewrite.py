"""A fresh tree from an old one, with another number of buckets or today's columns.

Every file of the new tree is whole or is not there, and a journal in it says which months are done
and of which files of the old one: after a kill the next attempt goes on where it stopped. The old
tree only loses what waits in its raw log, which is published there first.
"""

from __future__ import annotations

import functools
import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from math import gcd
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from harvester.core import calendar
from harvester.core.calendar import Month
from harvester.core.config import Output
from harvester.core.dataset import Dataset
from harvester.core.errors import UsageError
from harvester.core.model import bucket_of
from harvester.manifest import place_named
from harvester.operations.record.run_log import RunLog, recorded
from harvester.operations.runtime import Project
from harvester.operations.session import locked, new_books
from harvester.storage import layout, partition_reader, partition_writer, publish
from harvester.storage.backends.base import FileInfo, Version
from harvester.storage.backends.local import META_DIR
from harvester.storage.footer import Footer
from harvester.storage.layout import RAW, RUNS, Partition, Tree, open_tree
from harvester.storage.partition_reader import DataFile
from harvester.storage.partition_writer import NewFile
from harvester.storage.publish import Published
from harvester.storage.state import json_file
from harvester.tables import coverage, row_groups, schema_upgrade
from harvester.tables.columns import Slice, arrow_schema
from harvester.tables.coverage import AccountDays, Coverage

PIECE_ROWS = 16_384
"""So many rows of each old file are held at once."""

JOURNAL = f"{META_DIR}/compact.json"
_MONTHS = f"{META_DIR}/compact"


MOST_BUCKETS = 9_999
"""As many as a manifest may name."""


class NewTree(NamedTuple):
    """The new tree: its place and contents, and how many of its files were there already."""

    path: str
    buckets: int
    files: int
    kept: int
    rows: int


@dataclass(frozen=True, slots=True)
class _Done:
    """A finished month: the versions of the old files, and the rows of the new ones, by name."""

    of: dict[str, str]
    files: dict[str, int]


@dataclass(frozen=True, slots=True)
class _Rewriting:
    """A compaction under way; ``old`` has the files of a dataset by month."""

    source: Tree
    target: Tree
    dataset: Dataset
    old: Mapping[Month, Mapping[Partition, FileInfo]]


def rewrite(project: Project, to: str | None, buckets: int | None = None) -> NewTree:
    """Make a fresh tree at another place, of as many buckets as now unless a number is given.

    Raises UsageError for a place where no such tree can be, Busy if a run is at work in either
    tree, and as `compact`.
    """
    old, clock, file = project.tree, project.clock, project.manifest.file
    new = open_tree(_place(project.manifest.output, to, buckets))
    told, made = new_books(file, clock), new_books(file, clock)
    with (
        locked(old, range(old.buckets), made.summary),
        locked(new, range(new.buckets), made.summary),
    ):
        return compact(old, new, project.manifest.datasets, old=told, new=made)


def _place(old: Output, to: str | None, buckets: int | None) -> Output:
    """Choose the place of the new tree: beside the old one, or either would be part of both."""
    if to is None:
        raise UsageError("--to is missing", "Name a new place for the tree.")
    if "${" in to:
        raise UsageError(f"{to}: a manifest would fill in what ${{…}} means", "name another place")
    if buckets is not None and not 1 <= buckets <= MOST_BUCKETS:
        problem = f"--buckets {buckets}: must be from 1 to {MOST_BUCKETS:,}"
        raise UsageError(problem, "Look at `harvester plan`.")
    new = replace(old, path=place_named(to), buckets=buckets or old.buckets, must_exist=False)
    one, other = (
        PurePosixPath(place.path) if isinstance(place.path, str) else place.path.resolve()
        for place in (old, new)
    )
    if type(one) is type(other) and (one.is_relative_to(other) or other.is_relative_to(one)):
        raise UsageError(f"{to}: inside of {old.path}, or around it", "name a place beside it")
    return new


def compact(
    source: Tree, target: Tree, datasets: Mapping[str, Dataset], *, old: RunLog, new: RunLog
) -> NewTree:
    """Fill the new tree, or what is lacking of it; only for who holds all locks of both.

    What is published in the old tree and made in the new one is told in their books. Raises
    UsageError for a target that holds anything else, or that was finished before the source
    changed, or for files of a newer version; StoreError if either cannot be read or written.
    """
    finished = _finished(source, target, datasets)
    for tree in (source, target):
        publish.refuse_newer(tree, datasets, range(tree.buckets))
    layout.clean_temp(source, range(source.buckets))
    layout.clean_temp(target, range(target.buckets))
    with recorded(old):
        old.open(source, list(range(source.buckets)))
        publish.recover(source, datasets, range(source.buckets), old.record_published)
    if finished:
        return _sum(target, _fill_all(source, target, datasets, None))
    begun = {"from": _identity(source), "buckets": target.buckets, "finished": False}
    _write(target, JOURNAL, begun)
    with recorded(new):
        new.open(target, list(range(target.buckets)))
        made = _sum(target, _fill_all(source, target, datasets, new))
        _copy_the_rest(source, target)
    _write(target, JOURNAL, {**begun, "finished": True})
    return made


class _Made(NamedTuple):
    """Rows of one new file, and whether it was there before."""

    rows: int
    kept: bool


def _sum(target: Tree, made: Iterable[_Made]) -> NewTree:
    files = list(made)
    kept, rows = sum(each.kept for each in files), sum(each.rows for each in files)
    return NewTree(target.store.display_path(), target.buckets, len(files), kept, rows)


def _fill_all(
    source: Tree, target: Tree, datasets: Mapping[str, Dataset], books: RunLog | None
) -> Iterator[_Made]:
    for dataset in datasets.values():
        old = _by_month(layout.partitions(source, dataset.name))
        yield from _fill(_Rewriting(source, target, dataset, old), books)


def refuse_unfinished(tree: Tree) -> None:
    """Raise UsageError for a tree that is not whole yet: what it lacks would be bought again."""
    found = json_file.read(tree.store, JOURNAL, dict[str, Any])
    if found and not found.get("finished"):
        buckets = f" --buckets {found['buckets']}" if "buckets" in found else ""
        raise UsageError(
            f"{tree.store.display_path()}: the compaction that makes this tree is not finished",
            f"repeat it: harvester compact --to {tree.store.display_path()}{buckets}",
        )


def _finished(source: Tree, target: Tree, datasets: Mapping[str, Dataset]) -> bool:
    """Return whether the target was finished. Raises UsageError if it is no place to go on."""
    found = json_file.read(target.store, JOURNAL, dict[str, Any])
    if found is None and _is_inhabited(target, datasets):
        raise UsageError(
            f"{target.store.display_path()}: there is an output already",
            "name a new place for --to",
        )
    if found is None:
        return False
    origin = found.get("from")
    if origin != _identity(source):
        raise UsageError(
            f"{target.store.display_path()}: made of {origin}", "name a new place for --to"
        )
    if found.get("buckets", target.buckets) != target.buckets:
        raise UsageError(
            f"{target.store.display_path()}: made with --buckets {found['buckets']}, "
            f"not {target.buckets}",
            f"say --buckets {found['buckets']}, or name a new place for --to",
        )
    return bool(found.get("finished"))


def _identity(tree: Tree) -> str:
    """Return the absolute place of a tree, because relative ones mean another in another folder."""
    where = tree.store.display_path()
    return where if "://" in where else str(Path(where).resolve())


def _is_inhabited(target: Tree, datasets: Mapping[str, Dataset]) -> bool:
    """Return whether there is anything but our own locks."""
    ours = (found.name for found in target.store.list(META_DIR))
    return any(not name.startswith(f"{META_DIR}/locks/") for name in ours) or any(
        target.store.exists(folder) for folder in datasets
    )


def _by_month(
    old: Mapping[Partition, FileInfo],
) -> dict[Month, dict[Partition, FileInfo]]:
    found: dict[Month, dict[Partition, FileInfo]] = {}
    for partition, file in old.items():
        found.setdefault(partition.month, {})[partition] = file
    return found


def _fill(work: _Rewriting, books: RunLog | None) -> Iterator[_Made]:
    """Make the files of a dataset, newest month first. Without books nothing may be lacking."""
    name = f"{_MONTHS}/{work.dataset.name}.json"
    journal = json_file.read(work.target.store, name, dict[str, _Done]) or {}
    standing: dict[str, _Done] = {}
    for month, parts in work.old.items():
        key = f"{calendar.month_text(month)} of {work.target.buckets}"
        versions = {work.source.name(part): found.version for part, found in parts.items()}
        known = journal.get(key)
        if known is not None and known.of == versions:
            standing[key] = known
            yield from (_Made(rows, kept=True) for rows in known.files.values())
            continue
        if books is None:
            raise _changed(work, calendar.month_text(month))
        rows = _make_month(work, month)
        for path, count in rows.items():
            # For readers of the new tree's changes all of it is new.
            books.record_published(Published(work.dataset.name, month, path, (), (), 0, count))
        standing[key] = journal[key] = _Done(versions, rows)
        _write(work.target, name, journal)
        yield from (_Made(count, kept=False) for count in rows.values())
    if books is not None:
        _remove_others(work, {path for each in standing.values() for path in each.files})
    if journal != standing:
        if books is None:
            raise _changed(work, min(journal.keys() - standing.keys()).partition(" ")[0])
        _write(work.target, name, standing)


def _changed(work: _Rewriting, month: str) -> UsageError:
    return UsageError(
        f"{work.source.store.display_path()}: {work.dataset.name} of {month}"
        " changed since the new tree was finished",
        "switch to the new tree, or name another place for --to",
    )


def _remove_others(work: _Rewriting, standing: set[str]) -> None:
    """Remove what an attempt that was killed had made of rows that `forget` deleted since."""
    for partition in layout.partitions(work.target, work.dataset.name):
        name = work.target.name(partition)
        if name not in standing:
            work.target.store.delete(name)


def _make_month(work: _Rewriting, month: Month) -> dict[str, int]:
    """Make the new files of a month, and count their rows."""
    step = gcd(work.source.buckets, work.target.buckets)
    there = layout.partitions(work.target, work.dataset.name)
    made: dict[str, int] = {}
    for bucket in range(work.target.buckets):
        partition = Partition(work.dataset.name, month, bucket)
        # Two numbers of buckets agree on the remainder by whatever divides both.
        parts = [part for part in work.old[month] if (part.bucket - bucket) % step == 0]
        name = work.target.name(partition)
        over = work.target.store.version(name) if partition in there else None
        rows = _make(work, partition, parts, over)
        if rows is not None:
            made[name] = rows
    return made


def _make(
    work: _Rewriting, partition: Partition, parts: list[Partition], over: Version | None
) -> int | None:
    """Make one file; returns its rows, or None if nothing is known of any of its accounts."""
    source, target = work.source, work.target
    what = f"{partition.dataset}.{calendar.month_text(partition.month)}"
    schema = arrow_schema(work.dataset)

    @functools.cache
    def is_mine(appid: str) -> bool:
        return bucket_of(appid, target.buckets) == partition.bucket

    with ExitStack() as stack:
        opened = [
            stack.enter_context(
                partition_reader.opened(
                    source.store,
                    source.name(part),
                    source.temp(part.bucket, f"{what}.old"),
                    older=True,
                )
            )
            for part in parts
        ]
        stored = [each for each in opened if each is not None]
        known = _known(partition.month, stored, is_mine)
        if not known.appids:
            return None
        mine = (_runs(_rows(each, work.dataset), is_mine) for each in stored)
        pieces = (piece for _, piece in heapq.merge(*mine, key=_appid))
        tables = row_groups.into_row_groups(schema, pieces, row_groups.row_group_rows(schema))
        temp = target.temp(partition.bucket, f"{what}.new")
        draft = NewFile(target.store, temp, target.name(partition), work.dataset, over)
        rows = partition_writer.write(draft, tables, lambda: Footer(known, {}))
    partition_writer.release_memory()
    return rows


def _known(month: Month, stored: list[DataFile], is_mine: Callable[[str], bool]) -> Coverage:
    """Gather what the old files know of the new one's accounts."""
    accounts: dict[str, AccountDays] = {}
    for each in stored:
        known = each.footer.coverage
        accounts |= {appid: known.account(appid) for appid in known.appids if is_mine(appid)}
    return coverage.of_accounts(month, accounts)


def _rows(stored: DataFile, dataset: Dataset) -> Iterator[pa.RecordBatch]:
    """Read the rows of an old file in today's columns."""
    if not stored.is_older:
        return stored.batches(arrow_schema(dataset), PIECE_ROWS)
    old = stored.batches(stored.own_schema(), PIECE_ROWS)
    return (schema_upgrade.upgraded(batch, dataset) for batch in old)


def _runs(
    batches: Iterable[pa.RecordBatch], is_mine: Callable[[str], bool]
) -> Iterator[tuple[str, Slice]]:
    """Yield the rows of a file that belong into the new one, account by account."""
    for batch in batches:
        runs = pc.run_end_encode(batch.column("appid"))
        start = 0
        for appid, end in zip(runs.values.to_pylist(), runs.run_ends.to_pylist(), strict=True):
            if is_mine(appid):
                yield appid, Slice(batch, start, end - start)
            start = end


def _appid(item: tuple[str, Slice]) -> str:
    return item[0]


def _copy_the_rest(source: Tree, target: Tree) -> None:
    """Quarantine, run records and notes, as they are now: what is gone there goes here as well."""
    names = {found.name for found in source.store.list(META_DIR) if _moves_along(found.name)}
    for found in target.store.list(META_DIR):
        # The records of this and earlier attempts are the new tree's own.
        own = found.name.startswith(f"{RUNS}/") or not _moves_along(found.name)
        if not own and found.name not in names:
            target.store.delete(found.name)
    for name in sorted(names):
        data = source.store.read(name)
        if data is not None:
            target.store.write(name, data, target.temp(0, "copy"))


def _moves_along(name: str) -> bool:
    """Return whether a file of ours is copied: no answers, locks, leftovers and journals.

    What a journal tells is told of the old tree, and of the new one all is new.
    """
    passed = (RAW, f"{META_DIR}/locks", JOURNAL, f"{_MONTHS}/")
    return not name.startswith(passed) and not name.endswith((".tmp", ".entry"))


def _write(tree: Tree, name: str, journal: Mapping[str, object]) -> None:
    json_file.write(tree.store, name, journal, tree.temp(0, "compact.json"))

"""Delete for good: rows and their coverage, answers, quarantine, and names in records.

Each step is whole or has not happened, and none depends on another: after a kill the same is
forgotten again. The locks of the accounts' buckets are held meanwhile.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from harvester.core import calendar
from harvester.core.calendar import Day
from harvester.core.config import Manifest
from harvester.core.dataset import Dataset
from harvester.core.errors import UsageError
from harvester.manifest import day_option, meant
from harvester.operations import erasure
from harvester.operations.erasure import ErasureRequest
from harvester.operations.record.run_log import RunLog
from harvester.operations.runtime import Project
from harvester.operations.session import new_books, working
from harvester.planning import windows
from harvester.storage import (
    layout,
    locks,
    partition_reader,
    partition_writer,
    publish,
    quarantine,
    raw_log,
)
from harvester.storage.backends.local import META_DIR
from harvester.storage.footer import Footer
from harvester.storage.layout import QUARANTINE, RAW, Partition, Tree
from harvester.storage.partition_writer import NewFile
from harvester.storage.publish import Published
from harvester.storage.raw_log import DamagedGroup
from harvester.storage.state import json_file
from harvester.tables import row_groups
from harvester.tables.columns import arrow_schema

NOTES = (".json", ".entry")
"""Files of ours that are JSON: records, journals, notes of quotas and of the platform."""


class Rewritten(NamedTuple):
    """A data file that lost rows, or was removed because nothing else was known in it."""

    path: str
    dataset: str
    ref_month: str
    accounts: int
    account_days: int
    rows_before: int
    rows_after: int
    removed: bool


@dataclass(slots=True)
class Receipt:
    """Everything that was deleted, or would be: files, unpublished answers, quarantine, names.

    ``damaged`` are unreadable files in the quarantine that may have held some of it.
    """

    dry_run: bool
    accounts: list[str]
    datasets: list[str]
    before: Day | None
    rewritten: list[Rewritten] = field(default_factory=list)
    answers: int = 0
    quarantined: int = 0
    damaged: list[str] = field(default_factory=list)
    records: list[str] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        """True if there was nothing to forget."""
        return not (
            self.rewritten or self.answers or self.quarantined or self.damaged or self.records
        )


@dataclass(frozen=True, slots=True)
class _Erasure:
    tree: Tree
    datasets: Mapping[str, Dataset]
    target: ErasureRequest
    receipt: Receipt
    books: RunLog | None

    @property
    def dry(self) -> bool:
        """True if nothing is to be changed."""
        return self.books is None

    @property
    def buckets(self) -> set[int]:
        """The buckets of the accounts."""
        return self.target.buckets(self.tree.buckets)

    def note(self, item: Published) -> None:
        """Tell the change feed that a file was replaced, but not whose rows they were."""
        if self.books is not None:
            hit = self.target.has(item.dataset, calendar.month_end(item.month))
            left = tuple(
                appid for appid in item.appids if not hit or appid not in self.target.appids
            )
            self.books.record_published(replace(item, appids=left))


def forget(
    project: Project,
    accounts: Sequence[str],
    datasets: Sequence[str] = (),
    before: str | None = None,
    *,
    dry_run: bool = False,
) -> Receipt:
    """Delete accounts as they are named on the command line, or only count what would go.

    Answers that wait are published first. What is replaced is told in the run's books, without the
    accounts. Raises UsageError for names that mean nothing and for what the manifest still wants,
    Busy if another run holds the accounts' buckets, and StoreError.
    """
    manifest, tree, now = project.manifest, project.tree, project.clock.started_at
    target = _target(manifest, accounts, datasets, day_option("--before", before, now))
    erasure.refuse_wanted(target, windows.wanted(manifest, now))
    if dry_run:
        return _forget(tree, manifest.datasets, target, None)
    own, books = sorted(target.buckets(tree.buckets)), new_books(manifest.file, project.clock)
    with working(books, tree, own):
        return _forget(tree, manifest.datasets, target, books)


def _target(
    manifest: Manifest, accounts: Sequence[str], datasets: Sequence[str], before: Day | None
) -> ErasureRequest:
    if not accounts:
        raise UsageError(
            "--accounts is missing", "Name whom to forget: appids, names, tag:NAME or all."
        )
    appids, names = meant(manifest, accounts, datasets)
    # However it is said: `all`, a glob, every name, or nothing.
    return ErasureRequest(appids, names, before, everything=names == set(manifest.datasets))


def _forget(
    tree: Tree, datasets: Mapping[str, Dataset], target: ErasureRequest, books: RunLog | None
) -> Receipt:
    chosen = sorted(target.appids), sorted(target.datasets)
    work = _Erasure(tree, datasets, target, Receipt(books is None, *chosen, target.before), books)
    work.receipt.answers = sum(1 for _ in _waiting(work))
    publish.refuse_newer(tree, target.datasets, work.buckets)
    if books is not None:
        _sweep(tree, work.buckets, books)
        publish.recover(tree, datasets, work.buckets, work.note)
    for name in datasets:
        if name in target.datasets:
            for partition in layout.partitions(tree, name, work.buckets):
                _forget_rows(work, partition)
            work.receipt.quarantined += _forget_quarantine(work, name)
    _forget_damaged(work)
    _forget_names(work)
    return work.receipt


def _sweep(tree: Tree, buckets: set[int], books: RunLog) -> None:
    """Remove what was left half-made: a run names all its accounts in files of its first bucket."""
    layout.clean_temp(tree, buckets)
    since = calendar.utc_text(books.summary.started_at)
    locks.sweep_elsewhere(tree, run_id=books.summary.run_id, since=since)


def _waiting(work: _Erasure) -> Iterator[None]:
    """Answers in the raw log with days that are to be forgotten."""
    target = work.target
    for group in raw_log.readable_groups(work.tree, work.buckets):
        for dataset, month in group.months:
            if dataset in target.datasets and target.mask(month):
                with suppress(DamagedGroup):
                    for answer in group.answers(dataset, month):
                        # An answer over two months is counted with its first one.
                        first = calendar.month_of(answer.window.begin) == month
                        if first and answer.window.appid in target.appids:
                            yield None


def _forget_rows(work: _Erasure, partition: Partition) -> None:
    rewritten = publish.retry_races(lambda _: _rewrite(work, partition))
    if rewritten is None:
        return
    work.receipt.rewritten.append(rewritten)
    if not work.dry:
        work.note(
            Published(
                dataset=partition.dataset,
                month=partition.month,
                path=rewritten.path,
                days=(),
                appids=(),
                rows_before=rewritten.rows_before,
                rows_after=rewritten.rows_after,
            )
        )


def _rewrite(work: _Erasure, partition: Partition) -> Rewritten | None:
    """Write a file anew without what is to be forgotten; None if it has nothing of it."""
    tree, dataset = work.tree, work.datasets[partition.dataset]
    name, mask = tree.name(partition), work.target.mask(partition.month)
    month = calendar.month_text(partition.month)
    temp = f"{partition.dataset}.{month}.forget"
    with partition_reader.opened(
        tree.store, name, tree.temp(partition.bucket, f"{temp}.old")
    ) as stored:
        if stored is None:
            return None
        known = stored.footer.coverage
        gone = {
            appid: covered
            for appid in work.target.appids.intersection(known.appids)
            if (covered := known.account(appid).covered & mask)
        }
        if not gone:
            return None
        left = known.without(dict.fromkeys(gone, mask))
        schema = arrow_schema(dataset)
        pieces = erasure.remaining_rows(stored.batches(schema), work.target)
        if work.dry or not left.appids:
            after = sum(piece.length for piece in pieces)
            if not work.dry:
                tree.store.delete(name)
        else:
            there = {file.name for file in tree.store.list(RAW)}
            groups = {key: at for key, at in stored.footer.groups.items() if at in there}
            tables = row_groups.into_row_groups(schema, pieces, row_groups.row_group_rows(schema))
            new = tree.temp(partition.bucket, f"{temp}.new")
            draft = NewFile(tree.store, new, name, dataset, stored.version)
            after = partition_writer.write(draft, tables, lambda: Footer(left, groups))
        return Rewritten(
            path=name,
            dataset=partition.dataset,
            ref_month=month,
            accounts=len(gone),
            account_days=sum(covered.bit_count() for covered in gone.values()),
            rows_before=stored.rows,
            rows_after=after,
            removed=not left.appids,
        )


def _forget_quarantine(work: _Erasure, dataset: str) -> int:
    """Answers in quarantine. One about days on both sides of the line goes as a whole."""
    before = work.target.before
    count = 0
    windows = {
        (entry.answer.window.appid, entry.day): entry.answer.window.begin
        for entry in quarantine.entries(work.tree, dataset)
    }
    for appid, kept in quarantine.quarantined_days(work.tree, dataset).items():
        chosen = [
            day
            for day in kept
            if appid in work.target.appids
            and (before is None or min(day, windows.get((appid, day), day)) < before)
        ]
        count += len(chosen)
        if not work.dry:
            quarantine.forget(work.tree, dataset, appid, chosen)
    return count


def _forget_damaged(work: _Erasure) -> None:
    """Delete what lies in quarantine unreadable: it may hold anything of its bucket."""
    target = work.target
    for name, whose in quarantine.damaged_files(work.tree).items():
        elsewhere = whose.bucket is not None and whose.bucket not in target.buckets(whose.buckets)
        other = whose.dataset is not None and whose.dataset not in target.datasets
        later = whose.month is not None and not target.mask(whose.month)
        if elsewhere or other or later:
            continue
        work.receipt.damaged.append(name)
        if not work.dry:
            work.tree.store.delete(name)


def _forget_names(work: _Erasure) -> None:
    """Run records, journals and notes: everything of ours that is JSON and no answer."""
    tree = work.tree
    for found in tree.store.list(META_DIR):
        if found.name.startswith((RAW, QUARANTINE)) or not found.name.endswith(NOTES):
            continue
        if any(appid in found.name for appid in work.target.appids):
            if work.target.has(None, None):
                work.receipt.records.append(found.name)
                if not work.dry:
                    tree.store.delete(found.name)
            continue
        old = _read(tree.store.read(found.name))
        # A newer version is refused: it may hold names where none is looked for.
        json_file.value_of(old, dict[str, Any], tree.store.display_path(found.name))
        new = erasure.erase_from_json(old, work.target)
        if new != old:
            work.receipt.records.append(found.name)
            if not work.dry:
                temp = tree.temp(min(work.buckets), "forget.json")
                tree.store.write(found.name, json.dumps(new, indent=2).encode(), temp)


def _read(data: bytes | None) -> object:
    try:
        return json.loads(data or b"null")
    except ValueError:
        return None

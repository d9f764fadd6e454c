"""`forget`: accounts deleted for good: rows, coverage, answers, quarantine, names in records.

Each step is atomic and independent of the others, so a killed command is repeated from the start.
The buckets of the accounts are locked meanwhile.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date, timedelta
from itertools import chain
from typing import NamedTuple

from harvester.core import calendar
from harvester.core.config.settings import Manifest
from harvester.core.errors import UsageError
from harvester.core.model import Partition
from harvester.core.results import Op
from harvester.core.text.inert_text import inert
from harvester.manifest.narrowing import meant
from harvester.manifest.option_values import day_option, spelled
from harvester.planning import wanted_days
from harvester.runs.run_log import RunLog, locked_and_recorded, new_run_log
from harvester.runs.runtime import Project
from harvester.storage import (
    footer_index,
    layout,
    partition_reader,
    partition_writer,
    publish,
    quarantine,
    raw_log,
)
from harvester.storage.backends.base import retry_races
from harvester.storage.layout import Tree
from harvester.storage.publication import Published
from harvester.tables import row_groups
from harvester.tables.columns import arrow_schema
from harvester.verbs import erasure
from harvester.verbs.arguments import AnyDay, ManifestSource, Names, checked, names
from harvester.verbs.project import open_harvested
from harvester.verbs.results import VerbResult


class Rewritten(NamedTuple):
    """A data file that lost rows, or was removed because it had no other accounts.

    ``accounts`` and ``account_days`` count what it lost.
    """

    path: str
    dataset: str
    ref_month: str
    accounts: int
    account_days: int
    rows_before: int
    rows_after: int
    removed: bool


@dataclass(frozen=True, slots=True, repr=False)
class Receipt(VerbResult):
    """Everything that was deleted, or would be: files, unpublished answers, quarantine, names.

    ``damaged`` are unreadable files of the quarantine, removed because they may hold some of it;
    ``records`` are the JSON side files, and the files of tables beside the datasets, that named an
    account, and ``not_reached`` the places where copies may be that this command does not delete.
    """

    dry_run: bool
    accounts: list[str]
    datasets: list[str]
    before: date | None
    rewritten: list[Rewritten]
    answers: int
    quarantined: int
    damaged: list[str]
    records: list[str]
    not_reached: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """True if there was nothing to forget."""
        return not any((self.rewritten, self.answers, self.quarantined, self.damaged, self.records))


class _Erasure(NamedTuple):
    """One erasure under way; without a run log nothing is changed."""

    tree: Tree
    manifest: Manifest
    request: erasure.ErasureRequest
    run_log: RunLog | None

    @property
    def dry(self) -> bool:
        """True if nothing is to be changed."""
        return self.run_log is None

    @property
    def buckets(self) -> set[int]:
        """The buckets of the accounts."""
        return self.request.buckets(self.tree.buckets)

    def without_names(self, item: Published) -> Published:
        """Return a change without the accounts that are forgotten."""
        # Recovery publishes answers of theirs too, and the feed must not have the appids once more.
        hit = self.request.has(item.dataset, calendar.month_end(item.month))
        if hit and not self.request.appids.isdisjoint(item.changed_appids):
            return replace(item, op="erased", changed_days=calendar.NO_DAYS, changed_appids=set())
        return item


@checked
def forget(
    manifest: ManifestSource,
    *,
    accounts: Names,
    datasets: Names = None,
    before: AnyDay = None,
    dry_run: bool = False,
    output: str | os.PathLike[str] | None = None,
    lock_timeout: str | timedelta | None = None,
) -> Receipt:
    """Delete accounts from the output, or with ``dry_run`` count what would be deleted.

    No ``datasets`` are all of them; ``before`` is the first Beijing day that stays. Unpublished
    answers are published first. The change feed names the replaced files without the accounts.

    Raises UsageError for words that match nothing, for days that the manifest still wants, and for
    files of a newer version or another number of buckets, all before the first change; Busy if
    another run holds a bucket of the accounts for longer than ``lock_timeout``, LeaseLost once it
    may; StoreError if the output cannot be read or written.
    """
    named = names(accounts, "accounts"), names(datasets, "datasets")
    project = open_harvested(manifest, output, lock_timeout)
    kept = day_option("before", before, project.clock.started_at)
    if not named[0]:
        words = "appids, names, tag:NAME, ATTRIBUTE=VALUE or all"
        raise UsageError(f"{spelled('accounts')} is missing", f"name accounts: {words}")
    appids, meant_datasets = meant(project.manifest, *named)
    # Compared by the result, because `all`, a glob, every name and nothing mean the same.
    everything = meant_datasets == set(project.manifest.datasets)
    request = erasure.ErasureRequest(appids, meant_datasets, kept, everything=everything)
    return erase(project, request, dry_run=dry_run)


def erase(project: Project, request: erasure.ErasureRequest, *, dry_run: bool = False) -> Receipt:
    """Delete from the output of a project what a request names. Raises as `forget`."""
    manifest, tree, now = project.manifest, project.tree, project.clock.started_at
    # Paused accounts too: once the pause ends, a run would fetch again what is erased here.
    erasure.refuse_wanted(request, wanted_days.wanted(manifest, now, paused_too=True))
    if dry_run:
        return _forget(_Erasure(tree, manifest, request, None))
    # With the first bucket, whose runs fold the records of all.
    own = sorted({0, *request.buckets(tree.buckets)})
    run_log = new_run_log(manifest.file, project.clock, verb="forget")
    with locked_and_recorded(run_log, tree, own, project.lock_timeout) as tree:
        return _forget(_Erasure(tree, manifest, request, run_log))


def _elsewhere(manifest: Manifest) -> Iterator[str]:
    """Yield the places of copies outside of the output, and of those that a store keeps."""
    yield "copies of run records that `--summary` wrote, backups, and tables made of the files"
    if manifest.platform and (sink := manifest.platform.sink):
        words = sink.command[:1] if sink.command else [sink.file or ""]
        yield f"refresh tokens that platform.sink was given: {inert(words[0])}"
    if isinstance(manifest.output.path, str):
        yield (
            f"older versions of objects below {inert(manifest.output.path)}, if the bucket keeps"
            " versions or deleted objects: remove them with the store's own tools"
        )


def _forget(erasing: _Erasure) -> Receipt:
    request = erasing.request
    # Counted before recovery publishes them, so that a dry run says the same number.
    answers = sum(1 for _ in _waiting(erasing))
    _refuse_newer(erasing)
    if (log := erasing.run_log) is not None:
        # Published and then erased from the files: a raw group has answers of other accounts too.
        publish.recover(
            erasing.tree,
            erasing.manifest.datasets,
            erasing.buckets,
            lambda item: log.record_published(erasing.without_names(item)),
            now=log.stream.now,
        )
    rewritten, quarantined = list[Rewritten](), 0
    for name in erasing.manifest.datasets:
        if name in request.datasets:
            for partition in layout.partitions(erasing.tree, name, erasing.buckets):
                rewritten += _forget_rows(erasing, partition)
            quarantined += _forget_quarantined(erasing, name)
    if not erasing.dry:
        # Also what an earlier command left that was killed: an index has no other record.
        footer_index.renew(erasing.tree, erasing.manifest.datasets, erasing.buckets)
    return Receipt(
        dry_run=erasing.dry,
        accounts=sorted(request.appids),
        datasets=sorted(request.datasets),
        before=None if request.before is None else calendar.date_of(request.before),
        rewritten=rewritten,
        answers=answers,
        quarantined=quarantined,
        damaged=list(_forget_damaged(erasing)),
        records=[
            *erasure.erase_names(erasing.tree, request, dry=erasing.dry),
            *erasure.erase_rows(erasing.tree, request, dry=erasing.dry),
        ],
        not_reached=tuple(_elsewhere(erasing.manifest)),
    )


def _refuse_newer(erasing: _Erasure) -> None:
    """Raise UsageError for any file of a newer version, before the first change."""
    partition_reader.refuse_newer(erasing.tree, erasing.request.datasets, erasing.buckets)
    quarantined = (quarantine.entries(erasing.tree, name) for name in erasing.request.datasets)
    # Reading a side file raises the error.
    side_files = erasure.side_files(erasing.tree, erasing.request)
    deque(chain(side_files, *quarantined), maxlen=0)


def _waiting(erasing: _Erasure) -> Iterator[None]:
    """Yield once for each answer of the raw log with days that are to be forgotten."""
    request = erasing.request
    for name, path in raw_log.local_copies(erasing.tree, erasing.buckets):
        with suppress(raw_log.DamagedGroup):
            group = raw_log.open_group(name, path)
            for dataset, month in group.months:
                if dataset in request.datasets and request.mask(month):
                    for answer in group.answers(dataset, month):
                        # An answer over two months is counted with its first one.
                        first = calendar.month_of(answer.window.begin) == month
                        if first and answer.window.appid in request.appids:
                            yield None


def _forget_rows(erasing: _Erasure, partition: Partition) -> Iterator[Rewritten]:
    rewritten = retry_races(lambda _: _rewrite(erasing, partition))
    if rewritten is None:
        return
    if erasing.run_log is not None:
        rows = rewritten.rows_before, rewritten.rows_after
        op: Op = "deleted" if rewritten.removed else "erased"
        # It names no account and no day.
        erasing.run_log.record_published(Published(*partition[:2], rewritten.path, *rows, op))
    yield rewritten


def _rewrite(erasing: _Erasure, partition: Partition) -> Rewritten | None:
    """Write a file without the days that are to be forgotten; None if it has none of them."""
    tree, dataset = erasing.tree, erasing.manifest.datasets[partition.dataset]
    name, mask = tree.name(partition), erasing.request.mask(partition.month)
    with partition_reader.opened(tree.store, name) as stored:
        if stored is None:
            return None
        known = stored.footer.coverage
        forgotten = {
            appid: covered
            for appid in erasing.request.appids.intersection(known.appids)
            if (covered := known.account(appid).covered & mask)
        }
        # Without any of the days the file stays as it is, so a repeated command changes nothing.
        if not forgotten:
            return None
        left = known.without(dict.fromkeys(forgotten, mask))
        schema = arrow_schema(dataset)
        pieces = erasure.remaining_rows(stored.batches(schema), erasing.request)
        # No raw group is left from which a next run could tell of this change after a kill.
        if erasing.run_log is not None:
            tree.hold.check()
            rows = stored.rows, stored.rows
            erasing.run_log.announce(Published(*partition[:2], name, *rows, "erased"))
        if erasing.dry or not left.appids:
            after = sum(piece.length for piece in pieces)
            if not erasing.dry:
                # A footer without accounts would be a file that says nothing.
                tree.store.delete(name)
        else:
            tables = row_groups.into_row_groups(schema, pieces)
            draft = partition_writer.NewFile(tree.store, name, dataset, stored.version)
            final = stored.footer._replace(coverage=left)
            after = partition_writer.write(draft, tables, lambda: final).rows
        return Rewritten(
            path=name,
            dataset=partition.dataset,
            ref_month=calendar.month_text(partition.month),
            accounts=len(forgotten),
            account_days=sum(covered.bit_count() for covered in forgotten.values()),
            rows_before=stored.rows,
            rows_after=after,
            removed=not left.appids,
        )


def _forget_quarantined(erasing: _Erasure, dataset: str) -> int:
    """Delete answers in quarantine and count their days; one that begins before goes entirely."""
    count = 0
    begins = {
        (entry.appid, calendar.day_of(entry.day)): calendar.day_of(entry.begin_date)
        for entry in quarantine.entries(erasing.tree, dataset)
    }
    for appid, kept in quarantine.quarantined_days(erasing.tree, dataset).items():
        if appid in erasing.request.appids:
            chosen = [
                day
                for day in kept
                # The kept answer has all days of its window, those before the limit too.
                if erasing.request.has(dataset, min(day, begins.get((appid, day), day)))
            ]
            count += len(chosen)
            if not erasing.dry:
                quarantine.forget(erasing.tree, dataset, appid, chosen)
    return count


def _forget_damaged(erasing: _Erasure) -> Iterator[str]:
    """Delete unreadable files of the quarantine: one may hold any account of its bucket."""
    for name, place in quarantine.damaged_files(erasing.tree).items():
        # What the name does not tell may be what is to be forgotten.
        if place is not None:
            (dataset, month, bucket), buckets = place
            is_meant = erasing.request.has(dataset, calendar.month_begin(month))
            if not is_meant or bucket not in erasing.request.buckets(buckets):
                continue
        if not erasing.dry:
            erasing.tree.store.delete(name)
        yield name

"""From the raw log to the data files: one partition at a time, from every group that touches it.

The old file and the answers are walked side by side, account by account, and neither is ever held
whole. All of it is synchronous and is called in a thread.
"""

from __future__ import annotations

import functools
import heapq
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import NamedTuple, TypeVar

from harvester.core import calendar
from harvester.core.calendar import Day, Month
from harvester.core.dataset import Dataset
from harvester.core.errors import LostRace, StoreError
from harvester.core.model import Answer, Window
from harvester.storage import layout, partitions, quarantine, raw_log
from harvester.storage.layout import RAW, Partition, Tree
from harvester.storage.partitions import DataFile, Footer, NewFile
from harvester.storage.raw_log import DamagedGroup, Group
from harvester.tables import coverage, decode_batch, merge
from harvester.tables.columns import arrow_schema
from harvester.tables.coverage import AccountDays, Coverage
from harvester.tables.decode_batch import InArrow
from harvester.tables.merge import Change, DecodedAnswer
from harvester.tables.row_groups import Provenance

T = TypeVar("T")

MAX_RACES = 20
"""Each is lost to a run that came further by it, so there is an end to them."""


class QuarantinedDay(NamedTuple):
    """A day whose answer could not be used."""

    appid: str
    dataset: str
    day: Day
    reason: str


@dataclass(frozen=True, slots=True)
class Published:
    """What publishing a partition did.

    ``path`` is relative to the root. ``days`` and ``appids`` are those for which an answer counted:
    whoever follows the files reads them again. ``dropped`` counts rows outside their window,
    ``unknown`` and ``missing`` are members nobody declared and promised ones without a value,
    ``delayed`` are the windows whose last answer said that WeChat is still computing, and
    ``damaged`` are groups that could not be read, as moved to the quarantine.
    """

    dataset: str
    month: Month
    path: str
    days: tuple[Day, ...]
    appids: tuple[str, ...]
    rows_before: int
    rows_after: int
    quarantined: tuple[QuarantinedDay, ...] = ()
    dropped: int = 0
    unknown: frozenset[str] = frozenset()
    missing: frozenset[str] = frozenset()
    delayed: tuple[Window, ...] = ()
    damaged: tuple[str, ...] = ()

    @property
    def ref_month(self) -> str:
        """The month as it stands in the path."""
        return calendar.month_text(self.month)


def publish(
    tree: Tree, dataset: Dataset, partition: Partition, groups: Iterable[Group]
) -> Published:
    """Put what the groups hold of a partition into its file; only for who holds its bucket's lock.

    A group that is in already changes nothing. When another run replaces the file meanwhile, which
    is possible in an object store, both are merged. Raises StoreError; then the old file still
    stands.
    """
    touching = [group for group in groups if (dataset.name, partition.month) in group.months]

    def attempt(lost: int) -> Published:
        # The winner of a race may have published some of these groups too, and removed them.
        left = raw_log.existing(tree, touching) if lost else touching
        return _publish(tree, dataset, partition, left)

    return retry_races(attempt)


def retry_races(attempt: Callable[[int], T]) -> T:
    """Repeat the replacement of a file until no other run replaces it meanwhile.

    ``attempt`` gets the number of races that were lost. Raises LostRace if there are too many.
    """
    for lost in range(MAX_RACES):
        with suppress(LostRace):
            return attempt(lost)
    return attempt(MAX_RACES)


def _publish(
    tree: Tree, dataset: Dataset, partition: Partition, touching: list[Group]
) -> Published:
    work = _PartitionUpdate(tree, dataset, partition)
    with partitions.opened(tree.store, tree.name(partition), work.temp("old")) as stored:
        old = stored.footer.groups if stored else {}
        fresh = [group for group in touching if group.id not in old]
        before = after = stored.rows if stored else 0
        if fresh:
            after = _rewrite(work, stored, fresh)
        for group in touching:
            if stored and group.id in old:
                work.record_replayed(group, stored.footer.coverage)
    _forget_healed(work)
    return work.published(before, after)


def recover(
    tree: Tree,
    datasets: Mapping[str, Dataset],
    buckets: Collection[int],
    tell: Callable[[Published], None],
) -> list[str]:
    """Publish what killed runs left in the raw log of these buckets, then delete it.

    ``tell`` hears of each file before anything is deleted, so that what is not told is found once
    more. Returns the groups that could not be read, as moved to the quarantine. Only for who holds
    the buckets' locks, before anything is planned. Raises StoreError, and UsageError if it was
    written for another number of buckets, or if a file of these buckets is of a newer version.
    """
    groups, moved = raw_log.unpublished(tree, buckets)
    if groups:
        refuse_newer(tree, datasets, buckets)
    owed = {
        Partition(name, month, group.bucket) for group in groups for name, month in group.months
    }
    strange = sorted({partition.dataset for partition in owed} - datasets.keys())
    if strange:
        raise StoreError(
            f"{tree.store.display_path(RAW)}: answers of unknown datasets: {', '.join(strange)}",
            "run the harvester that asked for them",
        )
    for partition in sorted(owed, key=lambda each: (-each.month, each)):
        mine = [group for group in groups if group.bucket == partition.bucket]
        tell(publish(tree, datasets[partition.dataset], partition, mine))
    for group in groups:
        raw_log.delete(tree, group)
    return moved


def refuse_newer(tree: Tree, datasets: Iterable[str], buckets: Collection[int]) -> None:
    """Raise OtherVersion if a data file of these buckets is of a newer version.

    It reads every footer. For what changes many files: none is changed then.
    """
    for dataset in datasets:
        found = layout.partitions(tree, dataset, buckets).values()
        partitions.refuse_newer(tree.store, found)


@dataclass(slots=True)
class _PartitionUpdate:
    """One publish under way: what it is about, and what came of it so far."""

    tree: Tree
    dataset: Dataset
    partition: Partition
    known: dict[str, AccountDays] = field(default_factory=dict)
    appids: set[str] = field(default_factory=set)
    applied: int = 0
    quarantined: list[QuarantinedDay] = field(default_factory=list)
    dropped: int = 0
    unknown: set[str] = field(default_factory=set)
    missing: set[str] = field(default_factory=set)
    delayed: set[Window] = field(default_factory=set)
    damaged: list[str] = field(default_factory=list)
    unread: set[str] = field(default_factory=set)

    @property
    def month(self) -> Month:
        """The month it is about."""
        return self.partition.month

    def temp(self, what: str) -> Path:
        """Where a file of this work may lie for a while."""
        partition = self.partition
        name = f"{partition.dataset}.{calendar.month_text(partition.month)}.{what}"
        return self.tree.temp(partition.bucket, name)

    def record_change(self, change: Change) -> None:
        """Remember what an account's answers came to."""
        self.known[change.appid] = change.known
        if change.applied:
            self.appids.add(change.appid)
            self.applied |= change.applied
        for day, refused in change.refused.items():
            entry = quarantine.QuarantinedAnswer(
                day, refused.reason, refused.answer, refused.run_id
            )
            quarantine.keep(self.tree, entry)
            self.quarantined.append(
                QuarantinedDay(change.appid, self.dataset.name, day, refused.reason)
            )

    def record_decoding(self, answer: Answer, decoded: InArrow) -> None:
        """Count what was odd about an answer, in the month its window begins."""
        if decoded.dropped and calendar.month_of(answer.window.begin) == self.month:
            self.dropped += decoded.dropped
        if decoded.unknown or decoded.missing:
            self.unknown |= decoded.unknown
            self.missing |= decoded.missing
        if decoded.delayed:
            self.delayed.add(answer.window)
        else:
            self.delayed.discard(answer.window)

    def record_replayed(self, group: Group, known: Coverage) -> None:
        """Name again what an earlier run put in: it may have died before it could say so.

        Or before it could remove the evidence of what that healed.
        """
        for answer, _ in _answers(self, group):
            appid = answer.window.appid
            self.applied |= merge.window_mask(answer.window, self.month)
            self.appids.add(appid)
            if appid not in self.known:
                self.known[appid] = known.account(appid)

    def published(self, before: int, after: int) -> Published:
        """The sum of it."""
        return Published(
            dataset=self.dataset.name,
            month=self.month,
            path=self.tree.name(self.partition),
            days=tuple(calendar.each_day(calendar.from_month_mask(self.applied, self.month))),
            appids=tuple(sorted(self.appids)),
            rows_before=before,
            rows_after=after,
            quarantined=tuple(self.quarantined),
            dropped=self.dropped,
            unknown=frozenset(self.unknown),
            missing=frozenset(self.missing),
            delayed=tuple(sorted(self.delayed)),
            damaged=tuple(self.damaged),
        )


def _rewrite(work: _PartitionUpdate, stored: DataFile | None, fresh: list[Group]) -> int:
    """Write the partition anew with these groups in it; returns its rows."""
    schema = arrow_schema(work.dataset)
    known = stored.footer.coverage if stored else coverage.empty(work.month)
    merged_in = dict(stored.footer.groups) if stored else {}
    store, name = work.tree.store, work.tree.name(work.partition)

    def footer() -> Footer:
        there = {file.name for file in store.list(RAW)}
        lost = {group.name for group in fresh} - there - work.unread
        if lost:
            # This file may have had them and forgotten them since: they must not get in twice.
            raise LostRace(
                f"{store.display_path(min(lost))}: another run published it", "run again"
            )
        # A group that is gone can never come back, so its name need not be remembered.
        groups = {key: at for key, at in merged_in.items() if at in there}
        groups |= {group.id: group.name for group in fresh}
        return Footer(known.updated(work.known), groups)

    draft = NewFile(store, work.temp("new"), name, work.dataset, stored.version if stored else None)
    old = stored.batches(schema) if stored else ()
    rows = partitions.write(draft, merge.merged(schema, old, _changes(work, known, fresh)), footer)
    partitions.release_memory()
    return rows


def _changes(work: _PartitionUpdate, known: Coverage, groups: list[Group]) -> Iterator[Change]:
    """What changes, account by account."""
    settled_masks = functools.lru_cache(partial(merge.settled_masks, work.dataset, work.month))
    for appid, replies in groupby(_read(work, groups), key=_appid):
        change = Change(appid, work.month, known.account(appid))
        for answer, stamp, decoded in sorted(replies, key=_age):
            accepted = change.accepted_days(answer)
            if accepted:
                work.record_decoding(answer, decoded)
                settled = settled_masks(calendar.today(answer.asked_at))
                change.apply(accepted, DecodedAnswer(answer, decoded, stamp, settled))
        work.record_change(change)
        yield change


def _read(
    work: _PartitionUpdate, groups: list[Group]
) -> Iterator[tuple[Answer, Provenance, InArrow]]:
    """The answers of all groups by appid and window, read a batch at a time.

    Days that follow each other in a batch stay one piece all the way to the file.
    """
    read = decode_batch.bulk_reader(work.dataset)
    streams = [_answers(work, group) for group in groups]
    in_order = heapq.merge(*streams, key=_place) if len(streams) > 1 else streams[0]
    for batch in decode_batch.batches(in_order):
        found = read(batch)
        for (answer, stamp), decoded in zip(batch, found, strict=True):
            yield answer, stamp, decoded


def _answers(work: _PartitionUpdate, group: Group) -> Iterator[tuple[Answer, Provenance]]:
    """A group's answers by appid. A damaged one ends early, and what it held is asked again."""
    stamp = Provenance(group.fetched_at, group.run_id)
    try:
        for answer in group.answers(work.dataset.name, work.month):
            yield answer, stamp
    except DamagedGroup:
        work.unread.add(group.name)
        moved = quarantine.quarantine_group(work.tree, group.name)
        work.damaged += [moved] if moved else []


def _appid(item: tuple[Answer, *tuple[object, ...]]) -> str:
    return item[0].window.appid


def _place(item: tuple[Answer, Provenance]) -> tuple[str, Day]:
    return item[0].window.appid, item[0].window.begin


def _age(item: tuple[Answer, Provenance, InArrow]) -> tuple[int, int]:
    return item[0].asked_at, item[1].fetched_at


def _forget_healed(work: _PartitionUpdate) -> None:
    """Remove what the quarantine keeps of days that have good answers now."""
    first = calendar.month_begin(work.month)
    length = calendar.month_length(work.month)
    for appid, kept in quarantine.quarantined_days(work.tree, work.dataset.name).items():
        account = work.known.get(appid)
        if account is None:
            continue
        healed = [
            day
            for day in kept
            if 0 <= day - first < length and not account.quarantined >> (day - first) & 1
        ]
        quarantine.forget(work.tree, work.dataset.name, appid, healed)

"""Publishes raw groups: merges their answers into the data files, one partition at a time.

The old file and the answers are read side by side, account by account, and neither is ever in
memory as a whole. The functions are synchronous and run in a thread.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from itertools import groupby
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

from harvester.core import calendar, readiness
from harvester.core.calendar import Clock, Day, DaySet, Month
from harvester.core.dataset import Dataset
from harvester.core.errors import LostRace, StoreError
from harvester.core.model import Partition, RawAnswer
from harvester.core.text.inert_text import inert
from harvester.core.text.safe_text import safe_text
from harvester.storage import layout, partition_reader, partition_writer, quarantine, raw_log
from harvester.storage.backends.base import retry_races
from harvester.storage.footer import Footer
from harvester.storage.layout import RAW, Tree
from harvester.storage.partition_reader import DataFile
from harvester.storage.partition_writer import NewFile
from harvester.storage.publication import DIFFERING, Published, QuarantinedDay
from harvester.storage.raw_log import MERGED_GROUPS, UNREAD, DamagedGroup, Group
from harvester.tables import coverage, decode_batch, merge
from harvester.tables.columns import arrow_schema
from harvester.tables.corrections import AnsweredOn, DecodedAnswer
from harvester.tables.coverage import AccountDays, AccountEvidence, Coverage
from harvester.tables.decode import quarantined
from harvester.tables.decode_batch import BatchResult
from harvester.tables.evidence import Evidence
from harvester.tables.merge import OLD_AGE, AccountChange
from harvester.tables.row_groups import Provenance

EvidenceOf: TypeAlias = dict[str, Evidence]
"""The evidence for empty days by dataset, as the files had it when the run began to ask."""


_Reply: TypeAlias = tuple[RawAnswer, Provenance, BatchResult]
"""An answer, its origin, and its content."""


class TrustedTimes(NamedTuple):
    """Times of asking that may settle a day, in seconds since the Unix epoch.

    An answer or a day that was asked for later than ``now`` was asked for at an unknown time: it
    settles nothing, and refuses no other answer. An empty answer asked for before ``empty_from``
    leaves its days provisional, and so do all without ``evidence``. All answers of the accounts in
    ``untrusted`` go to the quarantine, for the reason that it has by appid.
    """

    now: Clock
    empty_from: int = 0
    untrusted: Mapping[str, str] = MappingProxyType({})
    evidence: EvidenceOf | None = None


def publish(
    tree: Tree,
    dataset: Dataset,
    partition: Partition,
    groups: Iterable[Group],
    trusted: TrustedTimes,
) -> Published:
    """Merge the groups' answers for a partition into its file. The caller holds the bucket's lock.

    A group that is in the file already changes nothing. If another run replaces the file meanwhile,
    which is possible in an object store, both are merged. Raises StoreError; then the old file is
    unchanged.
    """
    touching = [group for group in groups if (dataset.name, partition.month) in group.months]

    def attempt(lost: int) -> Published:
        # The winner of a race may have published some of these groups too, and removed them.
        left = raw_log.existing(tree, touching) if lost else touching
        done = Published(dataset.name, partition.month, tree.name(partition))
        return _publish_once(_PartitionUpdate(tree, dataset, partition, trusted, done), left)

    return retry_races(attempt)


def _publish_once(update: _PartitionUpdate, touching: list[Group]) -> Published:
    with partition_reader.opened(update.tree.store, update.done.path) as stored:
        # Once the file is read, because another run may have asked for its rows a moment ago.
        update.now = update.trusted.now()
        old = stored.footer.groups if stored else {}
        fresh = [group for group in touching if group.id not in old]
        before = after = stored.rows if stored else 0
        # A file that has all groups already is not written again.
        if fresh:
            after = _write_merged(update, stored, fresh)
        for group in touching:
            # An earlier run has merged these, and may have died before it said so.
            if stored and group.id in old:
                update.record_replayed(group, stored.footer.coverage)
    _forget_healed(update)
    done = replace(update.done, rows_before=before, rows_after=after)
    return replace(done, days=update.days, changed_days=update.changed_days)


def recover(
    tree: Tree,
    datasets: Mapping[str, Dataset],
    buckets: Collection[int],
    tell: Callable[[Published], None],
    *,
    now: Clock,
) -> list[str]:
    """Publish what killed runs left in the raw log of these buckets, then delete it.

    Their temporary files are removed first. The caller holds the buckets' locks and has planned
    nothing yet. ``now`` is as in `publish`. ``tell`` gets each result before any group is deleted,
    because the next run can find a result again only through its groups. Returns the paths in
    quarantine of groups that could not be read. Raises StoreError, and UsageError for groups of
    another number of buckets or a file of a newer version.
    """
    layout.clean_temp(tree)
    groups, moved = raw_log.unpublished(tree, buckets)
    # Before the first file is written, because a partly recovered tree fits neither version.
    if groups:
        partition_reader.refuse_newer(tree, datasets, buckets)
    due = {Partition(name, month, group.bucket) for group in groups for name, month in group.months}
    unknown = sorted({partition.dataset for partition in due} - datasets.keys())
    if unknown:
        raise StoreError(
            f"{tree.store.display_path(RAW)}: answers of unknown datasets: "
            + ", ".join(map(inert, unknown)),
            "run the harvester that wrote them",
        )
    # Newest month first, as runs publish.
    for partition in sorted(due, key=lambda each: (-each.month, each)):
        name, month, bucket = partition
        mine = [each for each in groups if each.bucket == bucket and (name, month) in each.months]
        while mine:
            part, mine = mine[:MERGED_GROUPS], mine[MERGED_GROUPS:]
            tell(publish(tree, datasets[name], partition, part, TrustedTimes(now)))
    for group in groups:
        raw_log.delete(tree, group)
    return moved


@dataclass(slots=True)
class _PartitionUpdate:
    """Progress of publishing one partition: its result, and what that does not have yet.

    ``unread`` has the names of damaged groups.
    """

    tree: Tree
    dataset: Dataset
    partition: Partition
    trusted: TrustedTimes
    done: Published
    days: DaySet = calendar.NO_DAYS
    changed_days: DaySet = calendar.NO_DAYS
    known: dict[str, AccountDays] = field(default_factory=dict)
    unread: set[str] = field(default_factory=set)
    now: float = 0.0

    @property
    def month(self) -> Month:
        """The partition's month."""
        return self.partition.month

    def evidence(self, appid: str) -> AccountEvidence | None:
        """Return the evidence for an account's empty days, None without any."""
        found = (self.trusted.evidence or {}).get(self.dataset.name)
        return None if found is None else found.accounts.get(appid, AccountEvidence())

    def record_change(self, change: AccountChange) -> None:
        """Record an account's new coverage, and write its rejected answers to the quarantine."""
        self.known[change.appid] = change.known
        if change.applied:
            self.done.appids.add(change.appid)
            self.days |= calendar.from_month_mask(change.applied, self.month)
        for day, rejected in change.rejected.items():
            quarantine.keep(self.tree, day, *rejected)
            where = change.appid, self.dataset.name, calendar.date_of(day)
            self.done.quarantined.append(QuarantinedDay(*where, safe_text(rejected.reason)))

    def count_rechecked(self, change: AccountChange, replies: Iterable[_Reply]) -> None:
        """Count the days of a merged account that were drawn and answered, and with other rows."""
        asked = calendar.NO_DAYS
        for answer, _, decoded in replies:
            # One that is no good answer as a whole says nothing of what was published.
            if not (decoded.delayed or decoded.doubtful or decoded.quarantined):
                asked |= calendar.day_range(answer.window.begin, answer.window.end)
        differing = change.changed | sum(1 << bit for bit in change.known.differs)
        other = asked & calendar.from_month_mask(differing, self.month)
        asked &= calendar.month_days(self.month)
        for witness, days in (change.evidence or AccountEvidence()).drawn.items():
            self.done.rechecked[witness] += calendar.count_days(asked & days)
            self.done.rechecked[witness + DIFFERING] += calendar.count_days(other & days)

    def record_replayed(self, group: Group, known: Coverage) -> None:
        """Report the days of a group that an earlier run published.

        That run may have been killed before it reported them, or before it removed the quarantined
        answers that they replace.
        """
        month = calendar.month_days(self.month)
        for answer, _ in _answers(self, group):
            appid, begin, end = answer.window.appid, answer.window.begin, answer.window.end
            days = calendar.day_range(begin, end) & month
            self.days |= days
            self.done.appids.add(appid)
            # What differed is not known any more.
            self.changed_days |= days
            self.done.changed_appids.add(appid)
            # A new answer of this account, merged a moment ago, knows more than the old footer.
            if appid not in self.known:
                self.known[appid] = known.account(appid)


def _write_merged(update: _PartitionUpdate, stored: DataFile | None, fresh: list[Group]) -> int:
    """Write the partition with these groups merged in; return its rows."""
    schema = arrow_schema(update.dataset)
    known, merged_in = stored.footer if stored else Footer(coverage.empty(update.month), {})
    store = update.tree.store

    def footer() -> Footer:
        there = {file.name for file in store.list(RAW)}
        lost = {group.name for group in fresh} - there - update.unread
        if lost:
            # The file may have had these groups and dropped their names since: merging them again
            # would apply an old answer after a newer one.
            raise LostRace(
                f"{store.display_path(min(lost))}: another run published it", "run again"
            )
        # A deleted group never returns, so its id is dropped from the footer.
        groups = {key: at for key, at in merged_in.items() if at in there}
        groups |= {group.id: group.name for group in fresh}
        return Footer(known.updated(update.known), groups)

    old = stored.batches(schema) if stored else ()
    replaces = stored.version if stored else None
    new = NewFile(store, update.done.path, update.dataset, replaces)
    tables = merge.merged(update.dataset, old, _changes(update, known, fresh))
    written = partition_writer.write(new, tables, footer)
    # The run reads it again soon, for its result and for the tables.
    update.tree.remember(new.name, written.version, coverage.payload(written.coverage))
    return written.rows


def _changes(
    update: _PartitionUpdate, known: Coverage, groups: list[Group]
) -> Iterator[AccountChange]:
    """Yield the changes, an account at a time."""
    # Most answers were given on the same day, and a mask depends on nothing else.
    day_of = lru_cache(partial(answered_on, update.dataset, update.month))
    empty_from = update.trusted.empty_from
    decoded_answers = _decoded_answers(update, groups)
    known = known.asked_until(update.now)
    for appid, replies in groupby(decoded_answers, key=lambda item: item[0].window.appid):
        days, evidence = known.account(appid), update.evidence(appid)
        change = AccountChange(appid, update.month, days, evidence=evidence)
        change.settle_by_guide()
        # So that of two answers about a day the newest one stands in the end.
        in_order = sorted(replies, key=_asking_order)
        for answer, stamp, decoded in in_order:
            on = day_of(calendar.today(answer.asked_at - stamp.behind))
            if answer.asked_at < empty_from:
                # An empty answer settles nothing.
                on = on._replace(day=0)
            new = DecodedAnswer(answer, decoded, stamp, on)
            if change.known.final & change.known.with_rows:
                change.compare(new)
            if accepted := change.accepted_days(answer):
                update.done.note(answer.window, decoded)
                change.apply(accepted, new)
        update.record_change(change)
        yield change
        # The account is merged when the next one is asked for.
        if changed := change.changed:
            change.record_news()
            update.done.changed_appids.add(appid)
            update.done.corrected.update((appid, day) for day in change.corrected)
            update.changed_days |= calendar.from_month_mask(changed, update.month)
        if evidence and evidence.drawn:
            update.count_rechecked(change, in_order)


def answered_on(dataset: Dataset, month: Month, day: Day) -> AnsweredOn:
    """Return what an answer that was asked for on a Beijing day settles in a month."""
    first, last = calendar.month_begin(month), calendar.month_end(month)
    open_from = readiness.settled_before(dataset, calendar.instant(day))
    old_before = readiness.period_begin(dataset.grain, day - OLD_AGE)
    settled, old = (coverage.span_mask(first, end - 1, month) for end in (open_from, old_before))
    periods = calendar.month_mask(readiness.periods(dataset.grain, first, last), month)
    return AnsweredOn(day, settled, old, periods, dataset)


def _decoded_answers(update: _PartitionUpdate, groups: list[Group]) -> Iterator[_Reply]:
    """Yield the answers of all groups by appid and window, decoded a batch at a time.

    Consecutive days of a batch stay one slice all the way to the file.
    """
    month = range(calendar.month_begin(update.month), calendar.month_end(update.month) + 1)
    read = decode_batch.batch_decoder(update.dataset, month)
    streams = [_answers(update, group) for group in groups]
    # A merge of one stream costs a heap operation an answer for nothing.
    in_order = heapq.merge(*streams, key=_window_order) if len(streams) > 1 else streams[0]
    for batch in decode_batch.batches(each for each in in_order if each[0].body is not UNREAD):
        found = read(batch)
        for (answer, stamp), decoded in zip(batch, found, strict=True):
            reason = update.trusted.untrusted.get(answer.window.appid)
            yield answer, stamp, quarantined(answer.window, reason) if reason else decoded


def _answers(update: _PartitionUpdate, group: Group) -> Iterator[tuple[RawAnswer, Provenance]]:
    """Yield a group's answers by appid. A damaged group ends early; its days are asked again."""
    latest = update.now * 1_000_000
    stamp = Provenance(int(min(group.fetched_at, latest)), group.run_id, group.behind)
    try:
        for answer in group.by_turns(update.dataset.name, update.month):
            # 0 stands for unknown: older than any other, and too early to settle a day.
            yield answer if answer.asked_at <= update.now else answer._replace(asked_at=0), stamp
    except DamagedGroup:
        update.unread.add(group.name)
        moved = quarantine.quarantine_group(update.tree, group.name)
        if moved:
            update.done.damaged.append(moved)


def _asking_order(item: _Reply) -> tuple[int, float, Day]:
    """Return what orders an account's answers by when they were asked for, then by arrival.

    Of one second the newest days come first, as they are asked for.
    """
    return item[0].asked_at, item[1].fetched_at, -item[0].window.begin


def _window_order(item: tuple[RawAnswer, Provenance]) -> tuple[str, Day]:
    return item[0].window.appid, item[0].window.begin


def _forget_healed(update: _PartitionUpdate) -> None:
    """Remove quarantined answers of days that have good answers now."""
    inside = calendar.month_days(update.month)
    for appid, kept in quarantine.quarantined_days(update.tree, update.dataset.name).items():
        # An account without new answers has healed nothing.
        if account := update.known.get(appid):
            good = inside & ~calendar.from_month_mask(account.quarantined, update.month)
            healed = [day for day in kept if calendar.has_day(good, day)]
            quarantine.forget(update.tree, update.dataset.name, appid, healed)

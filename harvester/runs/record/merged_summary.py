"""One summary of a run whose shards are harvested by processes of their own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import NamedTuple, TypeVar

from harvester.core.errors import HarvesterError
from harvester.core.exit_codes import Exit, first_of
from harvester.core.results import PausedAccount
from harvester.core.text.safe_text import safe_text
from harvester.runs.record.account_report import added
from harvester.runs.record.answer_drift import AnswerDrift
from harvester.runs.record.next_requests import merged_requests
from harvester.runs.record.shard_outcome import ShardOutcome
from harvester.runs.record.summary import (
    MAX_SUSPICIOUS,
    PublishedFile,
    Summary,
    reason_to_fail,
)
from harvester.scheduling.standing import merged_pending
from harvester.scheduling.troubles import Troubles

T = TypeVar("T")


class Counts(NamedTuple):
    """Counters of a process, as it tells them twice a second."""

    requests: int = 0
    answered: int = 0
    retries: int = 0
    token_calls: int = 0
    quota_questions: int = 0
    bytes: int = 0

    @classmethod
    def of(cls, summary: Summary) -> Counts:
        """Return the counters of a summary as they stand."""
        return cls(*(getattr(summary, name) for name in cls._fields))


class PlannedWork(NamedTuple):
    """The plan of one shard, with the members of a summary."""

    windows: int
    account_days: int
    bound_seconds: float
    bound_by: str
    paused: tuple[PausedAccount, ...] = ()


_SUMS = (
    "wanted_accounts",
    "surplus_answers",
    "quotas_refused",
    "repeated",
    "repeated_tokens",
    "bugs",
    "undecodable_days",
)


@dataclass(slots=True)
class ShardReport:
    """The reports of one shard so far.

    ``counts`` are of the process at work, and ``lost`` are the last ones of each process that died.
    ``files`` were published. ``summary`` is of the process that ended, and ``error`` is what ended
    the shard early.
    """

    shard: str
    plan: PlannedWork | None = None
    counts: Counts = field(default_factory=Counts)
    lost: list[Counts] = field(default_factory=list)
    files: list[PublishedFile] = field(default_factory=list)
    summary: Summary | None = None
    error: HarvesterError | None = None

    @property
    def total(self) -> Counts:
        """The counters of all its processes."""
        return Counts(*map(sum, zip(self.counts, *self.lost, strict=True)))

    def outcome(self) -> ShardOutcome:
        """Return how the shard ended."""
        found: dict[str, Exit] = {}
        if self.error is not None:
            found = {reason_to_fail(self.error): self.error.exit_code}
        elif self.summary is not None:
            found = self.summary.reasons()
        reasons, code = tuple(found), first_of(found.values())
        rows = sum(file.rows_after - file.rows_before for file in self.files)
        requests, deaths = self.total.requests, len(self.lost)
        return ShardOutcome(self.shard, code, reasons, requests, rows, deaths, self.error)


def plan_merged(into: Summary, shards: Iterable[ShardReport]) -> None:
    """Take in the plans of shards: sums, and the bound of the slowest one."""
    plans = [shard.plan for shard in shards if shard.plan is not None]
    into.windows = sum(plan.windows for plan in plans)
    into.account_days = sum(plan.account_days for plan in plans)
    into.paused = tuple(_all(plan.paused for plan in plans))
    slowest = max(plans, key=lambda plan: plan.bound_seconds, default=None)
    if slowest is not None:
        into.bound_seconds, into.bound_by = slowest.bound_seconds, slowest.bound_by


def counts_merged(into: Summary, shards: Sequence[ShardReport], token_calls: int = 0) -> None:
    """Take in the counters and files of shards under way, and the calls for tokens made here."""
    totals = map(sum, zip(*(shard.total for shard in shards), strict=True))
    for name, total in zip(Counts._fields, totals, strict=True):
        setattr(into, name, total)
    into.token_calls += token_calls
    into.published = [file for shard in shards for file in shard.files]


def shards_merged(into: Summary, shards: Sequence[ShardReport], token_calls: int = 0) -> None:
    """Take in the ends of all shards, as `counts_merged`.

    If no shard was harvested, the most severe of their errors is that of the run.
    """
    counts_merged(into, shards, token_calls)
    parts = [shard.summary for shard in shards if shard.summary is not None]
    for name in _SUMS:
        setattr(into, name, sum(getattr(part, name) for part in parts))
    into.shards = [shard.outcome() for shard in shards]
    errors = [shard.error for shard in shards if shard.error is not None]
    if len(errors) == len(shards):
        worst = first_of(error.exit_code for error in errors)
        into.failed = next(error for error in errors if error.exit_code is worst)
    _merge_times(into, parts)
    _merge_days(into, parts)
    _merge_notes(into, parts)


def without_secrets(summary: Summary) -> Summary:
    """Return a summary for a process that does not know the secrets of this one."""
    drift = {
        name: replace(each, unknown_members=set(map(safe_text, each.unknown_members)))
        for name, each in summary.drift.items()
    }
    quarantined = [day._replace(reason=safe_text(day.reason)) for day in summary.quarantined]
    return replace(summary, drift=drift, quarantined=quarantined, troubles=Troubles())


def _merge_times(into: Summary, parts: Sequence[Summary]) -> None:
    asked = [part.asked_at for part in parts if part.asked_at is not None]
    ready = [part.next_day_at for part in parts if part.next_day_at is not None]
    into.asked_at = max(asked, default=into.asked_at)
    into.next_day_at = min(ready, default=into.next_day_at)
    into.out_of_time = any(part.out_of_time for part in parts)
    into.out_of_lease = any(part.out_of_lease for part in parts)
    waits: Counter[str] = Counter()
    for part in parts:
        waits.update(part.waits)
    into.waits = dict(waits)


def _merge_days(into: Summary, parts: Sequence[Summary]) -> None:
    """Join what is listed by account, dataset by dataset as one process lists it."""
    into.datasets = added(part.datasets for part in parts)
    place = {row.dataset: at for at, row in enumerate(into.datasets)}

    def in_order(items: Iterable[T], dataset: Iterable[str]) -> list[T]:
        pairs = zip(dataset, items, strict=True)
        return [item for _, item in sorted(pairs, key=lambda pair: place.get(pair[0], len(place)))]

    rows = list(_all(part.accounts for part in parts))
    into.accounts = in_order(rows, (row.dataset for row in rows))
    ranges = list(_all(part.suspicious for part in parts))
    ordered = in_order(ranges, (each.dataset for each in ranges))
    into.suspicious = list(islice(ordered, MAX_SUSPICIOUS))
    into.next_requests = merged_requests([part.next_requests for part in parts])
    into.abandoned = list(_all(part.abandoned for part in parts))
    into.quarantined = list(_all(part.quarantined for part in parts))
    into.pending = merged_pending(_all(part.pending for part in parts))


def _merge_notes(into: Summary, parts: Sequence[Summary]) -> None:
    into.delayed = set(_all(part.delayed for part in parts))
    into.damaged = list(_all(part.damaged for part in parts))
    into.without_rows = list(_all(part.without_rows for part in parts))
    for part in parts:
        for dataset, drift in part.drift.items():
            into.drift.setdefault(dataset, AnswerDrift(dataset)).merge(drift)
        for dataset, span in part.shortened_spans.items():
            into.shortened_spans[dataset] = min(span, into.shortened_spans.get(dataset, span))


def _all(lists: Iterable[Iterable[T]]) -> Iterator[T]:
    return (item for items in lists for item in items)

"""What a run did, told truly: the exit code, its reasons, and the run record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple

from harvester.catalogue.error_codes import Action, Scope
from harvester.core import calendar
from harvester.core.calendar import Day, DaySet
from harvester.core.errors import (
    SEVERITY,
    Busy,
    Exit,
    HarvesterError,
    StoreError,
    Unanswered,
    Unauthorised,
)
from harvester.core.model import DayRange, Window
from harvester.core.safe_text import safe_text
from harvester.planning.windows import Wanted
from harvester.scheduling.account_queue import AbandonedDays
from harvester.storage.coverage_scan import States
from harvester.storage.publish import Published, QuarantinedDay
from harvester.tables.decode import INTERNAL_ERROR

MOST_SUSPICIOUS = 100
"""Quiet accounts have empty days without number; `harvester status` lists them all."""


class DayCounts(NamedTuple):
    """Numbers of days by state, as the files have them."""

    wanted: int = 0
    done: int = 0
    missing: int = 0
    empty: int = 0
    suspicious: int = 0
    provisional: int = 0
    quarantined: int = 0


@dataclass(frozen=True, slots=True)
class DatasetSummary:
    """The state of one dataset after a run, in account-days."""

    dataset: str
    accounts: int
    days: DayCounts


@dataclass(frozen=True, slots=True)
class AccountSummary:
    """One dataset of one account after a run.

    ``requests`` and ``retries`` are what the run spent on it, ``failed`` counts windows given up.
    ``reasons`` are those that the run has because of it, ``errcodes`` what WeChat said; a
    ``parked`` one is asked again after midnight in Beijing.
    """

    appid: str
    dataset: str
    days: DayCounts
    requests: int
    retries: int
    failed: int = 0
    waits_for_quota: bool = False
    reasons: tuple[str, ...] = ()
    errcodes: tuple[int, ...] = ()


class PublishedFile(NamedTuple):
    """A file that was replaced. The journal has the days and the accounts: they may be many."""

    dataset: str
    ref_month: str
    path: str
    rows_before: int
    rows_after: int


@dataclass(slots=True)
class AnswerDrift:
    """What was odd in the answers of a dataset, as `Published` has it."""

    dropped: int = 0
    unknown: set[str] = field(default_factory=set)
    missing: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Summary:
    """One run from beginning to end. Times are in seconds since the Unix epoch.

    ``finished`` is False as long as more may come, and for ever if the run was killed; ``failed``
    is what ended it before its end, ``bugs`` counts faults of our own and ``misread`` the days
    that one of them put into quarantine. ``wanted_accounts`` are those of which anything is wanted,
    be it covered or not. Who sets ``stopped_by`` has the run end: by itself, if it
    is ``in_order``. ``waits`` has the seconds that refused requests waited to be made again, by
    what was done about the refusal; ``accounts`` those with trouble, and ``suspicious`` the first
    MOST_SUSPICIOUS stretches.
    """

    run_id: str
    manifest: str
    started_at: float
    ended_at: float
    today: Day
    bound_seconds: float = 0.0
    bound_by: str = "nothing"
    wanted_accounts: int = 0
    windows: int = 0
    requests: int = 0
    answered: int = 0
    retries: int = 0
    token_calls: int = 0
    bytes: int = 0
    stopped_by: Exit | None = None
    stops_gracefully: bool = False
    out_of_time: bool = False
    finished: bool = False
    failed: HarvesterError | None = None
    bugs: int = 0
    undecodable_days: int = 0
    waits: dict[str, float] = field(default_factory=dict)
    datasets: list[DatasetSummary] = field(default_factory=list)
    accounts: list[AccountSummary] = field(default_factory=list)
    abandoned: list[AbandonedDays] = field(default_factory=list)
    quarantined: list[QuarantinedDay] = field(default_factory=list)
    suspicious: list[DayRange] = field(default_factory=list)
    published: list[PublishedFile] = field(default_factory=list)
    oddities: dict[str, AnswerDrift] = field(default_factory=dict)
    delayed: set[Window] = field(default_factory=set)
    damaged: list[str] = field(default_factory=list)
    shortened_spans: dict[str, int] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """How long the run took."""
        return self.ended_at - self.started_at

    @property
    def rows(self) -> int:
        """Rows that the published files hold more than before."""
        return sum(item.rows_after - item.rows_before for item in self.published)

    @property
    def missing(self) -> int:
        """Account-days that are wanted, could have been had, and are not covered."""
        return sum(row.days.missing for row in self.datasets)

    def reasons(self) -> dict[str, Exit]:
        """Everything that kept the run from being whole, with the exit code each calls for."""
        found: dict[str, Exit] = {}
        if self.failed is not None:
            return {_reason_to_fail(self.failed): self.failed.exit_code}
        if self.bugs or self.undecodable_days:
            found["bug"] = Exit.BUG
        if self.stopped_by is not None:
            found["stopped"] = self.stopped_by
        if self._unauthorised():
            found["unauthorised"] = Exit.UNAUTHORISED
        for gone in self.abandoned:
            found.update([reason_of(gone)])
        if any(row.days.quarantined for row in self.datasets):
            found["quarantined"] = Exit.INCOMPLETE
        if self.delayed:
            found["not_ready"] = Exit.AGAIN
        if self.out_of_time:
            found["time_budget"] = Exit.AGAIN
        if self.missing and not found:
            found["incomplete"] = Exit.AGAIN
        return found

    @property
    def exit_code(self) -> Exit:
        """The most severe of the reasons."""
        return min(self.reasons().values(), key=SEVERITY.index, default=Exit.DONE)

    def note(self, item: Published) -> None:
        """Take in what a publish did."""
        self.published.append(
            PublishedFile(
                item.dataset, item.ref_month, item.path, item.rows_before, item.rows_after
            )
        )
        self.damaged += item.damaged
        self.undecodable_days += sum(
            day.reason.startswith(INTERNAL_ERROR) for day in item.quarantined
        )
        heard = {window for window in self.delayed if _is_about(item, window)}
        self.delayed = (self.delayed - heard) | set(item.delayed)
        odd = self.oddities.setdefault(item.dataset, AnswerDrift())
        odd.dropped += item.dropped
        odd.unknown |= item.unknown
        odd.missing |= item.missing

    def notes(self) -> list[str]:
        """What was odd in the answers and is no error."""
        found = [f"a damaged raw group was set aside as {path}" for path in self.damaged]
        found += _delay_notes(sorted(self.delayed))
        for dataset, span in self.shortened_spans.items():
            found.append(
                f"{dataset}: WeChat refused longer windows, {span} days at once worked; "
                f"set datasets.{dataset}.span to it"
            )
        for dataset, odd in sorted(self.oddities.items()):
            if odd.dropped:
                found.append(
                    f"{dataset}: {odd.dropped:,} rows outside of what was asked were dropped"
                )
            if odd.unknown:
                names = ", ".join(map(safe_text, sorted(odd.unknown)))
                found.append(f"{dataset}: undeclared members went to _extra: {names}")
            if odd.missing:
                names = ", ".join(sorted(odd.missing))
                found.append(f"{dataset}: members without a value: {names}")
        return found

    def _unauthorised(self) -> bool:
        """Not one of the accounts that are wanted was let in.

        One that had nothing to ask for, or was not asked yet, may well be: it speaks against that.
        """
        return (
            bool(self.abandoned)
            and not self.answered
            and all(map(_is_locked_out, self.abandoned))
            and len({gone.appid for gone in self.abandoned}) == self.wanted_accounts
        )


def _is_locked_out(gone: AbandonedDays) -> bool:
    return gone.rule.scope is Scope.ACCOUNT and gone.rule.action in (
        Action.STOP,
        Action.REFRESH_TOKEN,
    )


def _is_about(item: Published, window: Window) -> bool:
    return (
        item.dataset == window.dataset
        and window.appid in item.appids
        and any(window.begin <= day <= window.end for day in item.days)
    )


def _delay_notes(delayed: list[Window]) -> Iterator[str]:
    """A line a dataset: which windows are preliminary because WeChat said so."""
    for dataset, windows in groupby(sorted(delayed, key=_dataset_of), key=_dataset_of):
        first, *others = map(str, windows)
        more = f" and {len(others):,} more windows" if others else ""
        yield (
            f"{dataset}: WeChat is still computing {first}{more}; "
            "what it has so far is published and asked again on a later day"
        )


def _dataset_of(window: Window) -> str:
    return window.dataset


def _reason_to_fail(error: HarvesterError) -> str:
    if isinstance(error, StoreError):
        return "store"
    if isinstance(error, Unauthorised):
        return "unauthorised"
    if isinstance(error, Unanswered):
        return "unanswered"
    return "locked" if isinstance(error, Busy) else "usage"


_PASSING = (Action.RETRY, Action.RETRY_NOW, Action.HOST_DOWN)


def reason_of(gone: AbandonedDays) -> tuple[str, Exit]:
    """The reason that a run has because of what it gave up, and the exit code that calls for."""
    if gone.rule.action is Action.WAIT_FOR_QUOTA:
        return "quota", Exit.AGAIN
    if gone.rule.action is Action.SLOW_DOWN:
        return "minute_limit", Exit.AGAIN
    if gone.rule.action is Action.DEFER:
        return "deferred", Exit.AGAIN
    if gone.rule.action is Action.NOT_READY:
        return "not_ready", Exit.AGAIN
    if gone.rule.scope is Scope.WINDOW or gone.rule.action in _PASSING:
        return "failed", Exit.INCOMPLETE
    return "refused", Exit.INCOMPLETE


def summarise_states(
    want: Wanted, states: Mapping[str, Mapping[str, States]]
) -> list[DatasetSummary]:
    """Count the account-days of each dataset by state."""
    found = []
    for dataset, of_dataset in want.items():
        counts = [
            count_states(wanted, states[dataset][appid]) for appid, wanted in of_dataset.items()
        ]
        total = DayCounts(*map(sum, zip(*counts, strict=True)))
        found.append(DatasetSummary(dataset, len(of_dataset), total))
    return found


def count_states(wanted: DaySet, state: States) -> DayCounts:
    """Count the days of one dataset of one account by state."""
    return DayCounts(
        wanted=calendar.count_days(wanted),
        done=calendar.count_days(wanted & state.covered),
        missing=calendar.count_days(wanted & ~state.covered),
        empty=calendar.count_days(state.empty),
        suspicious=calendar.count_days(state.suspicious),
        provisional=calendar.count_days(state.provisional),
        quarantined=calendar.count_days(state.quarantined),
    )

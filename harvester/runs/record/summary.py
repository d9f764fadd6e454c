"""Summary of a run: counters, exit code and its reasons."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from harvester.catalogue.error_codes import Action, Scope
from harvester.core import calendar, errors
from harvester.core.config.settings import ASSUMED_QUOTA
from harvester.core.exit_codes import Exit, Outcome, first_of
from harvester.core.model import DayRange, Window
from harvester.core.results import PausedAccount, PendingDays
from harvester.core.text.inert_text import inert
from harvester.planning.windows import Plan, Wanted
from harvester.runs.record import account_report
from harvester.runs.record.answer_drift import AnswerDrift
from harvester.runs.record.next_requests import NO_REQUESTS, NextRequests
from harvester.runs.record.notes import (
    clock_note,
    delay_notes,
    is_about,
    rowless_notes,
    still_rowless,
)
from harvester.runs.record.prospects import comes_after, comes_at
from harvester.runs.record.run_id import new_run_id
from harvester.runs.record.shard_outcome import ShardOutcome
from harvester.scheduling.account_queue import AbandonedDays, AccountQueue
from harvester.scheduling.scheduler import Scheduler
from harvester.scheduling.troubles import Troubles
from harvester.storage import coverage_scan
from harvester.storage.answer_notes import RowlessElement
from harvester.storage.publication import Published, QuarantinedDay
from harvester.tables.decode import INTERNAL_ERROR

if TYPE_CHECKING:
    # Imported for its type alone: commands that make no calls do not load the HTTP client.
    from harvester.engine.pipeline import RequestCounters

_FAILURES: dict[type[errors.HarvesterError], str] = {
    errors.StoreError: "store",
    errors.Unauthorised: "unauthorised",
    errors.Unanswered: "unanswered",
    errors.Busy: "locked",
    errors.ProcessDied: "died",
    errors.LeaseLost: "lease",
    errors.UsageError: "usage",
}

_LOST = {"refused", "failed", "quarantined"}

MAX_SUSPICIOUS = 100
"""Maximum suspicious ranges in a summary: quiet accounts have many, `harvester status` has all."""


class PublishedFile(NamedTuple):
    """A file that was replaced. The journal has its days and accounts, because they may be many."""

    dataset: str
    ref_month: str
    path: str
    rows_before: int
    rows_after: int


@dataclass(slots=True)
class Summary:
    """The result of a run under construction: each step of the run reports to it by a method.

    Only `harvester.runs.record` assigns its fields; all others call `plan_made`, `counted`,
    `state_read` and the like, and read it. It is complete once `RunLog.close` has set ``finished``;
    the summary of a killed run stays unfinished.

    Times are in seconds since the Unix epoch. ``shard`` is one like ``2/8``, ``labels`` are those
    of the caller and its engine. ``next_day_at`` is when the first day gets ready that the run does
    not want yet, ``asked_at`` when it stopped asking. ``bound_seconds`` is the lower bound that the
    limits set, ``bound_by`` names the limit. ``wanted_accounts`` counts the accounts with wanted
    days, covered or not. ``stops_gracefully`` is True once the run ends by itself after
    ``stopped_by`` is set. ``out_of_time`` and ``out_of_lease`` say that it was cut short by its
    time budget, or by a lease that was not renewed in time. ``failed`` is the error that ended the
    run early, ``bugs`` counts internal errors and ``undecodable_days`` the days that such an error
    quarantined. ``clock_offset`` has the seconds that were added to the machine's clock;
    ``repeated`` and ``repeated_tokens`` count requests and token calls made before that, whose
    answers were dropped. ``waits`` has the seconds that refused requests waited, by action.
    ``quota_questions`` were put to WeChat, which refused ``quotas_refused`` of them. ``accounts``
    are those with trouble, ``suspicious`` the first MAX_SUSPICIOUS ranges, ``damaged`` the raw
    groups that were moved to quarantine. ``without_rows`` has the elements of answers that have no
    row. ``paused`` accounts are not asked. ``shards`` are those of a run in several processes.
    ``next_requests`` is the price of a next run. ``pending`` days were owed when the run was cut
    short, and ``troubles`` are the causes for which attempts failed and were made again.
    """

    run_id: str
    manifest: str
    started_at: float
    ended_at: float
    today: calendar.Day
    shard: str | None = None
    labels: dict[str, str] = field(default_factory=dict)
    next_day_at: float | None = None
    asked_at: float | None = None
    bound_seconds: float = 0.0
    bound_by: str = "nothing"
    wanted_accounts: int = 0
    windows: int = 0
    account_days: int = 0
    requests: int = 0
    answered: int = 0
    retries: int = 0
    token_calls: int = 0
    bytes: int = 0
    surplus_answers: int = 0
    quota_questions: int = 0
    quotas_refused: int = 0
    clock_offset: float = 0.0
    repeated: int = 0
    repeated_tokens: int = 0
    stopped_by: Exit | None = None
    stops_gracefully: bool = False
    out_of_time: bool = False
    out_of_lease: bool = False
    finished: bool = False
    failed: errors.HarvesterError | None = None
    bugs: int = 0
    undecodable_days: int = 0
    waits: dict[str, float] = field(default_factory=dict)
    datasets: list[account_report.DatasetSummary] = field(default_factory=list)
    accounts: list[account_report.AccountSummary] = field(default_factory=list)
    abandoned: list[AbandonedDays] = field(default_factory=list)
    quarantined: list[QuarantinedDay] = field(default_factory=list)
    suspicious: list[DayRange] = field(default_factory=list)
    published: list[PublishedFile] = field(default_factory=list)
    drift: dict[str, AnswerDrift] = field(default_factory=dict)
    delayed: set[Window] = field(default_factory=set)
    damaged: list[str] = field(default_factory=list)
    without_rows: list[RowlessElement] = field(default_factory=list)
    shortened_spans: dict[str, int] = field(default_factory=dict)
    next_requests: NextRequests = NO_REQUESTS
    pending: list[PendingDays] = field(default_factory=list)
    troubles: Troubles = field(default_factory=Troubles)
    paused: tuple[PausedAccount, ...] = ()
    shards: list[ShardOutcome] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Duration of the run in seconds."""
        return self.ended_at - self.started_at

    @property
    def rows(self) -> int:
        """Rows that the published files have gained."""
        return sum(item.rows_after - item.rows_before for item in self.published)

    @property
    def missing(self) -> int:
        """Account-days that are wanted and ready, and are not covered."""
        return sum(row.days.missing for row in self.datasets)

    @property
    def exit_code(self) -> Exit:
        """The first exit code, in the order of `Exit`, that a reason calls for."""
        return first_of(self.reasons().values())

    @property
    def outcome(self) -> Outcome:
        """The word for the exit code, whatever ``--ok-exit`` makes of the code."""
        return self.exit_code.outcome

    @property
    def retry_at(self) -> float | None:
        """The earliest moment at which a run could obtain more; None if nothing comes by itself.

        It is in seconds since the Unix epoch, and never before ``ended_at``.
        """
        reasons = self.reasons()
        moments = [comes_at(reason, self.ended_at, self.asked_at) for reason in reasons]
        if self.failed is not None:
            moments = [comes_after(self.failed, reason, self.ended_at) for reason in reasons]
        # Beside another open reason `reasons` does not name them. After an error it is the cause,
        # and after the loss of a lease another run may be asking for them.
        is_broken = self.failed is not None or Exit.BUG in reasons.values() or self.out_of_lease
        if not is_broken and account_report.any_unexplained(self.accounts):
            moments.append(self.ended_at)
        return min((moment for moment in moments if moment is not None), default=None)

    @property
    def next_ready_at(self) -> float | None:
        """The moment at which the next day gets ready, as ``retry_at``; None if none will."""
        # A day that got ready meanwhile is wanted by the next run, and not by this one.
        return None if self.next_day_at is None else max(self.next_day_at, self.ended_at)

    @property
    def accounts_failed(self) -> int:
        """Accounts with days that do not come by themselves: refused, failed or quarantined."""
        lost = [row for row in self.accounts if _LOST & {*row.reasons}]
        return len({row.appid for row in lost})

    def identified(self, *, shard: str | None = None, labels: Mapping[str, str]) -> None:
        """Take in the shard of the run, None if it is the only one, and further labels."""
        self.shard = shard
        self.labels = {**self.labels, **labels}

    def calendar_read(self, next_day_at: float | None) -> None:
        """Take in the moment at which the next day gets ready, after the start of the run."""
        self.next_day_at = next_day_at

    def clock_corrected(self, offset: float) -> None:
        """Begin anew, by a clock that is ``offset`` seconds ahead of the one so far."""
        self.clock_offset += offset
        self.repeated, self.repeated_tokens = self.requests, self.token_calls
        self.started_at += offset
        self.ended_at = self.started_at
        self.today, self.run_id = calendar.today(self.started_at), new_run_id(self.started_at)

    def renamed(self, run_id: str) -> None:
        """Take over the run's name from the process that shares out its work."""
        self.run_id = run_id

    def groups_damaged(self, paths: Iterable[str]) -> None:
        """Take in raw groups that could not be read, by their paths in quarantine."""
        self.damaged += paths

    def plan_made(self, want: Wanted, plan: Plan) -> None:
        """Take in the wanted days of the run, and its plan."""
        self.wanted_accounts = len({appid for of_dataset in want.values() for appid in of_dataset})
        self.bound_seconds, self.bound_by = plan.bound_seconds, plan.bound_by
        self.windows, self.account_days = plan.requests, plan.account_days
        self.paused = plan.paused

    def harvest_begun(self) -> None:
        """Note that from now on the run ends by itself when it is told to stop."""
        self.stops_gracefully = True

    def counted(self, counters: RequestCounters, scheduler: Scheduler, token_calls: int) -> None:
        """Take in the counters of a harvest as they stand, in the place of earlier ones."""
        self.requests = self.repeated + counters.requests
        self.answered = counters.answered
        self.bytes, self.bugs, self.waits = counters.bytes, counters.bugs, dict(counters.waits)
        self.surplus_answers = counters.surplus_answers
        self.quota_questions = counters.questions.asked
        self.quotas_refused = counters.questions.refused
        self.abandoned, self.retries = scheduler.abandoned, scheduler.retries
        self.troubles = scheduler.troubles
        self.shortened_spans = dict(scheduler.shortened_spans)
        self.token_calls = self.repeated_tokens + token_calls

    def stopped_before_harvest(self, token_calls: int) -> None:
        """Take in the token calls of a harvest that did not begin."""
        self.token_calls = self.repeated_tokens + token_calls

    def deadline_passed(self) -> None:
        """Note that the time budget is spent."""
        self.out_of_time = True

    def harvest_ended(self, now: float, *, owes: bool, lost_lease: bool = False) -> None:
        """Note the end of asking. A harvest that owes nothing any more was not cut short."""
        self.asked_at = now
        self.out_of_time &= owes
        self.out_of_lease = lost_lease and owes

    def cut_short(self, pending: Iterable[PendingDays]) -> None:
        """Take in the days that were still owed when the run was stopped or its time was over."""
        self.pending = list(pending)

    def stop_requested(self, code: int) -> None:
        """Ask the run to end, with the exit code of a signal. May be called in a signal handler."""
        self.stopped_by = Exit(code)

    def state_read(
        self,
        want: Wanted,
        states: dict[str, dict[str, coverage_scan.States]],
        queues: Iterable[AccountQueue],
        quarantined: Iterable[QuarantinedDay],
    ) -> None:
        """Take in the coverage of the files after the harvest."""
        self.datasets = account_report.summarise_states(want, states)
        self.accounts = list(account_report.with_trouble(want, states, self.abandoned, queues))
        self.quarantined = list(quarantined)
        self.suspicious = list(islice(coverage_scan.suspicious(states), MAX_SUSPICIOUS))

    def next_priced(self, found: NextRequests) -> None:
        """Take in the price of a next run."""
        self.next_requests = found

    def file_published(self, item: Published) -> list[str]:
        """Take in the result of publishing a file; return a line for each new oddity."""
        path, rows = item.path, (item.rows_before, item.rows_after)
        self.published.append(PublishedFile(item.dataset, item.ref_month, path, *rows))
        self.damaged += item.damaged
        self.undecodable_days += sum(
            day.reason.startswith(INTERNAL_ERROR) for day in item.quarantined
        )
        # A window whose days were published anew is delayed only if its last answer says so.
        answered = {window for window in self.delayed if is_about(item, window)}
        self.delayed = (self.delayed - answered) | set(item.delayed)
        if self.without_rows or item.without_rows:
            self.without_rows = [*still_rowless(self.without_rows, item), *item.without_rows]
        drift = self.drift.setdefault(item.dataset, AnswerDrift(item.dataset))
        return drift.add(item)

    def ended_by(self, error: Exception) -> None:
        """Take in the error that ended the run; any other than a HarvesterError is a bug."""
        if isinstance(error, errors.HarvesterError):
            self.failed = error
        else:
            self.bugs += 1

    def reasons(self) -> dict[str, Exit]:
        """Return everything that kept the run from being complete, each with its exit code."""
        if self.failed is not None:
            return {reason_to_fail(self.failed): self.failed.exit_code}
        lost = [each.error for each in self.shards if each.error is not None]
        found = {reason_to_fail(error): error.exit_code for error in lost}
        if self.bugs or self.undecodable_days:
            found["bug"] = Exit.BUG
        if self.stopped_by is not None:
            found["stopped"] = self.stopped_by
        found.update(map(account_report.reason_of, self.abandoned))
        if any(row.days.quarantined for row in self.datasets):
            found["quarantined"] = Exit.INCOMPLETE
        if self.delayed:
            found["not_ready"] = Exit.AGAIN
        if self.out_of_time:
            found["time_budget"] = Exit.AGAIN
        if self.out_of_lease:
            found["lease"] = Exit.AGAIN
        # Days without a known cause are asked by the next run, whatever became of the others.
        if {*found.values()} <= {Exit.INCOMPLETE} and account_report.any_unexplained(self.accounts):
            found["incomplete"] = Exit.AGAIN
        # Only if nothing else is open: a later run could obtain that without a credential changed.
        if self._unauthorised() and Exit.AGAIN not in found.values():
            found = {"unauthorised": Exit.UNAUTHORISED, **found}
        return found

    def notes(self, names: Mapping[str, str]) -> list[str]:
        """Return the oddities that are no errors, a line each. ``names`` are by appid."""
        found = [
            f"a damaged raw group was moved to quarantine as {inert(path)}" for path in self.damaged
        ]
        if self.clock_offset:
            found.append(clock_note(self.clock_offset, self.repeated))
        if self.surplus_answers:
            found.append(
                f"the server or a proxy sent {self.surplus_answers:,} answers that no request "
                "asked for; since the first of them each request had a connection of its own"
            )
        if self.quotas_refused:
            found.append(
                f"WeChat did not tell the daily quota when it was asked ({self.quotas_refused:,} "
                f"times): {ASSUMED_QUOTA:,} calls a day of each dataset of each account are "
                "assumed where it is unknown; set limits.daily_quota if you know better"
            )
        found += delay_notes(self.delayed, names)
        for dataset, span in self.shortened_spans.items():
            found.append(
                f"{dataset}: WeChat refused longer windows, {span} days at once worked; "
                f"set datasets.{dataset}.span to it"
            )
        for _, drift in sorted(self.drift.items()):
            found += drift.notes()
        found += rowless_notes(self.without_rows, names)
        return found

    def _unauthorised(self) -> bool:
        """Return whether every wanted account was refused as a whole.

        An account without calls in this run may be authorised, so it speaks against that.
        """
        return (
            bool(self.abandoned)
            and not self.answered
            and all(map(_is_locked_out, self.abandoned))
            and len({item.appid for item in self.abandoned}) == self.wanted_accounts
        )


def start_summary(manifest: Path, now: float) -> Summary:
    """Return the summary of a run that begins. ``now`` is in seconds since the Unix epoch."""
    return Summary(
        run_id=new_run_id(now),
        manifest=str(manifest),
        started_at=now,
        ended_at=now,
        today=calendar.today(now),
    )


def _is_locked_out(item: AbandonedDays) -> bool:
    actions = (Action.STOP, Action.REFRESH_TOKEN)
    return item.rule.scope is Scope.ACCOUNT and item.rule.action in actions


def reason_to_fail(error: errors.HarvesterError) -> str:
    """Return the reason that an error is for a run which it ended early."""
    return next((name for kind, name in _FAILURES.items() if isinstance(error, kind)), "bug")

"""Outcome of a run: its reasons not to be complete, its exit code, and when to run again."""

from __future__ import annotations

from collections.abc import Sequence

from harvester.core.errors import HarvesterError
from harvester.core.exit_codes import Exit, first_of
from harvester.core.rule import Action, Scope
from harvester.runs.record import account_report
from harvester.runs.record.events import cause_of
from harvester.runs.record.members import Members, ShardOutcome
from harvester.runs.record.prospects import comes_after, comes_at
from harvester.scheduling.listener import AbandonedDays
from harvester.storage.empty_everywhere import exit_of


def of_shard(record: Members) -> ShardOutcome:
    """Return how the shard of a record ended."""
    found = reasons(record)
    code = first_of(found.values())
    return ShardOutcome(
        record.shard or "",
        code,
        tuple(found),
        record.requests,
        record.rows,
        record.deaths,
        record.failed,
    )


def reasons(record: Members) -> dict[str, Exit]:
    """Return everything that kept a run from being complete, each with its exit code."""
    if record.failed is not None:
        return {cause_of(record.failed): record.failed.exit_code}
    lost = [each.error for each in record.shards if each.error is not None]
    found: dict[str, Exit] = {cause_of(error): error.exit_code for error in lost}
    if record.bugs or record.undecodable_days:
        found["bug"] = Exit.BUG
    if record.stopped_by is not None:
        found["stopped"] = record.stopped_by
    found.update(map(account_report.reason_of, record.abandoned))
    if any(row.days.quarantined for row in record.datasets):
        found["quarantined"] = Exit.INCOMPLETE
    passing = {
        "not_ready": bool(record.delayed),
        "time_budget": record.out_of_time,
        "lease": record.out_of_lease,
        "clock": record.clock_apart,
    }
    found.update((reason, Exit.AGAIN) for reason, is_met in passing.items() if is_met)
    found.update(_of_empty_days(record))
    # Days without a known cause are asked by the next run, whatever became of the others.
    if {*found.values()} <= {Exit.INCOMPLETE} and account_report.any_unexplained(record.accounts):
        found["incomplete"] = Exit.AGAIN
    # Only if nothing else is open: a later run could obtain that without a credential changed.
    if _is_unauthorised(record) and Exit.AGAIN not in found.values():
        found = {"unauthorised": Exit.UNAUTHORISED, **found}
    return found


def _of_empty_days(record: Members) -> dict[str, Exit]:
    code = exit_of(record.empty_everywhere)
    return {} if code is Exit.DONE else {"empty_everywhere": code}


def retry_at(record: Members) -> float | None:
    """Return the earliest moment at which a run could obtain more; None if nothing comes alone.

    It is in seconds since the Unix epoch, and never before the run ended.
    """
    found, ended = reasons(record), record.ended_at
    moments = [comes_at(reason, ended, record.asked_at) for reason in found]
    if record.failed is not None:
        moments = [comes_after(record.failed, reason, ended) for reason in found]
    moments += (each.retry_at for each in record.empty_everywhere)
    # Beside another open reason `reasons` does not name them. After an error it is the cause, and
    # after the loss of a lease another run may be asking for them.
    is_broken = record.failed is not None or Exit.BUG in found.values() or record.out_of_lease
    if not is_broken and account_report.any_unexplained(record.accounts):
        moments.append(ended)
    return min((moment for moment in moments if moment is not None), default=None)


def worst_of(errors: Sequence[HarvesterError]) -> HarvesterError:
    """Return the most severe error, in the order of the exit codes."""
    worst = first_of(error.exit_code for error in errors)
    return next(error for error in errors if error.exit_code is worst)


def _is_unauthorised(record: Members) -> bool:
    """Return whether every wanted account was refused as a whole.

    An account without calls in this run may be authorised, so it speaks against that.
    """
    return (
        bool(record.abandoned)
        and not record.answered
        and all(map(_is_locked_out, record.abandoned))
        and len({item.appid for item in record.abandoned}) == record.wanted_accounts
    )


def _is_locked_out(item: AbandonedDays) -> bool:
    actions = (Action.STOP, Action.REFRESH_TOKEN)
    return item.rule.scope is Scope.ACCOUNT and item.rule.action in actions

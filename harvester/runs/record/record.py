"""Record of a run: the fold of its facts, and what they say of its outcome."""

from __future__ import annotations

import platform
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Self, TypeAlias

from harvester.core import calendar
from harvester.core.errors import INTERNAL_ERROR, HarvesterError
from harvester.core.exit_codes import Exit, Outcome, first_of
from harvester.core.model import Window
from harvester.core.rule import Action, Scope
from harvester.core.text.wording import Message
from harvester.runs import facts
from harvester.runs.record.absent_rows import NO_ROWS
from harvester.runs.record.account_report import any_unexplained, reason_of
from harvester.runs.record.attention import scope_of
from harvester.runs.record.events import cause_of
from harvester.runs.record.members import AnswerDrift, Members, PublishedFile, ShardOutcome, joins
from harvester.runs.record.prospects import comes_at
from harvester.runs.record.statement import ground, statement
from harvester.scheduling.listener import AbandonedDays, Reopened
from harvester.scheduling.standing import Standing
from harvester.storage.empty_everywhere import exit_of
from harvester.storage.publication import Published

_Whole: TypeAlias = facts.Planned | facts.AskingEnded | facts.CoverageRead | facts.AttentionFound
"""Facts whose members are members of the record and take their places."""

_LOST = {"refused", "failed", "quarantined"}


def new_run_id(now: float) -> str:
    """Make a name that sorts by time: 20260131T235959Z-1a2b3c.

    The first three digits of its end are the fraction of the second, so that of two runs in a row
    the later one is the greater. The other three are random.
    """
    second = calendar.utc_text(now).replace("-", "").replace(":", "")
    return f"{second}-{int(now % 1 * 4096):03x}{secrets.randbelow(4096):03x}"


class Record(Members):
    """The record of a run so far, or of several shards of one run."""

    __slots__ = ()

    @classmethod
    def begun(cls, manifest: Path, now: float) -> Self:
        """Return the record of a run that begins at ``now``."""
        host, run_id = platform.node(), new_run_id(now)
        return cls(run_id, manifest=str(manifest), host=host, started_at=now, ended_at=now)

    @classmethod
    def of_shards(cls, shards: Sequence[Self], head: Self | None = None) -> Self:
        """Return one record of shards, and of the process that shares out their work.

        If none was harvested, the most severe of their errors is that of the run.
        """
        whole = cls.merge([head, *shards] if head is not None else shards)
        whole.shards = [each.as_shard() for each in shards]
        errors = [each.failed for each in shards if each.failed is not None]
        if head is None:
            whole.shard = None
        if head is None or head.failed is None:
            whole.failed = worst_of(errors) if len(errors) == len(shards) else None
        return whole

    def as_shard(self) -> ShardOutcome:
        """Return how the shard of this record ended."""
        found = self.reasons()
        return ShardOutcome(
            self.shard or "",
            first_of(found.values()),
            tuple(found),
            self.requests,
            self.rows,
            self.deaths,
            self.signal,
            self.peak_memory,
            self.failed,
        )

    # The fold.

    def take(self, fact: facts.Fact) -> None:
        """Take in what happened."""
        match fact:
            case facts.Counted():
                self._count(fact)
            case Published():
                self._publish(fact)
            case AbandonedDays() as days:
                self.abandoned.append(days)
            case Reopened(days):
                gone = {*days}
                self.abandoned = [each for each in self.abandoned if each not in gone]
            case facts.Planned():
                # A process in the place of a dead one plans what that one has left.
                if not (self.deaths and self.wanted_accounts):
                    self._replace(fact)
            case facts.AskingEnded() | facts.CoverageRead() | facts.AttentionFound():
                self._replace(fact)
            case _:
                self._end(fact)

    def _end(self, fact: facts.Fact) -> None:
        """Take in what a run meets at its end, or at its beginning."""
        match fact:
            case facts.ClockCorrected(offset, run_id):
                # A process in the place of a dead one corrects its own clock once more.
                if not (self.deaths and self.run_id == run_id):
                    self._begin_anew(offset, run_id)
            case facts.Begun(labels, shard, next_day_at, selection, digest):
                self.labels, self.shard = {**self.labels, **labels}, self.shard or shard
                self.selection = selection or self.selection
                self.manifest_digest = digest or self.manifest_digest
                self.next_day_at = next_day_at
            case facts.GroupsDamaged(paths):
                self.damaged += paths
            case facts.Died(signal, peak_memory):
                self.deaths += 1
                self.signal, self.peak_memory = signal, peak_memory
            case facts.Ended(at, error, bug, stopped_by):
                self.ended_at, self.finished = at, True
                self.stopped_by = stopped_by or self.stopped_by
                if bug:
                    self.bugs += 1
                    self.frames = error.frames if error else ()
                else:
                    self.failed = error or self.failed
            case _:
                # A trouble passes, or is among the days that are given up.
                pass

    def go_on(self) -> None:
        """Go on with what asks and gives up anew, as a process in the place of one that died."""
        self.abandoned = []
        self.standing = Standing()
        self._replace(facts.AskingEnded(None))

    def _replace(self, fact: _Whole) -> None:
        """Take in what a process says anew as a whole: its members are those of the record."""
        for name, value in fact._asdict().items():
            setattr(self, name, value)

    def _count(self, fact: facts.Counted) -> None:
        """Add counts, by the functions that join two shards."""
        for name, value in fact._asdict().items():
            if name != "standing":
                setattr(self, name, joins()[name](getattr(self, name), value))
        self.standing = fact.standing or self.standing

    def _publish(self, item: Published) -> None:
        rows = item.rows_before, item.rows_after
        self.published.append(
            PublishedFile(item.dataset, item.ref_month, item.path, *rows, item.op)
        )
        self.corrected += len(item.corrected)
        self.rechecked = joins()["rechecked"](self.rechecked, item.rechecked)
        self.damaged += item.damaged
        self.rejected |= {*item.quarantined}
        self.bugs += sum(day.reason.startswith(INTERNAL_ERROR) for day in item.quarantined)

        def is_answered(found: Window) -> bool:
            """Return whether the answers of the file are about a day of a window."""
            about = found.dataset == item.dataset and found.appid in item.appids
            return about and bool(item.days & calendar.day_range(found.begin, found.end))

        # What was published anew is delayed only if its last answer says so.
        self.delayed = {each for each in self.delayed if not is_answered(each)} | item.delayed
        self.without_rows |= item.without_rows
        drift = AnswerDrift(item.unknown, item.missing, item.oddities)
        self.drift = joins()["drift"](self.drift, {item.dataset: drift})

    def _begin_anew(self, offset: float, run_id: str) -> None:
        """Go by another clock: nothing was kept of what was asked by the one so far."""
        self.clock_offset += offset
        self.answered = self.answered_days = self.retries = self.bytes = 0
        self.waits, self.next_day_at = {}, None
        self.go_on()
        # The next plan is made by the right clock.
        self._replace(facts.Planned())
        self.started_at += offset
        self.ended_at = self.started_at
        self.run_id = run_id

    # The outcome.

    @property
    def exit_code(self) -> Exit:
        """The first exit code, in the order of `Exit`, that a reason calls for."""
        code = first_of(self.reasons().values())
        return Exit.ATTENTION if code is Exit.AGAIN and self.attention else code

    @property
    def outcome(self) -> Outcome:
        """The word for the exit code, whatever ``--ok-exit`` makes of the code."""
        return self.exit_code.outcome

    @property
    def retry_at(self) -> float | None:
        """The earliest moment at which a run could obtain more; None if nothing comes by itself.

        It is in seconds since the Unix epoch, and never before the run ended.
        """
        found, ended = self.reasons(), self.ended_at
        waits = [reason for reason, code in found.items() if code is not Exit.BUG]
        moments = [comes_at(reason, ended, self.asked_at, self.failed) for reason in waits]
        moments += (each.retry_at for each in self.empty_everywhere)
        # Beside another open reason `reasons` does not name them. After an error it is the cause,
        # and after the loss of a lease another run may be asking for them.
        is_broken = bool(self.errors) or Exit.BUG in found.values()
        if not (is_broken or self.out_of_lease) and any_unexplained(self.accounts):
            moments.append(ended)
        return min((moment for moment in moments if moment is not None), default=None)

    @property
    def next_ready_at(self) -> float | None:
        """The moment at which the next day gets ready, as ``retry_at``; None if none will."""
        # A day that got ready meanwhile is wanted by the next run, and not by this one.
        return None if self.next_day_at is None else max(self.next_day_at, self.ended_at)

    @property
    def is_wanted(self) -> bool:
        """True if a day is wanted."""
        return any(row.days.wanted for row in self.datasets)

    @property
    def wants_nothing(self) -> Message | None:
        """The statement in the place of the outcome, if a complete run wanted nothing."""
        return self.statement if self.exit_code is Exit.DONE and not self.is_wanted else None

    @property
    def statement(self) -> Message | None:
        """The statement beside the outcome; see `harvester.runs.record.statement`."""
        # Without the files it is unknown what is wanted, and by a clock in doubt what is ready.
        if not self.datasets or self.clock_apart:
            return None
        about = self.ended_at, self.next_day_at
        return statement(*about, is_wanted=self.is_wanted, paused=len(self.paused))

    @property
    def ground(self) -> Message | None:
        """Shares of what the final days of a complete run rest on."""
        is_complete = self.finished and self.exit_code is Exit.DONE
        return ground(row.days for row in self.datasets) if is_complete else None

    @property
    def errors(self) -> list[HarvesterError]:
        """The errors that ended the run, or some of its shards, early."""
        found = (self.failed, *(each.error for each in self.shards))
        return [error for error in found if error is not None]

    @property
    def scope(self) -> tuple[str, ...]:
        """The scope of the run; see `harvester.runs.record.attention.scope_of`."""
        return scope_of(self.manifest, self.shard, self.selection)

    @property
    def is_rowless(self) -> bool:
        """True if the output has no row, and ought to have one. A part of it is not judged."""
        return self.shard is None and not self.selection and self.absent.is_rowless

    @property
    def accounts_failed(self) -> int:
        """Accounts with days that do not come by themselves: refused, failed or quarantined."""
        return len({row.appid for row in self.accounts if _LOST & {*row.reasons}})

    def reasons(self) -> dict[str, Exit]:
        """Return everything that kept the run from being complete, each with its exit code."""
        if self.failed is not None:
            return {cause_of(self.failed): self.failed.exit_code}
        found: dict[str, Exit] = {cause_of(error): error.exit_code for error in self.errors}
        if self.bugs:
            found["bug"] = Exit.BUG
        if self.stopped_by is not None:
            found["stopped"] = self.stopped_by
        found.update(map(reason_of, self.abandoned))
        if any(row.days.quarantined for row in self.datasets):
            found["quarantined"] = Exit.INCOMPLETE
        passing = {
            "not_ready": bool(self.delayed),
            "time_budget": self.out_of_time,
            "lease": self.out_of_lease,
            "clock": self.clock_apart,
        }
        found.update((reason, Exit.AGAIN) for reason, is_met in passing.items() if is_met)
        if self.is_rowless:
            found[NO_ROWS] = Exit.AGAIN
        code = exit_of(self.empty_everywhere)
        if code is not Exit.DONE:
            found["empty_everywhere"] = code
        # Days without a known cause are asked by the next run, whatever became of the others.
        if {*found.values()} <= {Exit.INCOMPLETE} and any_unexplained(self.accounts):
            found["incomplete"] = Exit.AGAIN
        # Only if nothing else is open: a later run could obtain that without a credential changed.
        if Exit.AGAIN not in found.values() and self._is_unauthorised():
            found = {"unauthorised": Exit.UNAUTHORISED, **found}
        return found

    def _is_unauthorised(self) -> bool:
        """Return whether every wanted account was refused as a whole.

        An account without calls in this run may be authorised, so it speaks against that.
        """
        return (
            bool(self.abandoned)
            and not self.answered
            and all(map(_is_locked_out, self.abandoned))
            and len({item.appid for item in self.abandoned}) == self.wanted_accounts
        )


def worst_of(errors: Sequence[HarvesterError]) -> HarvesterError:
    """Return the most severe error, in the order of the exit codes."""
    worst = first_of(error.exit_code for error in errors)
    return next(error for error in errors if error.exit_code is worst)


def _is_locked_out(item: AbandonedDays) -> bool:
    actions = (Action.STOP, Action.REFRESH_TOKEN)
    return item.rule.scope is Scope.ACCOUNT and item.rule.action in actions

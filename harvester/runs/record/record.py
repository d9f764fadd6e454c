"""Record of a run: the fold of its facts, and what they say of its outcome."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self

from harvester.core.errors import INTERNAL_ERROR
from harvester.core.exit_codes import Exit, Outcome, first_of
from harvester.core.model import Window
from harvester.runs import facts
from harvester.runs.record import outcome
from harvester.runs.record.answer_drift import AnswerDrift
from harvester.runs.record.members import Members, PublishedFile, joins
from harvester.runs.record.run_id import new_run_id
from harvester.scheduling.listener import AbandonedDays, Reopened
from harvester.scheduling.standing import Standing
from harvester.storage.publication import Published, RowlessElement

_LOST = {"refused", "failed", "quarantined"}


@dataclass(slots=True)
class Record(Members):
    """The record of a run so far, or of several shards of one run."""

    @classmethod
    def begun(cls, manifest: Path, now: float) -> Self:
        """Return the record of a run that begins at ``now``."""
        return cls(
            run_id=new_run_id(now),
            manifest=str(manifest),
            started_at=now,
            ended_at=now,
        )

    @classmethod
    def of_shards(cls, shards: Sequence[Self], head: Self | None = None) -> Self:
        """Return one record of shards, and of the process that shares out their work.

        If none was harvested, the most severe of their errors is that of the run. Raises
        ValueError without any.
        """
        whole = cls.merge([head, *shards] if head is not None else shards)
        whole.shards = list(map(outcome.of_shard, shards))
        errors = [each.failed for each in shards if each.failed is not None]
        if head is None:
            whole.shard = None
        if head is None or head.failed is None:
            whole.failed = outcome.worst_of(errors) if len(errors) == len(shards) else None
        return whole

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
            case facts.AskingEnded() | facts.CoverageRead():
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
            case facts.Begun(labels, shard, next_day_at):
                self.labels, self.shard = {**self.labels, **labels}, self.shard or shard
                self.next_day_at = next_day_at
            case facts.GroupsDamaged(paths):
                self.damaged += paths
            case facts.Died():
                self.deaths += 1
            case facts.Signalled(code):
                self.stopped_by = code
            case facts.Ended(at, error, bug):
                self.ended_at, self.finished = at, True
                if bug:
                    self.bugs += 1
                else:
                    self.failed = error or self.failed
            case _:
                # A trouble passes, or is among the days that are given up.
                pass

    def go_on(self) -> None:
        """Go on with a process in the place of one that died: it asks and gives up anew."""
        self.abandoned = []
        self.standing = Standing()
        self._replace(facts.AskingEnded(None))

    def _replace(self, fact: facts.Planned | facts.AskingEnded | facts.CoverageRead) -> None:
        """Take in what a process says anew as a whole: its members are those of the record."""
        for member in fields(fact):
            setattr(self, member.name, getattr(fact, member.name))

    def _count(self, fact: facts.Counted) -> None:
        """Add counts, by the functions that join two shards."""
        for member in fields(fact):
            name, value = member.name, getattr(fact, member.name)
            if name != "standing":
                setattr(self, name, joins()[name](getattr(self, name), value))
        self.standing = fact.standing or self.standing

    def _publish(self, item: Published) -> None:
        rows = item.rows_before, item.rows_after
        self.published.append(
            PublishedFile(item.dataset, item.ref_month, item.path, *rows, item.op)
        )
        self.damaged += item.damaged
        self.rejected |= {*item.quarantined}
        self.undecodable_days += sum(
            day.reason.startswith(INTERNAL_ERROR) for day in item.quarantined
        )
        # A window whose days were published anew is delayed only if its last answer says so.
        answered = {window for window in self.delayed if _is_about(item, window)}
        self.delayed = (self.delayed - answered) | set(item.delayed)
        if self.without_rows or item.without_rows:
            self.without_rows = [*_still_rowless(self.without_rows, item), *item.without_rows]
        self.drift = joins()["drift"](self.drift, {item.dataset: AnswerDrift.of(item)})

    def _begin_anew(self, offset: float, run_id: str) -> None:
        """Go by another clock: nothing was kept of what was asked by the one so far."""
        self.clock_offset += offset
        self.repeated = self.requests
        self.answered = self.retries = self.bytes = 0
        self.waits, self.abandoned, self.next_day_at = {}, [], None
        self._replace(facts.AskingEnded(None))
        # The next plan is made by the right clock.
        self._replace(facts.Planned())
        self.started_at += offset
        self.ended_at = self.started_at
        self.run_id = run_id

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
        """The earliest moment at which a run could obtain more; None if nothing comes by itself."""
        return outcome.retry_at(self)

    @property
    def next_ready_at(self) -> float | None:
        """The moment at which the next day gets ready, as ``retry_at``; None if none will."""
        # A day that got ready meanwhile is wanted by the next run, and not by this one.
        return None if self.next_day_at is None else max(self.next_day_at, self.ended_at)

    @property
    def accounts_failed(self) -> int:
        """Accounts with days that do not come by themselves: refused, failed or quarantined."""
        return len({row.appid for row in self.accounts if _LOST & {*row.reasons}})

    def reasons(self) -> dict[str, Exit]:
        """Return everything that kept the run from being complete, each with its exit code."""
        return outcome.reasons(self)


def _is_about(item: Published, window: Window) -> bool:
    """Return whether a file was replaced by answers that may include a window's."""
    return (
        item.dataset == window.dataset
        and window.appid in item.appids
        and any(window.begin <= day <= window.end for day in item.days)
    )


def _still_rowless(found: list[RowlessElement], item: Published) -> list[RowlessElement]:
    """Return the elements that the answers of a published file say nothing about."""
    appids, days = set(item.appids), set(item.days)
    return [
        each
        for each in found
        if each.dataset != item.dataset or each.appid not in appids or each.day not in days
    ]

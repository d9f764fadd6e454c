"""What a run gives up, and for how long: exactly what a refusal condemns, and nothing beside it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from harvester.catalogue.error_codes import Action, Rule, Scope
from harvester.core import calendar
from harvester.core.calendar import DaySet
from harvester.core.model import Refusal
from harvester.scheduling.account_queue import (
    FAILURE_BUDGET,
    AbandonedDays,
    AccountQueue,
    Attempt,
    DatasetBacklog,
    MonthTracker,
)

QUOTA_SPENT = Rule(
    Action.WAIT_FOR_QUOTA,
    Scope.ACCOUNT_DATASET,
    "the calls of this day are spent",
    "Run again after midnight in Beijing; limits.daily_quota and limits.daily_reserve decide.",
)
TOO_MANY_FAILURES = Rule(
    Action.DEFER,
    Scope.ACCOUNT_DATASET,
    f"{FAILURE_BUDGET} attempts more failed than were answered, so the rest is left to a later run",
    "Nothing is lost: run again later, and see whether the account's other datasets are well.",
)
OUTAGE = Rule(
    Action.DEFER,
    Scope.RUN,
    "nobody was answered for a while, so it was left for a later run",
    "See whether WeChat can be reached from here, then run again.",
)
_FAILED = (Action.RETRY, Action.RETRY_NOW)


class Abandoned:
    """The days that are given up (``gone``), and what that leaves to be owed."""

    def __init__(self, lanes: list[AccountQueue]) -> None:
        self._queues = lanes
        self.months = MonthTracker(lanes)
        self.days: list[AbandonedDays] = []
        self._checkpoint = 0

    def checkpoint(self) -> None:
        """Nobody has been answered since now, as far as is known: see `excuse`."""
        self._checkpoint = len(self.days)

    def fail_attempt(self, attempt: Attempt, rule: Rule, why: Refusal | str) -> None:
        """Give up the days of one attempt."""
        work = attempt.backlog
        self.drop_days(attempt.queue, work, work.in_progress & attempt.days, rule, why)

    def all_backlogs(self) -> Iterator[DatasetBacklog]:
        """What every lane owes of every dataset."""
        return (work for lane in self._queues for work in lane.backlogs)

    def affected_by(
        self, attempt: Attempt, scope: Scope
    ) -> Iterator[tuple[AccountQueue, DatasetBacklog]]:
        """All that a rule of this scope condemns with this attempt, beyond its window."""
        if scope is Scope.WINDOW:
            return
        whole = scope in (Scope.ACCOUNT, Scope.RUN)
        for lane in self._queues if scope in (Scope.DATASET, Scope.RUN) else [attempt.queue]:
            for work in lane.backlogs:
                if whole or work.dataset is attempt.backlog.dataset:
                    yield lane, work

    def stop_dataset(
        self, lane: AccountQueue, work: DatasetBacklog, rule: Rule, why: Refusal | str
    ) -> bool:
        """Ask nothing more of one dataset of one account. What is in flight may still arrive.

        Returns whether that is news.
        """
        if work.abandoned_by is not None:
            return False
        work.abandon(rule)
        waiting = work.in_progress & lane.drop_retries(work)
        self.drop_days(lane, work, work.missing | waiting, rule, why)
        return True

    def drop_days(
        self, lane: AccountQueue, work: DatasetBacklog, lost: DaySet, rule: Rule, why: Refusal | str
    ) -> None:
        """Owe some days no longer."""
        if not lost:
            return
        work.drop(lost, until_midnight=rule.action is Action.WAIT_FOR_QUOTA)
        self.days.append(
            AbandonedDays(
                lane.appid,
                work.dataset.name,
                calendar.oldest(lost),
                calendar.newest(lost),
                count=calendar.count_days(lost),
                rule=rule,
                why=why,
            )
        )
        self.months.close_days(lane, work, lost)

    def reopen_exhausted(self) -> list[AccountQueue]:
        """A new Beijing day: what was given up for want of quota is owed again.

        Returns the lanes of which WeChat had said that a quota is spent.
        """
        told = []
        for lane in self._queues:
            for work in lane.backlogs:
                if (
                    work.abandoned_by is not None
                    and work.abandoned_by.action is Action.WAIT_FOR_QUOTA
                ):
                    if work.abandoned_by is not QUOTA_SPENT:
                        told.append(lane)
                    work.resume()
                if work.quota_exhausted:
                    self.months.reopen_days(lane, work, work.quota_exhausted)
                    work.reopen()
        self._checkpoint -= sum(map(_is_quota, self.days[: self._checkpoint]))
        self.days[:] = [item for item in self.days if not _is_quota(item)]
        return told

    def defer_all(self, why: Refusal | str) -> None:
        """Leave everything to a later run, also what failed since nobody is answered."""
        self.defer_failures()
        for lane in self._queues:
            for work in lane.backlogs:
                self.stop_dataset(lane, work, OUTAGE, why)

    def defer_failures(self) -> None:
        """When nobody gets an answer, no window has failed for good."""
        for place in range(self._checkpoint, len(self.days)):
            if self.days[place].rule.action in _FAILED:
                self.days[place] = dataclasses.replace(self.days[place], rule=OUTAGE)


def _is_quota(item: AbandonedDays) -> bool:
    return item.rule.action is Action.WAIT_FOR_QUOTA

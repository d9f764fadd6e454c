"""What a run gives up, and for how long: exactly what a refusal condemns, and nothing beside it."""

from __future__ import annotations

import dataclasses
import heapq
from collections.abc import Iterator

from harvester.catalogue.error_codes import Action, Rule, Scope
from harvester.core import calendar
from harvester.core.calendar import DaySet
from harvester.core.model import Refusal
from harvester.scheduling.account_queue import PATIENCE, Attempt, Gone, Lane, Owing, Work

SPENT = Rule(
    Action.PARK,
    Scope.ACCOUNT_DATASET,
    "the calls of this day are spent",
    "Run again after midnight in Beijing; limits.daily_quota and limits.daily_reserve decide.",
)
IMPATIENT = Rule(
    Action.DEFER,
    Scope.ACCOUNT_DATASET,
    f"{PATIENCE} attempts more failed than were answered, so the rest was left for a later run",
    "Nothing is lost: run again later, and see whether the account's other datasets are well.",
)
HOPELESS = Rule(
    Action.DEFER,
    Scope.RUN,
    "nobody was answered for a while, so it was left for a later run",
    "See whether WeChat can be reached from here, then run again.",
)
_FAILED = (Action.RETRY, Action.REPEAT)


class Losses:
    """The days that are given up (``gone``), and what that leaves to be owed."""

    def __init__(self, lanes: list[Lane]) -> None:
        self._lanes = lanes
        self.owing = Owing(lanes)
        self.gone: list[Gone] = []
        self._mark = 0

    def mark(self) -> None:
        """Nobody has been answered since now, as far as is known: see `excuse`."""
        self._mark = len(self.gone)

    def give_up(self, attempt: Attempt, rule: Rule, why: Refusal | str) -> None:
        """Give up the days of one attempt."""
        work = attempt.work
        self.lose(attempt.lane, work, work.asked & attempt.days, rule, why)

    def all_work(self) -> Iterator[Work]:
        """What every lane owes of every dataset."""
        return (work for lane in self._lanes for work in lane.work)

    def condemned(self, attempt: Attempt, scope: Scope) -> Iterator[tuple[Lane, Work]]:
        """All that a rule of this scope condemns with this attempt, beyond its window."""
        if scope is Scope.WINDOW:
            return
        whole = scope in (Scope.ACCOUNT, Scope.RUN)
        for lane in self._lanes if scope in (Scope.DATASET, Scope.RUN) else [attempt.lane]:
            for work in lane.work:
                if whole or work.dataset is attempt.work.dataset:
                    yield lane, work

    def abandon(self, lane: Lane, work: Work, rule: Rule, why: Refusal | str) -> bool:
        """Ask nothing more of one dataset of one account. What is in flight may still arrive.

        Returns whether that is news.
        """
        if work.stopped is not None:
            return False
        work.stopped = rule
        lost, work.left = work.missing, 0
        kept = []
        for entry in lane.waiting:
            if entry[1].work is work:
                lost |= work.asked & entry[1].days
            else:
                kept.append(entry)
        heapq.heapify(kept)
        lane.waiting, work.waits = kept, 0
        self.lose(lane, work, lost, rule, why)
        return True

    def lose(self, lane: Lane, work: Work, lost: DaySet, rule: Rule, why: Refusal | str) -> None:
        """Owe some days no longer."""
        if not lost:
            return
        work.missing &= ~lost
        work.asked &= ~lost
        if rule.action is Action.PARK:
            work.parked |= lost
        self.gone.append(
            Gone(
                lane.appid,
                work.dataset.name,
                calendar.oldest(lost),
                calendar.newest(lost),
                count=calendar.count_days(lost),
                rule=rule,
                why=why,
            )
        )
        self.owing.closed(lane, work, lost)

    def unpark(self) -> list[Lane]:
        """A new Beijing day: what was given up for want of quota is owed again.

        Returns the lanes of which WeChat had said that a quota is spent.
        """
        told = []
        for lane in self._lanes:
            for work in lane.work:
                if work.stopped is not None and work.stopped.action is Action.PARK:
                    if work.stopped is not SPENT:
                        told.append(lane)
                    work.stopped = None
                if work.parked:
                    self.owing.opened(lane, work, work.parked)
                    work.missing |= work.parked
                    work.parked = calendar.NO_DAYS
                    work.narrow(work.span)
        self._mark -= sum(map(_is_parked, self.gone[: self._mark]))
        self.gone[:] = [item for item in self.gone if not _is_parked(item)]
        return told

    def leave_all(self, why: Refusal | str) -> None:
        """Leave everything to a later run, also what failed since nobody is answered."""
        self.excuse()
        for lane in self._lanes:
            for work in lane.work:
                self.abandon(lane, work, HOPELESS, why)

    def excuse(self) -> None:
        """When nobody gets an answer, no window has failed for good."""
        for place in range(self._mark, len(self.gone)):
            if self.gone[place].rule.action in _FAILED:
                self.gone[place] = dataclasses.replace(self.gone[place], rule=HOPELESS)


def _is_parked(item: Gone) -> bool:
    return item.rule.action is Action.PARK

"""Learning from refusals: a few calls show that WeChat refuses every window with the same code.

A pair is a dataset of an account. Before its first answer it has one window in flight at a time.
After `IN_ORDER` refusals the next windows are spread over its whole range. After `SAMPLES` refusals
the rest is deferred to a later run.

While no account has an answer for a dataset, only `SCOUTS` accounts, its scouts, make all of these
calls. Every other account waits after its first refusal. If any account gets an answer, all
continue. If all scouts were deferred with the same code, the waiting accounts are deferred too. See
docs/decisions/0029-learning-from-refusals.md.
"""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

from harvester.core import calendar
from harvester.core.calendar import Day
from harvester.core.model import LearntRefusal, Refusal
from harvester.core.rule import Action, Rule, Scope
from harvester.scheduling.abandoned import Abandonment
from harvester.scheduling.account_queue import AccountQueue, Attempt, Backlog

IN_ORDER = 5
"""Refusals of a pair, newest window first, after which its windows are spread over the range."""

_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Positions of the spread samples in the remaining days, from the newest (0) to the oldest (1)."""

SAMPLES = IN_ORDER + len(_SHARES)
"""Refusals without an answer after which the rest of a pair is deferred."""

MAX_IN_A_ROW = 30
"""Equal refusals in a row after which the rest of a pair that was answered is deferred."""

SCOUTS = 2
"""Accounts that ask all samples of a dataset; the others ask once until one is answered."""

UNREADY_ACCOUNTS = 5
"""Accounts refused because a day is not ready, after which the others are not asked for this day.

They are asked nevertheless if an account got an answer for a day as new."""

_GOLDEN = 0.618
"""Distance between the windows that repeated runs of one day try, as a share of a pair's range."""

_LEARNT = (Action.STOP, Action.SPLIT, Action.NOT_READY)


class _Refused(NamedTuple):
    """A refused attempt whose pair waits for the scouts of its dataset."""

    attempt: Attempt
    rule: Rule
    why: Refusal


class RefusalLearning:
    """Conclusions from the refusals of a run, for the refused pairs and for other pairs."""

    def __init__(self, abandoned: Abandonment) -> None:
        self._abandoned = abandoned
        self._today: Day = 0
        self._answered: dict[str, Day] = {}
        self._deferred: defaultdict[tuple[str, int], set[str]] = defaultdict(set)
        self._unready: defaultdict[tuple[str, Day], set[str]] = defaultdict(set)
        self._scouts: defaultdict[str, dict[str, Backlog]] = defaultdict(dict)
        self._waiting: dict[str, list[_Refused]] = {}

    def start_day(self, today: Day) -> None:
        """Record the Beijing day that starts."""
        self._today = today

    def expect(self, queue: AccountQueue, backlog: Backlog, learnt: LearntRefusal) -> None:
        """Record what an earlier run learnt about a pair. If that was today, the pair asks once."""
        backlog.refusals.learnt = learnt
        if backlog.missing and self._is_of_today(learnt, learnt.refusal.errcode):
            # Another window each time, because some may be answered.
            queue.put_sample(backlog, learnt.times * _GOLDEN % 1, 0.0)
            backlog.refusals.held = True

    def answered(self, attempt: Attempt) -> None:
        """Record an answer. From now on all windows of its pair may be asked."""
        name, refusals = attempt.backlog.dataset.name, attempt.backlog.refusals
        if not refusals.opened:
            self._answered[name] = max(attempt.window.end, self._answered.get(name, 0))
        refusals.answer()
        self._resume(name)

    def failed(self, attempt: Attempt, rule: Rule, why: Refusal | str, now: float) -> None:
        """Record a failed attempt, after its rule was applied."""
        # Refused for the days that it took along, a window says nothing of those that it owes.
        is_narrowed = rule.action is Action.SPLIT and attempt.reaches_back
        is_learnt = rule.scope is Scope.WINDOW and rule.action in _LEARNT and not is_narrowed
        if isinstance(why, Refusal) and is_learnt:
            self._refused(_Refused(attempt, rule, why))
        elif rule.is_passing:
            # Trouble on the way says nothing of the dataset, so no answer need be waited for.
            attempt.backlog.refusals.released = True
        self._go_on(attempt, now)
        for name in list(self._waiting):
            self._replace_scouts(name)

    def resume_all(self) -> None:
        """Resume all waiting pairs, because no other work is left."""
        for name in list(self._waiting):
            self._resume(name)

    def _go_on(self, attempt: Attempt, now: float) -> None:
        """Choose the next window of a pair that has no answer yet."""
        backlog, refusals = attempt.backlog, attempt.backlog.refusals
        if refusals.opened or backlog.abandoned_by is not None:
            return
        waiting = self._waiting.get(backlog.dataset.name, ())
        if any(each.attempt.backlog is backlog for each in waiting):
            return
        samples = refusals.in_a_row - IN_ORDER
        if samples >= 0 and backlog.missing and not backlog.pending_retries:
            attempt.queue.put_sample(backlog, _SHARES[samples % len(_SHARES)], now)
        waits = backlog.pending_retries > 0 and not refusals.released
        refusals.held = samples >= 0 or waits

    def _refused(self, refused: _Refused) -> None:
        """Count a refusal, then let the pair wait, defer its rest, or let it continue."""
        attempt, rule, why = refused
        backlog, name = attempt.backlog, attempt.backlog.dataset.name
        in_a_row = backlog.refusals.refuse(why.errcode)
        if rule.action is Action.NOT_READY:
            self._drop_unready_day(refused)
        if backlog.refusals.opened:
            if in_a_row >= MAX_IN_A_ROW:
                self._defer(refused)
        elif self._is_of_today(backlog.refusals.learnt, why.errcode) or self._is_shared(refused):
            self._defer(refused)
        elif in_a_row >= SAMPLES:
            self._defer(refused)
            self._judge(name, why.errcode)
        # A dataset that answered one account may answer this one too, so nothing is waited for.
        elif not (name in self._answered or backlog.refusals.released or self._is_scout(attempt)):
            backlog.refusals.held = True
            self._waiting.setdefault(name, []).append(refused)

    def _is_scout(self, attempt: Attempt) -> bool:
        """Return whether an account is a scout of the dataset; make it one if a place is free."""
        scouts = self._scouts[attempt.backlog.dataset.name]
        if len(scouts) < SCOUTS:
            scouts[attempt.queue.appid] = attempt.backlog
        return attempt.queue.appid in scouts

    def _is_shared(self, refused: _Refused) -> bool:
        """Return whether all scouts were deferred with the code, and the dataset has no answer.

        A code for days that are not ready needs two refusals, because the first may concern the
        newest day alone.
        """
        attempt, rule, why = refused
        name = attempt.backlog.dataset.name
        enough = 2 if rule.action is Action.NOT_READY else 1
        return (
            len(self._deferred[name, why.errcode] - {attempt.queue.appid}) >= SCOUTS
            and name not in self._answered
            and attempt.backlog.refusals.in_a_row >= enough
        )

    def _is_of_today(self, learnt: LearntRefusal | None, errcode: int) -> bool:
        """Return whether an earlier run of today got only this code for a pair."""
        return (
            learnt is not None
            and learnt.on == self._today
            and learnt.refusal.errcode == errcode
            and not learnt.between_answers
        )

    def _judge(self, name: str, errcode: int) -> None:
        """Defer the waiting pairs if all scouts were deferred with the same code."""
        if len(self._deferred[name, errcode]) >= SCOUTS:
            for refused in self._resume(name):
                if self._is_shared(refused):
                    self._defer(refused)

    def _replace_scouts(self, name: str) -> None:
        """Replace scouts that make no more calls by waiting pairs."""
        scouts, waiting = self._scouts[name], self._waiting[name]
        for appid, backlog in list(scouts.items()):
            # A deferred scout stays: its code is known, and another scout still makes calls.
            is_done = backlog.abandoned_by is not None or not backlog.open
            if backlog.refusals.released or (is_done and backlog.refusals.learnt is None):
                del scouts[appid]
        if all(backlog.abandoned_by is not None for backlog in scouts.values()):
            scouts.clear()
        while waiting and len(scouts) < SCOUTS:
            attempt = waiting.pop(0).attempt
            scouts[attempt.queue.appid] = attempt.backlog
            self._wake(attempt)
        if not waiting:
            del self._waiting[name]

    def _resume(self, name: str) -> list[_Refused]:
        """Let all waiting pairs of a dataset continue. Returns their refused attempts."""
        waiting = self._waiting.pop(name, [])
        for refused in waiting:
            self._wake(refused.attempt)
        return waiting

    def _wake(self, attempt: Attempt) -> None:
        attempt.backlog.refusals.held = False
        self._abandoned.resumed.append(attempt.queue)

    def _defer(self, refused: _Refused) -> None:
        """Leave the rest of a pair to a later run.

        If an earlier day ended with the same code, the rest counts as refused.
        """
        attempt, rule, why = refused
        refusals = attempt.backlog.refusals
        known = refusals.learnt
        if known is None or known.refusal.errcode != why.errcode:
            known = LearntRefusal(why, self._today, self._today, 0)
        times = known.times + 1 if known.on == self._today else 1
        # Refused alike on two days it is no passing state, so it counts as a refusal.
        action = Action.STOP if known.since < self._today else Action.DEFER
        told = f"{MAX_IN_A_ROW} in a row were refused" if refusals.opened else "none was answered"
        advice = f"The other windows were not asked, because {told}. {rule.advice}"
        stopped = rule._replace(action=action, scope=Scope.ACCOUNT_DATASET, advice=advice)
        self._abandoned.stop_dataset(attempt.queue, attempt.backlog, stopped, why)
        refusals.learnt = LearntRefusal(why, known.since, self._today, times, refusals.opened)
        if not refusals.opened:
            self._deferred[attempt.backlog.dataset.name, why.errcode].add(attempt.queue.appid)

    def _drop_unready_day(self, refused: _Refused) -> None:
        """Stop asking for a day after UNREADY_ACCOUNTS accounts were refused as not ready."""
        attempt, rule, why = refused
        day, name = attempt.window.end, attempt.backlog.dataset.name
        told = self._unready[name, day]
        told.add(attempt.queue.appid)
        if len(told) != UNREADY_ACCOUNTS or self._answered.get(name, 0) >= day:
            return
        for queue, backlog in self._abandoned.affected_by(attempt, Scope.DATASET):
            lost = backlog.missing & calendar.one_day(day)
            if lost and backlog.abandoned_by is None:
                self._abandoned.drop_days(queue, backlog, lost, rule, why)
                backlog.set_span(backlog.span)

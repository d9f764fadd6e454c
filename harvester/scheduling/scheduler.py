"""State machine without I/O: which window may be asked now, and what each outcome changes.

A queue is always in exactly one of four places: in `_pausing`, in the order in which the pauses
between two starts end; in the heap `_timed` if it waits for any other moment; in `_ready`; or
nowhere, because only an answer to one of its own requests, or an allocation, can change anything.

Times are seconds of one clock that the caller passes in. Nothing here sleeps, and a window that
must wait (pace, retry, minute limit) waits as a number in a heap, never in a worker.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Iterable

from harvester.core import calendar
from harvester.core.config.settings import Limits, Retry
from harvester.core.hold import UNLOSABLE, Hold
from harvester.core.model import Refusal
from harvester.core.rule import Action, Rule, Scope
from harvester.scheduling.abandoned import CUT_OFF, QUOTA_SPENT, Abandonment
from harvester.scheduling.account_queue import AccountQueue, Attempt, Backlog, pairs
from harvester.scheduling.listener import Listener
from harvester.scheduling.rate_state import NEVER, RateLimit, RateState
from harvester.scheduling.ready_accounts import ReadyAccounts, cohort_size
from harvester.scheduling.refusal_learning import RefusalLearning
from harvester.scheduling.refusal_policy import MIDNIGHT_SECONDS, RefusalPolicy
from harvester.scheduling.retry_budget import BUDGET, RetryBudget
from harvester.scheduling.second_questions import Expects, SecondQuestions

_POLLS_PER_INTERVAL = 16
"""A queue whose bucket has no room yet is looked at again after this part of its interval."""

_ONCE_MORE = (Action.RETRY_NOW, Action.REFRESH_TOKEN)
"""Actions after which a second question may be repeated: a connection or a token has come to its
end meanwhile."""

_LONG_WAIT_SECONDS = 1.0
"""A queue that waits longer lets another one begin."""


class Scheduler:
    """The queues of a run and the places they stand in.

    ``abandoned`` has what was given up, ``refusals`` decides about each refusal, and ``learning``
    knows what they share. ``expects`` is that of `SecondQuestions`. ``blocked`` counts the datasets
    that wait for an allocation of calls. Once it ``is_stopped`` nothing is handed out.
    """

    def __init__(
        self,
        queues: Iterable[AccountQueue],
        limits: Limits,
        *,
        policy: Retry,
        limiter: RateLimit,
        jitter: random.Random,
        listener: Listener = lambda _: None,
        expects: Expects = lambda _, __: False,
    ) -> None:
        pace = limits.per_token
        # Taken out of the pace once, because every request needs them.
        self._max_in_window, self._concurrency = pace.rate.count, pace.concurrency
        self._limiter = limiter
        self._pausing: deque[tuple[float, AccountQueue]] = deque()
        self._timed: list[tuple[float, int, AccountQueue]] = []
        self._ready = ReadyAccounts(cohort_size(limits))
        self._sequence = 0
        self.is_stopped = False
        self.blocked = 0
        self._day_ends = NEVER
        self.queues = list(queues)
        self._budget = RetryBudget()
        self.abandoned = Abandonment(self.queues, listener)
        self.refusals = RefusalPolicy(
            self.abandoned,
            self._budget,
            policy=policy,
            jitter=jitter,
            interval=limiter.interval,
        )
        self.learning = RefusalLearning(self.abandoned)
        self._second = SecondQuestions(self.abandoned.months, expects)
        self.refill_requests: list[tuple[AccountQueue, Backlog]] = []
        self.in_flight = 0
        for queue in self.queues:
            # A bucket of one is empty after a start; a larger one is asked each time.
            interval = limiter.interval if pace.burst == 1 else 0.0
            queue.rate = RateState(window_seconds=pace.rate.period, interval=interval)
            self._place(queue, 0.0)

    def __repr__(self) -> str:
        """Describe what the scheduler waits for; times are seconds of the caller's clock."""
        heads = [line[0][0] for line in (self._pausing, self._timed) if line]
        return (
            f"Scheduler(ready={len(self._ready)}, waiting={self._ready.waiting}, "
            f"timed={len(self._pausing) + len(self._timed)}, "
            f"blocked={self.blocked}, in_flight={self.in_flight}, "
            f"wakes_at={min(heads, default=None)}, probe_at={self._budget.not_before or None})"
        )

    # Handing out.

    def next(self, now: float, hold: Hold = UNLOSABLE) -> Attempt | None:
        """Return a window that may be asked now, or None. The caller must start it at once.

        Once the ``hold`` of the run's buckets is lost, nothing is handed out any more.
        """
        while self.has_ready(now):
            queue = self._ready.pop()
            rate = queue.rate
            rate.queued = False
            # What held when the queue was placed may have changed: a pause, a spent budget.
            if self._ready_at(queue, now) > now:
                self._place(queue, now)
                continue
            if not (rate.interval or self._limiter.can_start(queue.appid)):
                # Polled, because the limiter does not say when the bucket has room.
                self._place(queue, now, pause=self._limiter.interval / _POLLS_PER_INTERVAL)
                continue
            if not hold.is_good():
                self.stop()
                return None
            attempt = queue.take_attempt(now)
            if self._budget.waiting and self._put_aside(attempt, now):
                continue
            rate.start(now)
            self.in_flight += 1
            # Lets a refusal for a spent quota tell yesterday's quota from today's.
            attempt.day_number = self.refusals.day_number
            if attempt.backlog.quota.spend():
                self._request_refill(queue, attempt.backlog)
            # While the gate is closed, this attempt is the probe.
            if self._budget.not_before:
                self._budget.probe_sent(now)
            if not rate.interval:
                self._place(queue, now)
            else:
                # Whether there is more for it to do will show when it comes up.
                rate.queued = True
                if rate.is_slowed:
                    self._push_soon(queue, rate.not_before, now)
                else:
                    # Placed unchecked: whether it has more to ask is checked when it comes up.
                    self._pausing.append((now + rate.interval, queue))
            return attempt
        return None

    def has_ready(self, now: float) -> bool:
        """Return whether a queue is ready, and the host is reachable or may be probed.

        From the end of the day until `start_day` none may: its calls would be noted nowhere.
        """
        budget = self._budget
        if now < budget.not_before or now >= self._day_ends:
            return False
        if budget.balance < BUDGET and self.in_flight >= budget.room:
            return False
        while self._pausing and self._pausing[0][0] <= now:
            self._ready.push(self._pausing.popleft()[1])
        while self._timed and self._timed[0][0] <= now:
            self._ready.push(heapq.heappop(self._timed)[2])
        return len(self._ready) > 0

    def wake_at(self, now: float) -> float | None:
        """Return when to look again if nothing is ready; None if an event must come first."""
        if now >= self._day_ends:
            return None
        heads = [line[0][0] for line in (self._pausing, self._timed) if line]
        # Ready queues that are not handed out wait for the gate, or for an answer to come.
        if not (heads or len(self._ready)) or self.in_flight >= self._budget.room:
            return None
        at = max(0.0 if len(self._ready) else min(heads), self._budget.not_before)
        return min(at, self._budget.cut_off_ends) if self._budget.never_heard else at

    def is_finished(self, now: float) -> bool:
        """Return whether nothing is in flight and nothing will come up."""
        if self._budget.never_heard and now >= self._budget.cut_off_ends:
            self.abandoned.defer_all(self._budget.last_failure, CUT_OFF)
        # A queue may have lost its backlog while it stood in a heap.
        while self._pausing and not self._pausing[0][1].has_work():
            self._ready.remove(self._pausing.popleft()[1])
        while self._timed and not self._timed[0][2].has_work():
            self._ready.remove(heapq.heappop(self._timed)[2])
        self._ready.drop_done()
        standing = len(self._pausing) + len(self._timed) + len(self._ready) + self._ready.waiting
        if self.in_flight or standing or self.blocked:
            return False
        # Pairs may wait for others that were stopped meanwhile.
        self.learning.resume_all()
        self.refusals.release_waiting()
        if any(queue.rate.queued for queue in self._place_resumed(now)):
            return False
        return not (any(queue.rate.queued for queue in self._ask_again(now)) or self.blocked)

    def stop(self) -> None:
        """Hand out nothing more. What is owed stays owed: the next run finds it missing."""
        self.is_stopped = True
        # Otherwise `is_finished` would wait for calls that are not needed any more.
        self.blocked = 0
        self._pausing.clear()
        self._timed.clear()
        self._ready.clear()

    def _place(self, queue: AccountQueue, now: float, *, pause: float = 0.0) -> None:
        """Put a queue where it belongs, there not to be looked at again for ``pause`` seconds."""
        if queue.rate.queued or self.is_stopped:
            return
        at = self._ready_at(queue, now)
        # In no place: an answer or an allocation places it.
        if at == NEVER:
            if not queue.rate.in_flight:
                self._ready.leave(queue)
            return
        at = max(at, now + pause)
        queue.rate.queued = True
        if at <= now:
            self._ready.push(queue)
        else:
            self._push_soon(queue, at, now)

    def _place_resumed(self, now: float) -> list[AccountQueue]:
        """Put the queues where they belong that wait for no other account any more."""
        resumed, self.abandoned.resumed = self.abandoned.resumed, []
        for queue in resumed:
            self._place(queue, now)
        return resumed

    def _ask_again(self, now: float) -> list[AccountQueue]:
        """Put the queues where they belong that have something to ask once more."""
        attempts = [] if self.is_stopped else self._second.take()
        for attempt in attempts:
            queue, backlog = attempt.queue, attempt.backlog
            # Not in the ledger yet: nothing was owed when calls were allocated last.
            if backlog.quota.allocated <= 0:
                self._request_refill(queue, backlog)
            if backlog.abandoned_by is None:
                queue.put_retry(attempt, now)
                self._place(queue, now)
        return [attempt.queue for attempt in attempts]

    def _put_aside(self, attempt: Attempt, now: float) -> bool:
        """Put an attempt aside whose dataset waits by itself, unless it is the probe."""
        if at := self._budget.holds_back(attempt.backlog.dataset.name, now):
            attempt.backlog.is_aside = True
            attempt.queue.put_retry(attempt, at)
            self._place(attempt.queue, now)
        return bool(at)

    def _push_soon(self, queue: AccountQueue, at: float, now: float) -> None:
        if at > now + _LONG_WAIT_SECONDS:
            self._ready.leave(queue)
        # The sequence keeps equal times in order, and queues from being compared.
        self._sequence += 1
        heapq.heappush(self._timed, (at, self._sequence, queue))

    def _ready_at(self, queue: AccountQueue, now: float) -> float:
        """Return when a queue may start its next request; `NEVER` if an answer must come first."""
        rate = queue.rate
        # While accounts wait there is enough to do, and each request at the same time of one
        # account would need a connection of its own.
        most = 1 if self._ready.waiting else rate.concurrency
        if rate.in_flight >= most:
            return NEVER
        at = max(rate.slot_at(now, self._max_in_window), rate.not_before)
        if not queue.has_missing():
            if not queue.retries:
                return NEVER
            at = max(at, queue.retries[0][0])
        return at

    # Handing back.

    def answered(self, attempt: Attempt, now: float, *, is_empty: bool = False) -> None:
        """Take in a good answer. Its days are buffered until `durable` is called."""
        attempt.backlog.buffer(attempt.days)
        if is_empty or attempt.is_second or attempt.backlog.doubtful:
            self._second.answered(attempt, is_empty=is_empty)
        attempt.queue.rate.recover(self._concurrency)
        budget = self._budget
        if budget.rows or budget.balance < BUDGET or budget.never_answered:
            self.refusals.heard(attempt.window.dataset)
        refusals = attempt.backlog.refusals
        if refusals.in_a_row or not refusals.opened:
            self.refusals.answered(attempt)
            self.learning.answered(attempt)
        if self.abandoned.resumed:
            self._place_resumed(now)
        self._release(attempt.queue, now)

    def durable(self, attempt: Attempt) -> None:
        """Take in that the answer of an attempt is safe on disk."""
        done = attempt.backlog.make_durable(attempt.days)
        self.abandoned.months.close_days(attempt.queue, attempt.backlog, done)

    def refused(self, attempt: Attempt, rule: Rule, now: float, why: Refusal | str = "") -> None:
        """Change what the rule of a failed attempt says.

        ``why`` is what WeChat or the network said, safe to print.
        """
        if attempt.is_second and (attempt.tries or rule.action not in _ONCE_MORE):
            self._drop_second(attempt, rule, now, why)
            return
        self.refusals.react(attempt, rule, now, why)
        self.learning.failed(attempt, rule, why, now)
        self._place_resumed(now)
        # Afterwards, because the reaction decides when the queue may start again.
        self._release(attempt.queue, now)

    def _drop_second(self, attempt: Attempt, rule: Rule, now: float, why: Refusal | str) -> None:
        """Ask a window no third time, and its account nothing more if that may be the cause."""
        if rule.action is Action.WAIT_FOR_QUOTA:
            # The ledger is told, so that no later run of this day asks in vain.
            self.refusals.react(attempt, rule, now, why)
        if not isinstance(why, Refusal) or rule.scope is not Scope.WINDOW:
            self._second.drop(attempt.queue)
        self._release(attempt.queue, now)

    def give_back(self, attempt: Attempt) -> None:
        """Take in that no call was made, because there was no token for it."""
        attempt.is_sent = False
        # The calls of a day that is over stand in its own ledger.
        if attempt.day_number == self.refusals.day_number:
            attempt.backlog.quota.give_back()
        attempt.backlog.count_call(-1, is_retry=bool(attempt.retry_reason))

    def withheld(self, attempt: Attempt, now: float, why: Refusal | str) -> None:
        """Take in that an attempt got no token, because WeChat answers no requests for tokens."""
        if attempt.is_second:
            self._second.drop(attempt.queue)
        elif attempt.backlog.abandoned_by is not None:
            self.abandoned.fail_attempt(attempt, attempt.backlog.abandoned_by, why)
        else:
            self.refusals.wait_for_token(attempt, now, why, is_withheld=True)
        self._release(attempt.queue, now)

    def _release(self, queue: AccountQueue, now: float) -> None:
        self.in_flight -= 1
        queue.rate.release(now, day_is_over=now >= self._day_ends)
        self._place(queue, now)

    # What may be spent.

    def _request_refill(self, queue: AccountQueue, backlog: Backlog) -> None:
        """Few calls are left of those that are noted. Without any the queue waits for more."""
        quota = backlog.quota
        if quota.exhausted_reason:
            self.abandoned.stop_dataset(queue, backlog, QUOTA_SPENT, quota.exhausted_reason)
            return
        if quota.request_refill():
            self.refill_requests.append((queue, backlog))
        if quota.block_if_empty():
            queue.block(backlog)
            self.blocked += 1

    def take_refill_requests(self) -> list[tuple[AccountQueue, Backlog]]:
        """Return the datasets that asked for calls since the last call."""
        found, self.refill_requests = self.refill_requests, []
        return found

    def start_day(self, now: float, ends: float = NEVER) -> list[tuple[AccountQueue, int]]:
        """Start a Beijing day: no call may be spent before `allocate`.

        Backlogs that waited for quota are open again. From ``ends`` on nothing is handed out until
        next day is begun. Returns how many calls flew over the end of the day before, by queue.
        """
        self.refusals.start_day()
        self.learning.start_day(calendar.today(now))
        self._day_ends = ends
        for queue in self.abandoned.reopen_exhausted():
            queue.rate.pause(now + MIDNIGHT_SECONDS)
        flown = [(queue, queue.rate.take_midnight_calls()) for queue in self.queues]
        for queue, backlog in pairs(self.queues):
            backlog.quota.reset()
            self._request_refill(queue, backlog)
        return [(queue, calls) for queue, calls in flown if calls]

    def allocate(
        self, queue: AccountQueue, backlog: Backlog, calls: int, limit: str, now: float
    ) -> None:
        """Allocate calls that are in the ledger; ``limit`` says why these are the last, if so."""
        backlog.quota.allocate(calls, limit)
        if limit and not backlog.quota.allocated:
            self.abandoned.stop_dataset(queue, backlog, QUOTA_SPENT, limit)
        if backlog.quota.refilled():
            queue.unblock(backlog)
            self.blocked -= 1
        self._place(queue, now)
        # It may have spent what it had while it was decided that it needs no more.
        if not (limit or backlog.abandoned_by or backlog.quota.allocated > 0):
            self._request_refill(queue, backlog)

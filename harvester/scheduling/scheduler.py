"""What may be asked at this moment, and what every verdict changes: a state machine without I/O.

A lane is always in exactly one of four places: in the queue of those that pause as long as the pace
says, and so come up in their order; in the heap of what comes up when for any other reason; in the
heap of what is ready now (the lane with the most windows left first, so that no long lane is left
over at the end); or nowhere, because only an answer to one of its own requests can change anything.

Times are seconds of one clock that the caller passes in. Nothing here sleeps, and a window that
must wait (pace, retry, minute limit) waits as a number in a heap, never in a worker.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Protocol

from harvester.catalogue.error_codes import Rule, rule_for
from harvester.core.config import Pace, Retry
from harvester.core.model import Refusal
from harvester.scheduling.abandoned import QUOTA_SPENT, Abandoned
from harvester.scheduling.account_queue import (
    AbandonedDays,
    AccountQueue,
    Attempt,
    DatasetBacklog,
    MonthTracker,
)
from harvester.scheduling.circuit_breaker import CircuitBreaker
from harvester.scheduling.rate_state import NEVER
from harvester.scheduling.refusal_policy import MIDNIGHT_SECONDS, ExhaustedQuota, RefusalPolicy

_POLLS_PER_INTERVAL = 16
"""A lane whose bucket has no room yet is looked at again after this part of its interval."""


class RateLimit(Protocol):
    """The spacing of request starts, polled; `pace.Spacing` is the real one."""

    @property
    def interval(self) -> float:
        """Seconds after which a used-up bucket has room again."""

    def can_start(self, appid: str) -> bool:
        """Whether a request of this account may start now."""


class Scheduler:
    """The lanes of a run, the two heaps they stand in, and what was given up."""

    def __init__(
        self,
        queues: Iterable[AccountQueue],
        pace: Pace,
        *,
        policy: Retry,
        limiter: RateLimit,
        jitter: random.Random,
    ) -> None:
        self._pace = pace
        self._limiter = limiter
        self._pausing: deque[tuple[float, AccountQueue]] = deque()
        self._timed: list[tuple[float, int, AccountQueue]] = []
        self._ready: list[tuple[int, int, AccountQueue]] = []
        self._sequence = 0
        self._stopped = False
        self._blocked = 0
        self._day_ends = NEVER
        self.queues = list(queues)
        self._breaker = CircuitBreaker()
        self._abandoned = Abandoned(self.queues)
        self._refusals = RefusalPolicy(
            self._abandoned, self._breaker, policy=policy, dice=jitter, interval=limiter.interval
        )
        self.refill_requests: list[tuple[AccountQueue, DatasetBacklog]] = []
        self.in_flight = 0
        for lane in self.queues:
            # A bucket of one is empty after a start; a larger one is asked each time.
            lane.rate.set_pace(pace.period, limiter.interval if pace.burst == 1 else 0.0)
            self._place(lane, 0.0)

    def __repr__(self) -> str:
        """Describe what the scheduler waits for; times are seconds of the caller's clock."""
        heads = [line[0][0] for line in (self._pausing, self._timed) if line]
        return (
            f"Scheduler(ready={len(self._ready)}, timed={len(self._pausing) + len(self._timed)}, "
            f"blocked={self._blocked}, in_flight={self.in_flight}, "
            f"wakes_at={min(heads, default=None)}, probe_at={self._breaker.not_before or None})"
        )

    @property
    def abandoned(self) -> list[AbandonedDays]:
        """What is given up, so far."""
        return self._abandoned.days

    @property
    def exhausted(self) -> list[ExhaustedQuota]:
        """What WeChat has said to be spent since `take_parked`."""
        return self._refusals.exhausted

    @property
    def is_blocked_on_quota(self) -> bool:
        """Whether a lane waits for calls that are to be noted first."""
        return self._blocked > 0

    @property
    def shortened_spans(self) -> dict[str, int]:
        """The datasets of which WeChat takes fewer days at once, and how many it took."""
        return self._refusals.shortened_spans

    @property
    def retries(self) -> int:
        """How many attempts were put back to be made again."""
        return self._refusals.retries

    @property
    def months(self) -> MonthTracker:
        """Who still owes what of which month."""
        return self._abandoned.months

    # Handing out.

    def next(self, now: float) -> Attempt | None:
        """A window that may be asked at this very moment, or None. The caller starts it at once."""
        while self.has_ready(now):
            queue = heapq.heappop(self._ready)[2]
            rate = queue.rate
            rate.dequeue()
            if self._ready_at(queue, now) > now:
                self._place(queue, now)
                continue
            if not (rate.interval or self._limiter.can_start(queue.appid)):
                self._place(queue, now, pause=self._limiter.interval / _POLLS_PER_INTERVAL)
                continue
            attempt = queue.take_attempt(now)
            rate.start(now)
            self.in_flight += 1
            attempt.day_number = self._refusals.day_number
            if attempt.backlog.quota.spend():
                self._request_refill(queue, attempt.backlog)
            if self._breaker.not_before:
                self._breaker.probe_sent(now)
            if not rate.interval:
                self._place(queue, now)
            else:
                # Whether there is more for it to do will show when it comes up.
                rate.enqueue()
                if rate.is_slowed:
                    self._push_soon(queue, rate.not_before)
                else:
                    self._pausing.append((now + rate.interval, queue))
            return attempt
        return None

    def has_ready(self, now: float) -> bool:
        """Whether some lane has come up, and the host is there or may be probed.

        From the end of the day until `begin_day` none may: its calls would be noted nowhere.
        """
        if now < self._breaker.not_before or now >= self._day_ends:
            return False
        while self._pausing and self._pausing[0][0] <= now:
            self._push_ready(self._pausing.popleft()[1])
        while self._timed and self._timed[0][0] <= now:
            self._push_ready(heapq.heappop(self._timed)[2])
        return bool(self._ready)

    def wake_at(self, now: float) -> float | None:
        """When to look again if nothing is ready; None if that depends on others.

        On an answer, on calls that are granted, or on the new day to begin.
        """
        if now >= self._day_ends:
            return None
        if self._ready:
            return self._breaker.not_before
        heads = [line[0][0] for line in (self._pausing, self._timed) if line]
        return max(min(heads), self._breaker.not_before) if heads else None

    @property
    def finished(self) -> bool:
        """Nothing is in flight and nothing will come up.

        A lane may lose all its work while it stands somewhere: nobody waits for it then.
        """
        while self._pausing and not self._pausing[0][1].has_work():
            self._pausing.popleft()[1].rate.dequeue()
        while self._timed and not self._timed[0][2].has_work():
            heapq.heappop(self._timed)[2].rate.dequeue()
        while self._ready and not self._ready[0][2].has_work():
            heapq.heappop(self._ready)[2].rate.dequeue()
        return not (self.in_flight or self._pausing or self._timed or self._ready or self._blocked)

    def all_backlogs(self) -> Iterator[DatasetBacklog]:
        """What every lane owes of every dataset."""
        return (work for lane in self.queues for work in lane.backlogs)

    def stop(self) -> None:
        """Hand out nothing more. What is owed stays owed: the next run finds it missing."""
        self._stopped = True
        self._blocked = 0
        self._pausing.clear()
        self._timed.clear()
        self._ready.clear()

    def _place(self, lane: AccountQueue, now: float, *, pause: float = 0.0) -> None:
        """Put a lane where it belongs, there not to be looked at again for ``pause`` seconds."""
        if lane.rate.queued or self._stopped:
            return
        at = self._ready_at(lane, now)
        if at == NEVER:
            return
        at = max(at, now + pause)
        lane.rate.enqueue()
        if at <= now:
            self._push_ready(lane)
        else:
            self._push_soon(lane, at)

    def _push_soon(self, lane: AccountQueue, at: float) -> None:
        self._sequence += 1
        heapq.heappush(self._timed, (at, self._sequence, lane))

    def _push_ready(self, lane: AccountQueue) -> None:
        self._sequence += 1
        heapq.heappush(self._ready, (-lane.windows_left(), self._sequence, lane))

    def _ready_at(self, lane: AccountQueue, now: float) -> float:
        """When the lane may start its next request; `NEVER` if an answer must come first."""
        rate = lane.rate
        if rate.in_flight >= rate.concurrency or lane.blocked_backlogs:
            return NEVER
        at = max(rate.slot_at(now, self._pace.count), rate.not_before)
        if not lane.has_missing():
            if not lane.retries:
                return NEVER
            at = max(at, lane.retries[0][0])
        return at

    # Handing back.

    def answered(self, attempt: Attempt, now: float) -> None:
        """A good answer came. Its days are held until `durable` says that they are safe."""
        attempt.backlog.buffer(attempt.days)
        attempt.queue.rate.recover(self._pace.concurrency)
        if self._breaker.failures or self._breaker.never_answered:
            if self._breaker.is_outage(now):
                self._abandoned.defer_failures()
            self._breaker.answered()
        if attempt.split_span:
            self._refusals.learn_span(attempt)
        self._release(attempt.queue, now)

    def is_last_try(self, attempt: Attempt) -> bool:
        """Whether one more failure of this attempt gives its window up."""
        return self._refusals.is_last_try(attempt)

    def durable(self, attempt: Attempt) -> None:
        """The answer of an attempt is safe on disk."""
        done = attempt.backlog.make_durable(attempt.days)
        self.months.close_days(attempt.queue, attempt.backlog, done)

    def refused(self, attempt: Attempt, rule: Rule, now: float, why: Refusal | str = "") -> None:
        """The attempt came to nothing; the rule says what that changes.

        ``why`` is what WeChat or the network said, safe to print.
        """
        self._refusals.react(attempt, rule, now, why)
        self._release(attempt.queue, now)

    def _release(self, lane: AccountQueue, now: float) -> None:
        self.in_flight -= 1
        lane.rate.release(now, day_is_over=now >= self._day_ends)
        self._place(lane, now)

    # What may be spent.

    def _request_refill(self, lane: AccountQueue, work: DatasetBacklog) -> None:
        """Few calls are left of those that are noted. Without any the lane waits for more."""
        quota = work.quota
        if quota.exhausted_reason:
            self._abandoned.stop_dataset(lane, work, QUOTA_SPENT, quota.exhausted_reason)
            return
        if quota.request_refill():
            self.refill_requests.append((lane, work))
        if quota.block_if_empty():
            lane.block()
            self._blocked += 1

    def take_refill_requests(self) -> list[tuple[AccountQueue, DatasetBacklog]]:
        """Return the datasets that asked for calls since the last call."""
        found, self.refill_requests = self.refill_requests, []
        return found

    def finish(self, now: float, accounts: int) -> None:
        """Everything was tried. Of so many ``accounts`` anything is wanted.

        If nobody was answered any more, or most of them never, nobody has failed for good.
        """
        nobody = self._breaker.never_answered and 2 * len(self._breaker.accounts) > accounts
        if nobody or self._breaker.is_outage(now):
            self._abandoned.defer_failures()

    def cool_down(self, bucket: int, until: float, recent: int | None) -> None:
        """Until a moment, so many calls of the run before may still count for each account.

        If nobody knows how many (None), nothing is started before.
        """
        for lane in self.queues:
            if lane.bucket != bucket:
                continue
            if recent is None:
                lane.rate.pause(until)
            else:
                lane.rate.reserve(until, recent)

    def take_exhausted(self) -> list[ExhaustedQuota]:
        """What WeChat has said to be spent since the last call."""
        return self._refusals.take_exhausted()

    def start_day(self, now: float, ends: float = NEVER) -> list[tuple[AccountQueue, int]]:
        """Nothing is noted for this Beijing day yet: nobody spends a call before `grant`.

        What was parked until now is owed again. From ``ends`` on nothing is handed out until the
        next day is begun. Returns how many calls flew over the end of the day before, by lane.
        """
        self._refusals.start_day()
        self._day_ends = ends
        for lane in self._abandoned.reopen_exhausted():
            lane.rate.pause(now + MIDNIGHT_SECONDS)
        flown = [(lane, lane.rate.take_midnight_calls()) for lane in self.queues]
        for lane in self.queues:
            for work in lane.backlogs:
                work.quota.reset()
                self._request_refill(lane, work)
        return [(lane, calls) for lane, calls in flown if calls]

    def allocate(
        self, lane: AccountQueue, work: DatasetBacklog, calls: int, limit: str, now: float
    ) -> None:
        """So many calls more are noted and may be spent; ``limit`` says why these are the last."""
        work.quota.allocate(calls, limit)
        if limit and not work.quota.allocated:
            self._abandoned.stop_dataset(lane, work, QUOTA_SPENT, limit)
        self._refilled(lane, work, now)

    def exhaust(
        self, lane: AccountQueue, work: DatasetBacklog, refusal: Refusal, now: float
    ) -> None:
        """An earlier run was told that the quota of this day is spent."""
        self._abandoned.stop_dataset(lane, work, rule_for(refusal.errcode), refusal)
        self._refilled(lane, work, now)

    def _refilled(self, lane: AccountQueue, work: DatasetBacklog, now: float) -> None:
        if work.quota.refilled():
            lane.unblock()
            self._blocked -= 1
        self._place(lane, now)

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
from harvester.scheduling.abandoned import SPENT, Losses
from harvester.scheduling.account_queue import PATIENCE, Attempt, Gone, Lane, Owing, Work
from harvester.scheduling.circuit_breaker import Reach
from harvester.scheduling.refusal_policy import MIDNIGHT_SECONDS, Parked, Reactions

_LOOKS = 16
"""A lane whose bucket has no room yet is looked at again after this part of its interval."""

_NEVER = float("inf")


class Spaced(Protocol):
    """The spacing of request starts, polled; `pace.Spacing` is the real one."""

    @property
    def interval(self) -> float:
        """Seconds after which a used-up bucket has room again."""

    def has_room(self, appid: str) -> bool:
        """Whether a request of this account may start now."""


class Schedule:
    """The lanes of a run, the two heaps they stand in, and what was given up."""

    def __init__(
        self,
        lanes: Iterable[Lane],
        pace: Pace,
        *,
        policy: Retry,
        spacing: Spaced,
        dice: random.Random,
    ) -> None:
        self._pace = pace
        self._spacing = spacing
        self._pausing: deque[tuple[float, Lane]] = deque()
        self._soon: list[tuple[float, int, Lane]] = []
        self._ready: list[tuple[int, int, Lane]] = []
        self._turn = 0
        self._stopped = False
        self._dry = 0
        self._day_ends = _NEVER
        self.lanes = list(lanes)
        self._reach = Reach()
        self._losses = Losses(self.lanes)
        self._reactions = Reactions(
            self._losses, self._reach, policy=policy, dice=dice, interval=spacing.interval
        )
        self.thirsty: list[tuple[Lane, Work]] = []
        self.in_flight = 0
        for lane in self.lanes:
            lane.period = pace.period
            # A bucket of one is empty now for sure; a larger one tells when it is asked.
            lane.pause = spacing.interval if pace.burst == 1 else 0.0
            self._place(lane, 0.0)

    @property
    def gone(self) -> list[Gone]:
        """What is given up, so far."""
        return self._losses.gone

    @property
    def parked(self) -> list[Parked]:
        """What WeChat has said to be spent since `take_parked`."""
        return self._reactions.parked

    @property
    def is_dry(self) -> bool:
        """Whether a lane waits for calls that are to be noted first."""
        return self._dry > 0

    @property
    def narrowed(self) -> dict[str, int]:
        """The datasets of which WeChat takes fewer days at once, and how many it took."""
        return self._reactions.narrowed

    @property
    def retries(self) -> int:
        """How many attempts were put back to be made again."""
        return self._reactions.retries

    @property
    def owing(self) -> Owing:
        """Who still owes what of which month."""
        return self._losses.owing

    # Handing out.

    def next(self, now: float) -> Attempt | None:
        """A window that may be asked at this very moment, or None. The caller starts it at once."""
        while self.has_ready(now):
            lane = heapq.heappop(self._ready)[2]
            lane.placed = False
            if self._ready_at(lane, now) > now:
                self._place(lane, now)
                continue
            if not (lane.pause or self._spacing.has_room(lane.appid)):
                self._place(lane, now, pause=self._spacing.interval / _LOOKS)
                continue
            attempt = lane.hand_out(now)
            lane.in_flight += 1
            self.in_flight += 1
            attempt.midnights = self._reactions.midnights
            work = attempt.work
            work.room -= 1
            if work.room <= work.low:
                self._run_low(lane, work)
            if self._reach.not_before:
                self._reach.probed(now)
            if lane.is_slowed:
                lane.not_before = now + lane.pause
            if lane.pause:
                # Whether there is more for it to do will show when it comes up.
                lane.placed = True
                if lane.is_slowed:
                    self._push_soon(lane, lane.not_before)
                else:
                    self._pausing.append((now + lane.pause, lane))
            else:
                self._place(lane, now)
            return attempt
        return None

    def has_ready(self, now: float) -> bool:
        """Whether some lane has come up, and the host is there or may be probed.

        From the end of the day until `begin_day` none may: its calls would be noted nowhere.
        """
        if now < self._reach.not_before or now >= self._day_ends:
            return False
        while self._pausing and self._pausing[0][0] <= now:
            self._push_ready(self._pausing.popleft()[1])
        while self._soon and self._soon[0][0] <= now:
            self._push_ready(heapq.heappop(self._soon)[2])
        return bool(self._ready)

    def wake_at(self, now: float) -> float | None:
        """When to look again if nothing is ready; None if that depends on others.

        On an answer, on calls that are granted, or on the new day to begin.
        """
        if now >= self._day_ends:
            return None
        if self._ready:
            return self._reach.not_before
        heads = [line[0][0] for line in (self._pausing, self._soon) if line]
        return max(min(heads), self._reach.not_before) if heads else None

    @property
    def finished(self) -> bool:
        """Nothing is in flight and nothing will come up.

        A lane may lose all its work while it stands somewhere: nobody waits for it then.
        """
        while self._pausing and not self._pausing[0][1].has_work():
            self._pausing.popleft()[1].placed = False
        while self._soon and not self._soon[0][2].has_work():
            heapq.heappop(self._soon)[2].placed = False
        while self._ready and not self._ready[0][2].has_work():
            heapq.heappop(self._ready)[2].placed = False
        return not (self.in_flight or self._pausing or self._soon or self._ready or self._dry)

    def all_work(self) -> Iterator[Work]:
        """What every lane owes of every dataset."""
        return (work for lane in self.lanes for work in lane.work)

    def stop(self) -> None:
        """Hand out nothing more. What is owed stays owed: the next run finds it missing."""
        self._stopped = True
        self._dry = 0
        self._pausing.clear()
        self._soon.clear()
        self._ready.clear()

    def _place(self, lane: Lane, now: float, *, pause: float = 0.0) -> None:
        """Put a lane where it belongs, there not to be looked at again for ``pause`` seconds."""
        if lane.placed or self._stopped:
            return
        at = self._ready_at(lane, now)
        if at == _NEVER:
            return
        at = max(at, now + pause)
        lane.placed = True
        if at <= now:
            self._push_ready(lane)
        else:
            self._push_soon(lane, at)

    def _push_soon(self, lane: Lane, at: float) -> None:
        self._turn += 1
        heapq.heappush(self._soon, (at, self._turn, lane))

    def _push_ready(self, lane: Lane) -> None:
        self._turn += 1
        heapq.heappush(self._ready, (-lane.left(), self._turn, lane))

    def _ready_at(self, lane: Lane, now: float) -> float:
        """When the lane may start its next request; `_NEVER` if an answer must come first."""
        if lane.in_flight >= lane.width or lane.dry:
            return _NEVER
        at = max(now, lane.not_before)
        if not lane.has_missing():
            if not lane.waiting:
                return _NEVER
            at = max(at, lane.waiting[0][0])
        slots = lane.slots
        while slots and slots[0] <= now:
            slots.popleft()
        if lane.in_flight + len(slots) >= self._pace.count:
            if not slots:
                return _NEVER
            at = max(at, slots[0])
        return at

    # Handing back.

    def answered(self, attempt: Attempt, now: float) -> None:
        """A good answer came. Its days are held until `durable` says that they are safe."""
        lane, work = attempt.lane, attempt.work
        held = work.asked & attempt.days
        work.asked &= ~held
        work.held |= held
        lane.width = self._pace.concurrency
        lane.minute_limits = 0
        lane.failures = 0
        if work.patience < PATIENCE:
            work.patience += 1
        if self._reach.failures or self._reach.is_silent:
            if self._reach.is_outage(now):
                self._losses.excuse()
            self._reach.answered()
        if attempt.halved:
            self._reactions.learn_span(attempt)
        self._land(lane, now)

    def is_last_try(self, attempt: Attempt) -> bool:
        """Whether one more failure of this attempt gives its window up."""
        return self._reactions.is_last_try(attempt)

    def durable(self, attempt: Attempt) -> None:
        """The answer of an attempt is safe on disk."""
        done = attempt.work.held & attempt.days
        attempt.work.held &= ~done
        self.owing.closed(attempt.lane, attempt.work, done)

    def refused(self, attempt: Attempt, rule: Rule, now: float, why: Refusal | str = "") -> None:
        """The attempt came to nothing; the rule says what that changes.

        ``why`` is what WeChat or the network said, safe to print.
        """
        self._reactions.react(attempt, rule, now, why)
        self._land(attempt.lane, now)

    def _land(self, lane: Lane, now: float) -> None:
        """A slot falls free one whole period after its answer came back.

        That makes the limit strict, however late the server counted the request.
        """
        lane.in_flight -= 1
        self.in_flight -= 1
        if now >= self._day_ends:
            lane.belated += 1
        lane.slots.append(now + lane.period)
        self._place(lane, now)

    # What may be spent.

    def _run_low(self, lane: Lane, work: Work) -> None:
        """Few calls are left of those that are noted. Without any the lane waits for more."""
        if work.limit:
            self._losses.abandon(lane, work, SPENT, work.limit)
            return
        if not work.thirsty:
            work.thirsty = True
            self.thirsty.append((lane, work))
        if work.room <= 0 and not work.dry:
            work.dry = True
            lane.dry += 1
            self._dry += 1

    def settle(self, now: float, accounts: int) -> None:
        """Everything was tried. Of so many ``accounts`` anything is wanted.

        If nobody was answered any more, or most of them never, nobody has failed for good.
        """
        nobody = self._reach.is_silent and 2 * len(self._reach.accounts) > accounts
        if nobody or self._reach.is_outage(now):
            self._losses.excuse()

    def hold_off(self, bucket: int, until: float, recent: int | None) -> None:
        """Until a moment, so many calls of the run before may still count for each account.

        If nobody knows how many (None), nothing is started before.
        """
        for lane in self.lanes:
            if lane.bucket == bucket and recent is None:
                lane.not_before = max(lane.not_before, until)
            elif lane.bucket == bucket:
                lane.slots.extend([until] * (recent or 0))

    def take_parked(self) -> list[Parked]:
        """What WeChat has said to be spent since the last call."""
        found, self._reactions.parked = self._reactions.parked, []
        return found

    def begin_day(self, now: float, ends: float = _NEVER) -> list[tuple[Lane, int]]:
        """Nothing is noted for this Beijing day yet: nobody spends a call before `grant`.

        What was parked until now is owed again. From ``ends`` on nothing is handed out until the
        next day is begun. Returns how many calls flew over the end of the day before, by lane.
        """
        self._reactions.midnights += 1
        self._day_ends = ends
        self._reactions.parked = []
        for lane in self._losses.unpark():
            lane.not_before = max(lane.not_before, now + MIDNIGHT_SECONDS)
        flown = [
            (lane, lane.in_flight + lane.belated)
            for lane in self.lanes
            if lane.in_flight or lane.belated
        ]
        for lane in self.lanes:
            lane.belated = 0
            for work in lane.work:
                work.room, work.limit = 0, ""
                self._run_low(lane, work)
        return flown

    def grant(self, lane: Lane, work: Work, calls: int, limit: str, now: float) -> None:
        """So many calls more are noted and may be spent; ``limit`` says why these are the last."""
        work.room += calls
        work.limit, work.low = limit, 0 if limit else work.room // 2
        if limit and not work.room:
            self._losses.abandon(lane, work, SPENT, limit)
        self._quench(lane, work, now)

    def park(self, lane: Lane, work: Work, refusal: Refusal, now: float) -> None:
        """An earlier run was told that the quota of this day is spent."""
        self._losses.abandon(lane, work, rule_for(refusal.errcode), refusal)
        self._quench(lane, work, now)

    def _quench(self, lane: Lane, work: Work, now: float) -> None:
        work.thirsty = False
        if work.dry:
            work.dry = False
            lane.dry -= 1
            self._dry -= 1
        self._place(lane, now)

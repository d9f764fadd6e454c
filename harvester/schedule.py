"""What may be asked at this moment, and what every verdict changes: a state machine without I/O.

A lane is always in exactly one of three places: in the heap of what comes up when, in the heap of
what is ready now (the lane with the most windows left first, so that no long lane is left over at
the end), or nowhere, because only an answer to one of its own requests can change anything.

Times are seconds of one clock that the caller passes in. Nothing here sleeps, and a window that
must wait (pace, retry, minute limit) waits as a number in a heap, never in a worker.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterable, Iterator
from typing import Protocol

from harvester import days, retry
from harvester.days import DaySet
from harvester.lanes import Attempt, Gone, Lane, Owing, Work
from harvester.model import Pace, Retry
from harvester.verdict import Action, Rule, Scope
from harvester.wire import Refusal

MINUTE_LIMITS_IN_A_ROW = 10
"""So many refusals by the minute limit without one answer between them, and the dataset is left
alone."""

RENEWALS = 2
"""So many tokens are fetched for one window in the place of a rejected one: then it is a war."""

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
        self._policy = policy
        self._spacing = spacing
        # A bucket of one is empty now for sure; a larger one tells when it is asked.
        self._pause = spacing.interval if pace.burst == 1 else 0.0
        self._dice = dice
        self._soon: list[tuple[float, int, Lane]] = []
        self._ready: list[tuple[int, int, Lane]] = []
        self._turn = 0
        self._stopped = False
        self._lanes = list(lanes)
        self.owing = Owing(self._lanes)
        self.gone: list[Gone] = []
        self.narrowed: dict[str, int] = {}
        self.in_flight = 0
        self.retries = 0
        for lane in self._lanes:
            self._place(lane, 0.0)

    # Handing out.

    def next(self, now: float) -> Attempt | None:
        """A window that may be asked at this very moment, or None. The caller starts it at once."""
        while self.has_ready(now):
            lane = heapq.heappop(self._ready)[2]
            lane.placed = False
            if self._ready_at(lane, now) > now:
                self._place(lane, now)
                continue
            if not self._spacing.has_room(lane.appid):
                self._place(lane, now, pause=self._spacing.interval / _LOOKS)
                continue
            attempt = lane.hand_out(now)
            lane.in_flight += 1
            self.in_flight += 1
            self._place(lane, now, pause=self._pause)
            return attempt
        return None

    def has_ready(self, now: float) -> bool:
        """Whether some lane has come up."""
        while self._soon and self._soon[0][0] <= now:
            self._push_ready(heapq.heappop(self._soon)[2])
        return bool(self._ready)

    def wake_at(self) -> float | None:
        """When to look again if nothing is ready; None if only an answer can change anything."""
        return self._soon[0][0] if self._soon else None

    @property
    def finished(self) -> bool:
        """Nothing is in flight and nothing will come up.

        A lane may lose all its work while it stands in a heap: nobody waits for it then.
        """
        while self._soon and not self._soon[0][2].has_work():
            heapq.heappop(self._soon)[2].placed = False
        while self._ready and not self._ready[0][2].has_work():
            heapq.heappop(self._ready)[2].placed = False
        return not (self.in_flight or self._soon or self._ready)

    def all_work(self) -> Iterator[Work]:
        """What every lane owes of every dataset."""
        return (work for lane in self._lanes for work in lane.work)

    def stop(self) -> None:
        """Hand out nothing more. What is owed stays owed: the next run finds it missing."""
        self._stopped = True
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
            heapq.heappush(self._soon, (at, self._next_turn(), lane))

    def _push_ready(self, lane: Lane) -> None:
        heapq.heappush(self._ready, (-lane.left(), self._next_turn(), lane))

    def _ready_at(self, lane: Lane, now: float) -> float:
        """When the lane may start its next request; `_NEVER` if an answer must come first."""
        if lane.in_flight >= lane.width or not lane.has_work():
            return _NEVER
        at = max(now, lane.not_before)
        if not lane.has_missing():
            at = max(at, lane.waiting[0][0])
        while lane.slots and lane.slots[0] <= now:
            lane.slots.popleft()
        if lane.in_flight + len(lane.slots) >= self._pace.count:
            if not lane.slots:
                return _NEVER
            at = max(at, lane.slots[0])
        return at

    def _next_turn(self) -> int:
        self._turn += 1
        return self._turn

    # Handing back.

    def answered(self, attempt: Attempt, now: float) -> None:
        """A good answer came. Its days are held until `durable` says that they are safe."""
        lane, work = attempt.lane, attempt.work
        held = work.asked & attempt.days
        work.asked &= ~held
        work.held |= held
        lane.width = self._pace.concurrency
        lane.minute_limits = 0
        if attempt.halved:
            self._learn_span(attempt)
        self._land(lane, now)

    def is_last_try(self, attempt: Attempt) -> bool:
        """Whether one more failure of this attempt gives its window up."""
        return attempt.tries + 1 >= self._policy.max_attempts

    def durable(self, attempt: Attempt) -> None:
        """The answer of an attempt is safe on disk."""
        done = attempt.work.held & attempt.days
        attempt.work.held &= ~done
        self.owing.closed(attempt.lane, attempt.work, done)

    def refused(self, attempt: Attempt, rule: Rule, now: float, why: Refusal | str = "") -> None:
        """The attempt came to nothing; the rule says what that changes.

        ``why`` is what WeChat or the network said, safe to print.
        """
        stopped = attempt.work.stopped
        if stopped is not None:
            self._give_up(attempt, stopped, why)
        elif rule.action is Action.REPEAT and not attempt.tries:
            attempt.tries = 1
            self._wait(attempt, now)
        elif rule.action in (Action.RETRY, Action.REPEAT):
            self._retry(attempt, rule, now, why)
        elif rule.action is Action.REFRESH:
            self._renew(attempt, rule, now, why)
        elif rule.action is Action.SLOW_DOWN:
            self._slow_down(attempt, rule, now, why)
        elif rule.action is Action.NOT_READY:
            self._drop_newest(attempt, rule, now, why)
        elif rule.action is Action.NARROW and attempt.window.end > attempt.window.begin:
            self._halve(attempt, now)
        else:
            self._stop(attempt, rule, why)
        self._land(attempt.lane, now)

    def _land(self, lane: Lane, now: float) -> None:
        """A slot falls free one whole period after its answer came back.

        That makes the limit strict, however late the server counted the request.
        """
        lane.in_flight -= 1
        self.in_flight -= 1
        lane.slots.append(now + self._pace.period)
        self._place(lane, now)

    def _wait(self, attempt: Attempt, until: float) -> None:
        self.retries += 1
        heapq.heappush(attempt.lane.waiting, (until, attempt))

    def _retry(self, attempt: Attempt, rule: Rule, now: float, why: Refusal | str) -> None:
        """Try again later.

        A lane in trouble asks one thing at a time until an answer comes, so that a server that is
        slow for one account cannot hold the connections of all.
        """
        attempt.lane.width = 1
        attempt.tries += 1
        if attempt.tries >= self._policy.max_attempts:
            self._give_up(attempt, rule, why)
        else:
            self._wait(attempt, now + retry.delay(attempt.tries, self._policy, self._dice))

    def _renew(self, attempt: Attempt, rule: Rule, now: float, why: Refusal | str) -> None:
        """Each refused request is asked once more, with a token fetched since.

        If that is refused too, its source has one means left, or says that there is none.
        """
        if attempt.renewals == RENEWALS:
            self._stop(attempt, rule, why)
        else:
            attempt.renewals += 1
            self._wait(attempt, now)

    def _slow_down(self, attempt: Attempt, rule: Rule, now: float, why: Refusal | str) -> None:
        """The minute limit pauses the lane until the next minute and burns no attempt."""
        lane = attempt.lane
        lane.minute_limits += 1
        if lane.minute_limits > MINUTE_LIMITS_IN_A_ROW:
            self._stop(attempt, rule, why)
        else:
            pause = retry.until_next_minute(now, self._dice)
            lane.not_before = max(lane.not_before, now + pause)
            self._wait(attempt, lane.not_before)

    def _drop_newest(self, attempt: Attempt, rule: Rule, now: float, why: Refusal | str) -> None:
        """The window's newest day is not there yet; the rest is asked again at once."""
        window = attempt.window
        newest = days.one_day(window.end)
        rest = attempt.work.asked & attempt.days & ~newest
        self._lose(attempt.lane, attempt.work, attempt.work.asked & newest, rule, why)
        if rest:
            self._wait(attempt.part(window.begin, days.newest(rest)), now)

    def _halve(self, attempt: Attempt, now: float) -> None:
        """WeChat takes fewer days at once than it used to: ask the window in two."""
        begin, end = attempt.window.begin, attempt.window.end
        middle = (begin + end + 1) // 2
        for half in (days.day_range(middle, end), days.day_range(begin, middle - 1)):
            rest = attempt.work.asked & half
            if rest:
                part = attempt.part(days.oldest(rest), days.newest(rest))
                part.halved = True
                self._wait(part, now)

    def _learn_span(self, attempt: Attempt) -> None:
        """A half was answered: ask as many days as it had, for the rest of the run."""
        dataset = attempt.work.dataset
        span = attempt.window.end - attempt.window.begin + 1
        if span > self.narrowed.get(dataset.name, 0):
            self.narrowed[dataset.name] = span
            for work in self.all_work():
                if work.dataset is dataset:
                    work.narrow(span)

    def _stop(self, attempt: Attempt, rule: Rule, why: Refusal | str) -> None:
        """Stop exactly what the rule condemns."""
        self._give_up(attempt, rule, why)
        if rule.scope is Scope.WINDOW:
            return
        lanes = self._lanes if rule.scope in (Scope.DATASET, Scope.RUN) else [attempt.lane]
        whole = rule.scope in (Scope.ACCOUNT, Scope.RUN)
        for lane in lanes:
            for work in lane.work:
                if whole or work.dataset is attempt.work.dataset:
                    self._abandon(lane, work, rule, why)

    def _abandon(self, lane: Lane, work: Work, rule: Rule, why: Refusal | str) -> None:
        """Ask nothing more of one dataset of one account. What is in flight may still arrive."""
        if work.stopped is not None:
            return
        work.stopped = rule
        lost, work.left = work.missing, 0
        kept = []
        for entry in lane.waiting:
            if entry[1].work is work:
                lost |= work.asked & entry[1].days
            else:
                kept.append(entry)
        heapq.heapify(kept)
        lane.waiting = kept
        self._lose(lane, work, lost, rule, why)

    def _give_up(self, attempt: Attempt, rule: Rule, why: Refusal | str) -> None:
        work = attempt.work
        self._lose(attempt.lane, work, work.asked & attempt.days, rule, why)

    def _lose(self, lane: Lane, work: Work, lost: DaySet, rule: Rule, why: Refusal | str) -> None:
        if not lost:
            return
        work.missing &= ~lost
        work.asked &= ~lost
        self.gone.append(
            Gone(
                lane.appid,
                work.dataset.name,
                days.oldest(lost),
                days.newest(lost),
                count=days.count_days(lost),
                rule=rule,
                why=why,
            )
        )
        self.owing.closed(lane, work, lost)

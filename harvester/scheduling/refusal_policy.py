"""What a refusal changes: a window tried again, a lane slowed down, or a piece of work given up.

Nothing is decided here about what is asked next: `schedule` does that, and calls `Reactions.react`
for each attempt that came to nothing.
"""

from __future__ import annotations

import heapq
import random
from typing import NamedTuple

from harvester.catalogue.error_codes import Action, Rule
from harvester.core import calendar
from harvester.core.config import Retry
from harvester.core.model import Refusal
from harvester.scheduling import backoff
from harvester.scheduling.abandoned import IMPATIENT, Losses
from harvester.scheduling.account_queue import Attempt, Lane, Work
from harvester.scheduling.circuit_breaker import Reach

MINUTE_LIMITS_IN_A_ROW = 10
"""In so many minutes one after the other refused by the minute limit, without one answer between,
and the dataset is left alone."""

RENEWALS = 2
"""So many tokens are fetched for one window in the place of a rejected one: then it is a war."""

SLOWER = 4 / 3
"""A minute limit stretches the time between two requests of its lane so much, for the rest of the
run: three quarters of the rate. See docs/decisions/0016-limits-of-others.md."""

SLOWEST = 60.0
"""With so many seconds between its requests a lane is slowed down no further."""

STUMBLES = 3
"""A lane that failed more often in a row waits as a whole, and longer each time."""


MIDNIGHT_SECONDS = 60.0
"""WeChat's midnight may come a little after ours: an account whose quota was spent waits so long
into the new day, since one call too early would park it for all of it."""


class Parked(NamedTuple):
    """A dataset of an account of which WeChat said that its quota is spent."""

    lane: Lane
    work: Work
    refusal: Refusal


class Reactions:
    """The lanes' part in what goes wrong. ``interval`` is what spaces a lane that is not slowed.

    ``narrowed`` has the datasets of which WeChat takes fewer days at once, and how many it took;
    ``midnights`` counts the Beijing days of the run.
    """

    def __init__(
        self, losses: Losses, reach: Reach, *, policy: Retry, dice: random.Random, interval: float
    ) -> None:
        self._losses = losses
        self._reach = reach
        self._policy = policy
        self._dice = dice
        self._interval = interval
        self._learners: dict[str, set[str]] = {}
        self.midnights = 0
        self.parked: list[Parked] = []
        self.narrowed: dict[str, int] = {}
        self.retries = 0
        self._changes = {
            Action.RETRY: self._retry,
            Action.REPEAT: self._repeat,
            Action.UNREACHED: self._unreached,
            Action.REFRESH: self._renew,
            Action.SLOW_DOWN: self._slow_down,
            Action.NOT_READY: self._drop_newest,
            Action.NARROW: self._halve,
            Action.PARK: self._park,
            Action.DEFER: self._stop,
            Action.STOP: self._stop,
        }

    def react(self, attempt: Attempt, rule: Rule, now: float, why: Refusal | str) -> None:
        """The attempt came to nothing; do what the rule says."""
        if rule.action is not Action.UNREACHED:
            self._reach.heard()
        if attempt.work.stopped is not None:
            self._losses.give_up(attempt, attempt.work.stopped, why)
        else:
            self._changes[rule.action](attempt, rule, now, why)
        if self._reach.is_hopeless(now):
            self._losses.leave_all(why)

    def is_last_try(self, attempt: Attempt) -> bool:
        """Whether one more failure of this attempt gives its window up."""
        return attempt.tries + 1 >= self._policy.max_attempts

    def _wait(self, attempt: Attempt, until: float) -> None:
        self.retries += 1
        attempt.work.waits += 1
        heapq.heappush(attempt.lane.waiting, (until, attempt))

    def _fail(self, lane: Lane, now: float) -> None:
        """An attempt came to nothing.

        A lane in trouble asks one thing at a time until an answer comes, so that a server that is
        slow for one account cannot hold the connections of all; and less and less often.
        """
        if not self._reach.failures:
            self._losses.mark()
        self._reach.failed(lane.appid, now)
        lane.width = 1
        lane.failures += 1
        if lane.failures > STUMBLES:
            pause = backoff.delay(lane.failures - STUMBLES, self._policy, self._dice)
            lane.not_before = max(lane.not_before, now + pause)

    def _retry(self, attempt: Attempt, rule: Rule, now: float, why: Refusal | str) -> None:
        """Try again later, so many times; sooner or later the dataset is left alone.

        Not if several accounts fail and none is answered: then it is no fault of this one.
        """
        work = attempt.work
        self._fail(attempt.lane, now)
        attempt.tries += 1
        if attempt.tries >= self._policy.max_attempts:
            self._losses.give_up(attempt, rule, why)
        else:
            self._wait(attempt, now + backoff.delay(attempt.tries, self._policy, self._dice))
        work.patience -= 1
        if work.patience <= 0 and not self._reach.is_everybodys:
            self._losses.abandon(attempt.lane, work, IMPATIENT, why)

    def _repeat(self, attempt: Attempt, rule: Rule, now: float, why: Refusal | str) -> None:
        """Try again at once, and once: a connection kept open may be closed just as we send."""
        if attempt.tries:
            self._retry(attempt, rule, now, why)
        else:
            attempt.tries = 1
            self._wait(attempt, now)

    def _unreached(self, attempt: Attempt, rule: Rule, now: float, why: Refusal | str) -> None:
        """Nothing was sent, so the window has not failed; the host may be away for everybody."""
        del rule, why
        self._fail(attempt.lane, now)
        self._reach.unreached(now)
        delay = backoff.delay(attempt.lane.failures, self._policy, self._dice)
        self._wait(attempt, now + delay)

    def _renew(self, attempt: Attempt, rule: Rule, now: float, why: Refusal | str) -> None:
        """Each refused request is asked once more, with a token fetched since.

        If that is refused too, its source has one means left, or says that there is none.
        """
        if attempt.renewals == RENEWALS:
            self._stop(attempt, rule, now, why)
        else:
            attempt.renewals += 1
            self._wait(attempt, now)

    def _slow_down(self, attempt: Attempt, rule: Rule, now: float, why: Refusal | str) -> None:
        """The minute limit pauses the lane until the next minute and burns no attempt.

        From then on the lane is slower. What was in flight together is refused together: only the
        first of these refusals counts.
        """
        lane = attempt.lane
        if lane.refused_until <= now:
            lane.minute_limits += 1
            lane.is_slowed = True
            if lane.pause < SLOWEST:
                lane.pause = max(lane.pause, self._interval) * SLOWER
                lane.period *= SLOWER
        if lane.minute_limits > MINUTE_LIMITS_IN_A_ROW:
            self._stop(attempt, rule, now, why)
        else:
            lane.refused_until = now + backoff.until_next_minute(now, self._dice)
            lane.not_before = max(lane.not_before, lane.refused_until)
            self._wait(attempt, lane.not_before)

    def _drop_newest(self, attempt: Attempt, rule: Rule, now: float, why: Refusal | str) -> None:
        """The window's newest day is not there yet; the rest is asked again at once."""
        window = attempt.window
        newest = calendar.one_day(window.end)
        rest = attempt.work.asked & attempt.days & ~newest
        lost = attempt.work.asked & newest
        self._losses.lose(attempt.lane, attempt.work, lost, rule, why)
        if rest:
            self._wait(attempt.part(window.begin, calendar.newest(rest)), now)

    def _halve(self, attempt: Attempt, rule: Rule, now: float, why: Refusal | str) -> None:
        """WeChat takes fewer days at once than it used to: ask the window in two."""
        begin, end = attempt.window.begin, attempt.window.end
        if begin == end:
            self._stop(attempt, rule, now, why)
            return
        middle = (begin + end + 1) // 2
        for half in (calendar.day_range(middle, end), calendar.day_range(begin, middle - 1)):
            rest = attempt.work.asked & half
            if rest:
                part = attempt.part(calendar.oldest(rest), calendar.newest(rest))
                # However few of its days are asked: that many WeChat may well take.
                part.halved = end - middle + 1
                self._wait(part, now)

    def learn_span(self, attempt: Attempt) -> None:
        """A half was answered: ask as many days as it had, for the rest of the run.

        At first of its account, whose days alone may be the matter; of all once a second one has
        learned it.
        """
        work, span, appid = attempt.work, attempt.halved, attempt.lane.appid
        name, known = work.dataset.name, self.narrowed.get(work.dataset.name, 0)
        _narrow(work, span)
        learners = self._learners.setdefault(name, set())
        if appid in learners and span <= known:
            return
        learners.add(appid)
        self.narrowed[name] = max(span, known)
        if len(learners) == 2 or (len(learners) > 2 and span > known):
            for each in self._losses.all_work():
                if each.dataset is work.dataset:
                    _narrow(each, span)

    def _park(self, attempt: Attempt, rule: Rule, now: float, why: Refusal | str) -> None:
        """The quota of a day is spent; if that was yesterday's, it says nothing of today's."""
        if attempt.midnights < self.midnights:
            self._wait(attempt, now + MIDNIGHT_SECONDS)
        else:
            self._stop(attempt, rule, now, why)

    def _stop(self, attempt: Attempt, rule: Rule, now: float, why: Refusal | str) -> None:
        """Stop exactly what the rule condemns."""
        del now
        self._losses.give_up(attempt, rule, why)
        for lane, work in self._losses.condemned(attempt, rule.scope):
            news = self._losses.abandon(lane, work, rule, why)
            if news and rule.action is Action.PARK and isinstance(why, Refusal):
                self.parked.append(Parked(lane, work, why))


def _narrow(work: Work, span: int) -> None:
    """Ask so many days at once, unless more were found to work."""
    if work.span == work.dataset.span or span > work.span:
        work.narrow(span)

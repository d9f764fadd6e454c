"""Refusal policy: a window is tried again, a queue slowed down, or days are abandoned.

The scheduler decides what is asked next, and calls `RefusalPolicy.react` for each failed attempt.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict

from harvester.core import calendar
from harvester.core.config.settings import Retry
from harvester.core.model import Refusal
from harvester.core.rule import Action, Rule, Scope
from harvester.scheduling import backoff
from harvester.scheduling.abandoned import (
    CUT_OFF,
    DATASET_AWAY,
    NO_TOKEN,
    OUTAGE,
    TOO_LONG,
    TOO_MANY_FAILURES,
    Abandonment,
)
from harvester.scheduling.account_queue import AccountQueue, Attempt, Backlog
from harvester.scheduling.listener import Troubled
from harvester.scheduling.retry_budget import GIVE_UP_SECONDS, PROBE_SECONDS, RetryBudget

MINUTE_LIMITS_IN_A_ROW = 10
"""Stop a dataset after so many consecutive minutes in which every call got 45011."""

SLOWDOWN_FACTOR = 7 / 6
"""A minute limit stretches the time between two requests of its queue so much, for the rest of the
run: six sevenths of the rate. See docs/decisions/0016-limits-of-others.md."""

MAX_INTERVAL = 60.0
"""With so many seconds between its requests a queue is slowed down no further."""

FAILURES_BEFORE_PAUSE = 3
"""A queue that failed more often in a row waits as a whole, and longer each time."""

LEARNERS = 2
"""Accounts of which fewer days were taken at once, after which no other one learns that anew."""

NARROWERS = 3
"""Accounts of which a window that took days along was refused, after which no window of the dataset
takes any in this run."""

LONG_ANSWERS = 3
"""Answers of a dataset that are longer than any of WeChat's, after which it is asked no more in
this run."""

MAX_RETURNS = 2
"""Outages of a run after which a window with no attempts left is queued again."""

MIDNIGHT_SECONDS = 60.0
"""WeChat's midnight may come a little after ours: an account whose quota was spent waits so long
into the new day, since one call too early would park it for all of it."""


class RefusalPolicy:
    """Decision about each refused attempt: retry, pause or abandonment.

    ``interval`` is the number of seconds between an account's requests at full rate.
    ``shortened_spans`` has the days that WeChat takes at once of a dataset, where these are fewer
    than the catalogue says. ``day_number`` counts the Beijing days of the run, and ``retries`` the
    attempts that were put back to be made again. ``exhausted`` has the quotas that WeChat has said
    to be spent since `take_exhausted`.
    """

    def __init__(
        self,
        abandoned: Abandonment,
        budget: RetryBudget,
        *,
        policy: Retry,
        jitter: random.Random,
        interval: float,
    ) -> None:
        self._abandoned = abandoned
        self._budget = budget
        self._backoff = policy
        self._jitter = jitter
        self._interval = interval
        self.day_number = 0
        self.exhausted: list[tuple[AccountQueue, Backlog, Refusal]] = []
        self.shortened_spans: dict[str, int] = {}
        self._learners = defaultdict[str, set[str]](set)
        self._narrowers = defaultdict[str, set[str]](set)
        self._long = Counter[str]()
        self.retries = 0
        self._handlers = {
            Action.RETRY: self._retry,
            Action.RETRY_NOW: self._retry_now,
            Action.HOST_DOWN: self._host_down,
            Action.REFRESH_TOKEN: self._refresh_token,
            Action.SLOW_DOWN: self._slow_down,
            Action.NOT_READY: self._drop_unready,
            Action.SPLIT: self._split_window,
            Action.WAIT_FOR_QUOTA: self._wait_for_quota,
            Action.DEFER: self._stop,
            Action.STOP: self._stop,
        }

    def react(self, attempt: Attempt, rule: Rule, now: float, why: Refusal | str) -> None:
        """Do what the rule of a failed attempt says."""
        # A connection kept open may be closed just as a request is sent: that is no trouble.
        is_first = rule.action is Action.RETRY_NOW and not attempt.tries
        if rule.is_passing and not is_first:
            self._abandoned.listener(Troubled(rule, why, attempt.queue.appid))
        if isinstance(why, Refusal):
            self._budget.never_heard = False
            # "System error" is none, whatever it looks like.
            if rule.action is not Action.RETRY:
                # A refusal of an account, as of its secret, says nothing about a dataset.
                is_of_account = rule.scope is Scope.ACCOUNT
                self.heard("" if is_of_account else attempt.window.dataset, is_refusal=True)
        elif rule.is_local and rule.action is Action.RETRY and self._budget.never_heard:
            # A page from a server that never spoke as WeChat does is not the host's response.
            rule = rule._replace(action=Action.HOST_DOWN)
        # A request in flight when its dataset was stopped gets no retry.
        if attempt.backlog.abandoned_by is not None:
            self._abandoned.fail_attempt(attempt, attempt.backlog.abandoned_by, why)
        else:
            self._handlers[rule.action](attempt, rule, now, why)
        # After the handler, which may have counted the failure that decides it.
        if self._budget.gave_up(now):
            self._abandoned.defer_all(why, CUT_OFF if self._budget.is_cut_off else OUTAGE)

    def heard(self, dataset: str, *, is_refusal: bool = False) -> None:
        """Take in an answer, be it for no dataset: what waited for it goes on."""
        if dataset in self._budget.waiting:
            self._hold_dataset(dataset, is_held=False)
        self._budget.answered(dataset, is_refusal=is_refusal)

    def take_long(self, attempt: Attempt) -> None:
        """Take in an answer that is longer than any of WeChat's, before it is handed back."""
        self._long[attempt.window.dataset] += 1
        if self._long[attempt.window.dataset] == LONG_ANSWERS:
            for queue, backlog in self._abandoned.affected_by(attempt, Scope.DATASET):
                self._abandoned.stop_dataset(queue, backlog, TOO_LONG, "")

    def start_day(self) -> None:
        """Count a new day. What WeChat said of the quotas of the day before counts no more."""
        self.day_number += 1
        self.exhausted.clear()

    def take_exhausted(self) -> list[tuple[AccountQueue, Backlog, Refusal]]:
        """Return the quotas that WeChat has said to be spent since the last call."""
        found, self.exhausted = self.exhausted, []
        return found

    def is_last_try(self, attempt: Attempt) -> bool:
        """Return whether one more failure of this attempt abandons its window."""
        return not attempt.is_second and attempt.tries + 1 >= self._backoff.max_attempts

    def _wait(self, attempt: Attempt, until: float) -> None:
        self.retries += 1
        attempt.queue.put_retry(attempt, until)

    def _take_failure(self, attempt: Attempt, rule: Rule, now: float, why: Refusal | str) -> None:
        backlog, name = attempt.backlog, attempt.window.dataset
        self._budget.failed(attempt.window, now, str(why), is_local=rule.is_local)
        attempt.failing_since = attempt.failing_since or now
        backlog.failing_since = backlog.failing_since or now
        if self._budget.judge(name, backlog.failing_since, now):
            self._hold_dataset(name, is_held=True)

    def _hold_dataset(self, name: str, *, is_held: bool) -> None:
        """Hand out no window of a dataset that fails alone but for its probe, or all again."""
        for queue in self._abandoned.queues:
            for backlog in queue.backlogs:
                if backlog.dataset.name == name:
                    backlog.is_aside = is_held
            if not is_held:
                self._abandoned.resumed.append(queue)

    def release_waiting(self) -> None:
        """Ask the datasets that wait by themselves again, because no other work is left."""
        for name in self._budget.waiting:
            self._hold_dataset(name, is_held=False)

    def _fail(self, attempt: Attempt, rule: Rule, now: float, why: Refusal | str) -> None:
        """Count a failed attempt, and slow the account down.

        A queue in trouble asks one thing at a time until an answer comes, so that a server that is
        slow for one account cannot hold the connections of all; and less and less often. While its
        dataset waits by itself, the other ones of the account go on.
        """
        self._take_failure(attempt, rule, now, why)
        queue = attempt.queue
        if attempt.window.dataset in self._budget.waiting:
            return
        queue.rate.fail()
        if (excess := queue.rate.failures - FAILURES_BEFORE_PAUSE) > 0:
            queue.rate.pause(now + backoff.delay(excess, self._backoff, self._jitter))

    def _retry(self, attempt: Attempt, rule: Rule, now: float, why: Refusal | str) -> None:
        """Try again later, so many times; sooner or later the dataset is left alone.

        Not in an outage, or while the dataset fails for all: that is no fault of this account.
        """
        backlog, budget, name = attempt.backlog, self._budget, attempt.window.dataset
        self._fail(attempt, rule, now, why)
        if wait := budget.waiting.get(name):
            if now - wait.since >= GIVE_UP_SECONDS and not budget.gave_up(now):
                self._stop(attempt, DATASET_AWAY, now, why)
            else:
                self._wait(attempt, wait.not_before)
            return
        attempt.tries += 1
        is_own = not budget.is_storm(name, backlog.failing_since)
        if attempt.tries < self._backoff.max_attempts:
            self._wait(attempt, now + backoff.delay(attempt.tries, self._backoff, self._jitter))
        elif is_own or not self._may_return(attempt, rule, now, why):
            last = rule._replace(action=Action.DEFER) if rule.is_deferred else rule
            self._abandoned.fail_attempt(attempt, last, why)
        else:
            attempt.tries = 0
            self._wait(attempt, now)
        if is_own and backlog.spend_failure():
            self._abandoned.stop_dataset(attempt.queue, backlog, TOO_MANY_FAILURES, why)

    def _may_return(self, attempt: Attempt, rule: Rule, now: float, why: Refusal | str) -> bool:
        """Return whether an outage puts a window back into the queue; each outage counts once."""
        # A token that does not come, or a page of a proxy, may be trouble of this account alone.
        is_heard = isinstance(why, Refusal) or rule.is_local or not attempt.is_sent
        since = attempt.failing_since
        if not self._budget.excuses(attempt.window.dataset, since, is_heard=is_heard):
            return False
        attempt.returns += attempt.returned_at < self._budget.since
        attempt.returned_at = now
        return attempt.returns <= MAX_RETURNS

    def _retry_now(self, attempt: Attempt, rule: Rule, now: float, why: Refusal | str) -> None:
        """Try again at once, and once: a connection kept open may be closed just as we send."""
        if attempt.tries:
            self._retry(attempt, rule, now, why)
        else:
            self._take_failure(attempt, rule, now, why)
            attempt.tries = 1
            self._wait(attempt, now)

    def _host_down(self, attempt: Attempt, rule: Rule, now: float, why: Refusal | str) -> None:
        """Try again without counting a try, because nothing was sent."""
        if rule.scope is Scope.ACCOUNT:
            self.wait_for_token(attempt, now, why)
            return
        self._fail(attempt, rule, now, why)
        delay = backoff.delay(attempt.queue.rate.failures, self._backoff, self._jitter)
        self._wait(attempt, now + delay)

    def wait_for_token(
        self, attempt: Attempt, now: float, why: Refusal | str, *, is_withheld: bool = False
    ) -> None:
        """Let an account wait for its first token; after a long time leave it to a later run.

        It takes nothing from the budget, because the token cache bounds these requests itself.
        """
        rate, backlog = attempt.queue.rate, attempt.backlog
        backlog.failing_since = backlog.failing_since or now
        if now - backlog.failing_since >= GIVE_UP_SECONDS:
            self._stop(attempt, NO_TOKEN, now, why)
            return
        rate.fail()
        if is_withheld:
            # Before the next probe it would be withheld again.
            rate.pause(now + self._jitter.uniform(PROBE_SECONDS / 2, PROBE_SECONDS))
            attempt.queue.put_retry(attempt, now)
        else:
            rate.pause(now + backoff.delay(rate.failures, self._backoff, self._jitter))
            self._wait(attempt, now)

    def _refresh_token(self, attempt: Attempt, rule: Rule, now: float, why: Refusal | str) -> None:
        """Ask again with another token, as often as after any passing failure.

        Whether the account's tokens are worth another call its source decides. A token that had
        been replaced meanwhile costs no try.
        """
        if rule.scope is not Scope.WINDOW:
            attempt.tries += 1
        if self._backoff.max_attempts <= attempt.tries:
            self._abandoned.fail_attempt(attempt, rule._replace(scope=Scope.WINDOW), why)
        elif attempt.tries <= 1:
            self._wait(attempt, now)
        else:
            self._wait(attempt, now + backoff.delay(attempt.tries - 1, self._backoff, self._jitter))

    def _slow_down(self, attempt: Attempt, rule: Rule, now: float, why: Refusal | str) -> None:
        """Pause the queue until the next minute, without counting a try.

        From then on the queue is slower. What was in flight together is refused together: only the
        first of these refusals counts.
        """
        rate = attempt.queue.rate
        # Requests in flight together are refused together: the first refusal counts.
        if rate.refused_until <= now:
            rate.slow_down(self._interval, SLOWDOWN_FACTOR, MAX_INTERVAL)
            rate.refuse_until(now + backoff.until_next_minute(now, self._jitter))
        if rate.minute_limits > MINUTE_LIMITS_IN_A_ROW:
            self._stop(attempt, rule, now, why)
        else:
            self._wait(attempt, rate.not_before)

    def _drop_unready(self, attempt: Attempt, rule: Rule, _: float, why: Refusal | str) -> None:
        """Drop the newest day of the window; ask the rest again at once."""
        backlog, newest = attempt.backlog, calendar.one_day(attempt.window.end)
        self._abandoned.drop_days(attempt.queue, backlog, backlog.in_progress & newest, rule, why)
        backlog.put_back(attempt.days)

    def _split_window(self, attempt: Attempt, rule: Rule, now: float, why: Refusal | str) -> None:
        """Ask for fewer days at once from now on, because WeChat takes fewer than it used to."""
        backlog, (begin, end) = attempt.backlog, attempt.window[2:]
        if attempt.reaches_back:
            self._narrow(attempt)
            return
        # A single day cannot be too long, so the refusals before it meant something else as well.
        if begin == end:
            backlog.set_span(self.shortened_spans.get(backlog.dataset.name, backlog.dataset.span))
            self._stop(attempt, rule, now, why)
            return
        backlog.put_back(attempt.days)
        # No more than now: windows of before, in flight together, are refused one after the other.
        backlog.set_span(min(backlog.span, _shorter_span(backlog.dataset.span, end - begin + 1)))

    def _narrow(self, attempt: Attempt) -> None:
        """Ask for the days alone that are owed: WeChat may refuse those that were taken along.

        The other windows of the pair take none along either, and in the end none of the dataset.
        """
        name = attempt.backlog.dataset.name
        attempt.backlog.along = calendar.NO_DAYS
        attempt.backlog.put_back(attempt.days)
        self._narrowers[name].add(attempt.queue.appid)
        if len(self._narrowers[name]) == NARROWERS:
            for _, each in self._abandoned.affected_by(attempt, Scope.DATASET):
                each.along = calendar.NO_DAYS

    def answered(self, attempt: Attempt) -> None:
        """Note how many days WeChat takes at once, if these are fewer than the catalogue says.

        Once a second account has shown it, accounts without an answer ask for as many from the
        start.
        """
        backlog, name = attempt.backlog, attempt.window.dataset
        if backlog.span == backlog.dataset.span:
            return
        span = self.shortened_spans[name] = max(backlog.span, self.shortened_spans.get(name, 0))
        self._learners[name].add(attempt.queue.appid)
        if len(self._learners[name]) == LEARNERS:
            for _, each in self._abandoned.affected_by(attempt, Scope.DATASET):
                if not each.refusals.opened:
                    each.set_span(min(each.span, span))

    def _wait_for_quota(self, attempt: Attempt, rule: Rule, now: float, why: Refusal | str) -> None:
        """Stop the dataset until midnight, unless the quota of the day before was spent."""
        if attempt.day_number < self.day_number:
            self._wait(attempt, now + MIDNIGHT_SECONDS)
        else:
            self._stop(attempt, rule, now, why)

    def _stop(self, attempt: Attempt, rule: Rule, now: float, why: Refusal | str) -> None:
        """Stop exactly what the rule condemns, once its repeats are used up."""
        if attempt.repeats < rule.repeats:
            self._repeat(attempt, now)
            return
        self._abandoned.fail_attempt(attempt, rule, why)
        for queue, backlog in self._abandoned.affected_by(attempt, rule.scope):
            news = self._abandoned.stop_dataset(queue, backlog, rule, why)
            # Reported to the ledger once, so that no later run of this day asks in vain.
            if news and rule.action is Action.WAIT_FOR_QUOTA and isinstance(why, Refusal):
                self.exhausted.append((queue, backlog, why))

    def _repeat(self, attempt: Attempt, now: float) -> None:
        """Repeat an attempt after a delay, in which its account asks nothing else."""
        attempt.repeats += 1
        until = now + backoff.delay(1, self._backoff, self._jitter)
        attempt.queue.rate.fail()
        attempt.queue.rate.pause(until)
        self._wait(attempt, until)


def _shorter_span(span: int, refused: int) -> int:
    """Return the next number of days to try: of 30 days 15, 7, 3, 1."""
    while span >= refused:
        span //= 2
    return span

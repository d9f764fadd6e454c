"""Days that a run abandons: exactly those that a refusal or a spent quota concerns."""

from __future__ import annotations

from collections.abc import Iterator

from harvester.core import calendar
from harvester.core.calendar import DaySet
from harvester.core.model import Refusal
from harvester.core.rule import Action, Rule, Scope
from harvester.scheduling.account_queue import (
    FAILURE_BUDGET,
    AccountQueue,
    Attempt,
    Backlog,
    MonthTracker,
    pairs,
)
from harvester.scheduling.listener import AbandonedDays, Listener, Reopened

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
NO_TOKEN = Rule(
    Action.DEFER,
    Scope.ACCOUNT,
    "WeChat answered no request for its token for a while, so the account is left to a later run",
    "Nothing is lost: run again later.",
)
DATASET_AWAY = Rule(
    Action.DEFER,
    Scope.DATASET,
    "others were answered and this dataset was not for a while, so it is left to a later run",
    "Nothing is lost: run again later.",
)
TOO_LONG = Rule(
    Action.DEFER,
    Scope.DATASET,
    "answers are longer than any of WeChat's, so the dataset is left to a later run",
    "Look at what stands between this machine and WeChat: a gateway may add to answers.",
)
OUTAGE = Rule(
    Action.DEFER,
    Scope.RUN,
    "no request was answered for a while, so the rest is left to a later run",
    "See whether WeChat can be reached from here, then run again.",
)
CUT_OFF = Rule(
    Action.DEFER,
    Scope.RUN,
    "WeChat was never reached, and the cause lies on this side, so all is left to a later run",
    "Check this machine's network, api.base_url, api.proxy and api.ca_file, then run again.",
    is_local=True,
)


class Abandonment:
    """The abandoned days of a run, which are taken out of the backlogs and out of their months.

    ``queues`` are all of the run, and ``days`` lists what was abandoned. ``listener`` is called
    with each new entry, and with those removed again. ``resumed`` has the queues that may ask again
    since the scheduler placed them last.
    """

    def __init__(self, queues: list[AccountQueue], listener: Listener) -> None:
        self.queues = queues
        self.listener = listener
        self.months = MonthTracker(queues)
        self.days: list[AbandonedDays] = []
        self.resumed: list[AccountQueue] = []

    def fail_attempt(self, attempt: Attempt, rule: Rule, why: Refusal | str) -> None:
        """Abandon the days of one attempt."""
        backlog = attempt.backlog
        self.drop_days(attempt.queue, backlog, backlog.in_progress & attempt.days, rule, why)

    def affected_by(self, attempt: Attempt, scope: Scope) -> Iterator[tuple[AccountQueue, Backlog]]:
        """Yield the backlogs that a rule of this scope stops after a failed attempt."""
        if scope is Scope.WINDOW:
            return
        whole = scope in (Scope.ACCOUNT, Scope.RUN)
        # What concerns a dataset or the run is true of every account, not only of the one refused.
        queues = self.queues if scope in (Scope.DATASET, Scope.RUN) else [attempt.queue]
        for queue, backlog in pairs(queues):
            if whole or backlog.dataset is attempt.backlog.dataset:
                yield queue, backlog

    def stop_dataset(
        self, queue: AccountQueue, backlog: Backlog, rule: Rule, why: Refusal | str
    ) -> bool:
        """Make no more requests for one dataset of one account. Answers in flight may still arrive.

        Returns False if the dataset was stopped before.
        """
        # The first rule stays, because the run record names the cause and not what followed.
        if backlog.abandoned_by is not None:
            return False
        backlog.abandon(rule)
        waiting = backlog.in_progress & queue.drop_retries(backlog)
        self.drop_days(queue, backlog, backlog.missing | waiting, rule, why)
        return True

    def drop_days(
        self, queue: AccountQueue, backlog: Backlog, lost: DaySet, rule: Rule, why: Refusal | str
    ) -> None:
        """Abandon some days of a backlog, and report them to the listener."""
        if not lost:
            return
        backlog.drop(lost, until_midnight=rule.action is Action.WAIT_FOR_QUOTA)
        given_up = AbandonedDays(
            queue.appid,
            backlog.dataset.name,
            calendar.oldest(lost),
            calendar.newest(lost),
            count=calendar.count_days(lost),
            rule=rule,
            why=why,
        )
        self.days.append(given_up)
        self.listener(given_up)
        self.months.close_days(queue, backlog, lost)

    def reopen_exhausted(self) -> list[AccountQueue]:
        """Reopen the days that were abandoned until midnight, because a Beijing day starts.

        Returns the queues for which WeChat itself had reported a spent quota.
        """
        told = []
        for queue, backlog in pairs(self.queues):
            rule = backlog.abandoned_by
            if rule is not None and rule.action is Action.WAIT_FOR_QUOTA:
                # Our own count ends at our midnight; WeChat's may end a little later.
                if rule is not QUOTA_SPENT:
                    told.append(queue)
                backlog.resume()
            # Also of backlogs that another rule stopped later: single windows may wait.
            if backlog.quota_exhausted:
                self.months.reopen_days(queue, backlog, backlog.quota_exhausted)
                backlog.reopen()
        if renewed := [item for item in self.days if _is_quota(item)]:
            self.days = [item for item in self.days if not _is_quota(item)]
            self.listener(Reopened(tuple(renewed)))
        return told

    def defer_all(self, why: Refusal | str, rule: Rule = OUTAGE) -> None:
        """Leave everything to a later run."""
        for queue, backlog in pairs(self.queues):
            self.stop_dataset(queue, backlog, rule, why)


def _is_quota(item: AbandonedDays) -> bool:
    return item.rule.action is Action.WAIT_FOR_QUOTA

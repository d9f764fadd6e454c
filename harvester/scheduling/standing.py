"""Standing of the accounts of a run: how many are done, wait or were refused; what is owed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import chain, islice
from typing import Literal, NamedTuple, TypeAlias

from harvester.core import calendar
from harvester.core.results import PendingDays
from harvester.core.rule import Action, Rule, Scope
from harvester.scheduling.account_queue import AccountQueue, pairs

LONG_PAUSE_SECONDS = 1.0
"""An account that may ask nothing for longer waits."""


_SHOWN = 3


class Standing(NamedTuple):
    """Numbers of accounts, and of the windows that are left.

    ``done`` accounts owe nothing, ``refused`` ones were refused something for good, ``waiting``
    ones may ask nothing now: for a quota, a limit, or a host that is away. Those in none of the
    three are being asked. ``least_seconds`` is what the longest queue takes at its rate.
    """

    done: int = 0
    waiting: int = 0
    refused: int = 0
    windows_left: int = 0
    least_seconds: float = 0.0


_State: TypeAlias = Literal["done", "waiting", "refused", "asked"]


def standing(queues: Iterable[AccountQueue], now: float, window_seconds: float) -> Standing:
    """Count the accounts by state; ``now`` is in seconds of the scheduler's clock.

    ``window_seconds`` is the time that an account needs for a window at its rate.
    """
    counts: Counter[_State] = Counter()
    total = longest = 0
    for queue in queues:
        counts[_state(queue, now)] += 1
        # Retries and calls in flight were handed out, and are windows that were not answered yet.
        retries = sum(backlog.pending_retries for backlog in queue.backlogs)
        left = queue.windows_left() + retries + queue.rate.in_flight
        total += left
        longest = max(longest, left)
    return Standing(
        counts["done"],
        counts["waiting"],
        counts["refused"],
        total,
        longest * window_seconds,
    )


def pending(queues: Iterable[AccountQueue]) -> list[PendingDays]:
    """Return the days that are neither durable nor given up, by dataset."""
    return merged_pending(
        PendingDays(
            backlog.dataset.name,
            1,
            calendar.count_days(backlog.open),
            calendar.oldest(backlog.open),
            calendar.newest(backlog.open),
            (queue.appid,),
        )
        for queue, backlog in pairs(queues)
        if backlog.open
    )


def merged_pending(parts: Iterable[PendingDays]) -> list[PendingDays]:
    """Return one entry per dataset, for days of different accounts."""
    by_dataset = defaultdict[str, list[PendingDays]](list)
    for part in parts:
        by_dataset[part.dataset].append(part)
    found = []
    for dataset, of_dataset in by_dataset.items():
        _, accounts, days, begins, ends, first = zip(*of_dataset, strict=True)
        shown = (*islice(chain.from_iterable(first), _SHOWN),)
        found.append(PendingDays(dataset, sum(accounts), sum(days), min(begins), max(ends), shown))
    return found


def _state(queue: AccountQueue, now: float) -> _State:
    is_open = is_left = False
    for backlog in queue.backlogs:
        rule = backlog.abandoned_by
        # An account with one refused dataset counts as refused: it needs a person.
        if rule is not None and _is_refusal(rule):
            return "refused"
        is_left |= rule is not None or bool(backlog.quota_exhausted)
        is_open |= bool(backlog.missing or backlog.in_progress)
    if is_open:
        pauses = not queue.rate.in_flight and queue.rate.not_before > now + LONG_PAUSE_SECONDS
        return "waiting" if pauses else "asked"
    return "waiting" if is_left else "done"


def _is_refusal(rule: Rule) -> bool:
    return rule.action in (Action.STOP, Action.REFRESH_TOKEN) and rule.scope is not Scope.WINDOW

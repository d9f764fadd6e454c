"""A dataset that waits for calls, while the others of its account go on."""

from __future__ import annotations

import pytest

from harvester.catalogue import CATALOGUE
from harvester.core.calendar import day_range
from harvester.core.config.settings import Pace
from harvester.core.model import Rate
from harvester.core.rule import Action
from harvester.scheduling.account_queue import AccountQueue, Backlog
from harvester.scheduling.scheduler import Scheduler
from tests.scheduling.test_scheduler import BEGIN, START, rule, schedule_of

FIRST = CATALOGUE["interface_summary_hour"]
SECOND = CATALOGUE["upstream_msg_hour"]
FAST = Pace(Rate(1_000, 1.0), 1_000, concurrency=10)


@pytest.fixture
def schedule() -> Scheduler:
    """An account with ten windows of two datasets each; three calls of either are allocated."""
    days = day_range(BEGIN, BEGIN + 9)
    queue = AccountQueue("wx0000000000000001", 0, [Backlog(FIRST, days), Backlog(SECOND, days)])
    found = schedule_of([queue], FAST)
    found.start_day(START)
    for asked, backlog in found.take_refill_requests():
        found.allocate(asked, backlog, 3, "", START)
    return found


def take(schedule: Scheduler, now: float = START) -> list[str]:
    """Take all windows that may be asked now and answer them; return their datasets."""
    found = []
    while (attempt := schedule.next(now)) is not None:
        found.append(attempt.window.dataset)
        schedule.answered(attempt, now)
        schedule.durable(attempt)
    return found


def test_the_other_datasets_go_on(schedule: Scheduler) -> None:
    """The first one gets no calls for a while, the second one does."""
    assert sorted(take(schedule)) == [FIRST.name] * 3 + [SECOND.name] * 3
    queue, waiting = schedule.queues[0], schedule.queues[0].backlogs[0]
    asked = {id(backlog) for _, backlog in schedule.take_refill_requests()}
    assert asked == set(map(id, queue.backlogs))
    schedule.allocate(queue, queue.backlogs[1], 100, "", START)
    assert take(schedule) == [SECOND.name] * 7
    assert schedule.blocked
    assert not schedule.is_finished(START)
    schedule.allocate(queue, waiting, 100, "", START)
    assert take(schedule) == [FIRST.name] * 7
    assert schedule.is_finished(START)


def fail_last(schedule: Scheduler) -> None:
    """Take all windows and answer them, but for the last one of the first dataset."""
    while (attempt := schedule.next(START)) is not None:
        if attempt.backlog.dataset is FIRST and attempt.backlog.quota.allocated == 0:
            schedule.refused(attempt, rule(Action.RETRY_NOW), START)
        else:
            schedule.answered(attempt, START)
            schedule.durable(attempt)


def test_a_retry_waits_for_the_calls_of_its_dataset(schedule: Scheduler) -> None:
    """Also one that is put back after the last call was spent."""
    queue, (first, second) = schedule.queues[0], schedule.queues[0].backlogs
    fail_last(schedule)
    schedule.take_refill_requests()
    schedule.allocate(queue, second, 100, "", START)
    later = START + 3_600
    assert take(schedule, later) == [SECOND.name] * 7
    assert first.pending_retries == 1
    schedule.allocate(queue, first, 100, "", later)
    assert take(schedule, later) == [FIRST.name] * 8
    assert schedule.is_finished(START)


def test_a_blocked_dataset_that_is_stopped_leaves_no_retry_behind(schedule: Scheduler) -> None:
    """No more calls today: its days wait for midnight, and the run need not wait for them."""
    queue, (first, second) = schedule.queues[0], schedule.queues[0].backlogs
    fail_last(schedule)
    assert (first.pending_retries, first.quota.allocated) == (1, 0)
    schedule.take_refill_requests()
    schedule.allocate(queue, first, 0, "spent", START)
    schedule.allocate(queue, second, 100, "", START)
    assert take(schedule, START + 60) == [SECOND.name] * 7
    assert schedule.is_finished(START)
    assert sum(gone.count for gone in schedule.abandoned.days if gone.dataset == FIRST.name) == 8
    assert (first.open, first.pending_retries) == (0, 0)


def test_calls_that_ran_out_while_none_were_given_are_asked_for_again(schedule: Scheduler) -> None:
    """The decision that a dataset has enough may be older than its last call."""
    queue, (first, _) = schedule.queues[0], schedule.queues[0].backlogs
    take(schedule)
    schedule.take_refill_requests()
    schedule.allocate(queue, first, 0, "", START)
    assert [backlog for _, backlog in schedule.take_refill_requests()] == [first]
    assert not schedule.is_finished(START)


def test_a_stopped_dataset_asks_for_no_calls(schedule: Scheduler) -> None:
    """Nothing of it will be asked, whatever it has left."""
    queue, (first, _) = schedule.queues[0], schedule.queues[0].backlogs
    take(schedule)
    schedule.take_refill_requests()
    first.abandon(rule(Action.STOP))
    schedule.allocate(queue, first, 0, "", START)
    assert schedule.take_refill_requests() == []

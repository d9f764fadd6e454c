"""The order in which accounts start, and how many are under way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.catalogue import CATALOGUE
from harvester.core.calendar import day_range, parse_day
from harvester.core.config.settings import Limits, Pace
from harvester.core.model import Rate
from harvester.scheduling.account_queue import AccountQueue, Backlog
from harvester.scheduling.ready_accounts import MIN_COHORT, ReadyAccounts, cohort_size

HOURLY = CATALOGUE["interface_summary_hour"]
BEGIN = parse_day("2026-01-01")


def queue(number: int, windows: int) -> AccountQueue:
    """Return the queue of an account that owes so many windows."""
    work = Backlog(HOURLY, day_range(BEGIN, BEGIN + windows - 1))
    work.quota.allocate(10_000, "")
    return AccountQueue(f"wx{number:016x}", 0, [work])


def order(ready: ReadyAccounts) -> list[str]:
    """Return the numbers of the accounts that are ready, in their order."""
    return [ready.pop().appid.removeprefix("wx").lstrip("0") for _ in range(len(ready))]


def test_the_longest_queue_goes_first_while_all_are_under_way() -> None:
    """No long queue is left over at the end."""
    ready = ReadyAccounts(3)
    for number, windows in ((1, 5), (2, 20), (3, 10)):
        ready.push(queue(number, windows))
    assert order(ready) == ["2", "3", "1"]


def test_the_first_goes_first_while_others_wait() -> None:
    """Accounts that began are done soon, so that others may begin; the longest begins next."""
    ready = ReadyAccounts(2)
    first, second = queue(1, 5), queue(2, 20)
    for each in (first, second, queue(3, 10), queue(4, 30)):
        ready.push(each)
    assert ready.waiting == 2
    assert ready.pop() is first
    ready.leave(first)
    assert (len(ready), ready.waiting) == (2, 1)
    assert order(ready) == ["2", "4"]


def test_an_account_under_way_never_waits() -> None:
    """Between its requests it keeps its place."""
    ready = ReadyAccounts(1)
    first, second = queue(1, 5), queue(2, 20)
    ready.push(first)
    ready.push(second)
    for _ in range(3):
        assert ready.pop() is first
        ready.push(first)
    assert ready.pop() is first
    ready.leave(first)
    assert ready.pop() is second
    assert ready.waiting == 0


def test_accounts_that_lost_their_backlog_make_room() -> None:
    """Neither at the front of those ready nor of those waiting does a done account stay."""
    ready = ReadyAccounts(1)
    queues = [queue(number, 3) for number in (1, 2, 3)]
    for each in queues:
        each.rate.queued = True
        ready.push(each)
    for each in queues[:2]:
        each.backlogs[0].missing = 0
    ready.drop_done()
    assert [each.rate.queued for each in queues] == [False, False, True]
    assert order(ready) == ["3"]


def test_an_account_that_waits_and_loses_its_backlog_waits_no_longer() -> None:
    """The one under way has work, and stays."""
    ready = ReadyAccounts(1)
    first, second = queue(1, 5), queue(2, 20)
    for each in (first, second):
        each.rate.queued = True
        ready.push(each)
    second.backlogs[0].missing = 0
    ready.drop_done()
    assert (first.rate.queued, second.rate.queued) == (True, False)
    assert (order(ready), ready.waiting) == (["1"], 0)


@given(
    limit=st.integers(1, 4),
    steps=st.lists(st.tuples(st.integers(0, 7), st.booleans()), max_size=60),
)
def test_every_account_is_served_and_the_limit_holds(
    limit: int, steps: list[tuple[int, bool]]
) -> None:
    """In any order of starts and ends each queue comes up, and no more than the limit are begun."""
    ready = ReadyAccounts(limit)
    out: dict[str, AccountQueue] = {}
    standing = {each.appid: each for each in (queue(number, number + 1) for number in range(8))}
    for each in standing.values():
        ready.push(each)
    for _, is_done in steps:
        assert len(ready) + len(out) <= limit
        if len(ready):
            each = ready.pop()
            out[each.appid] = each
        if out and is_done:
            each = out.pop(next(iter(out)))
            del standing[each.appid]
            ready.leave(each)
    while standing:
        for each in [*out.values()]:
            ready.leave(each)
            del standing[each.appid], out[each.appid]
        while len(ready):
            each = ready.pop()
            out[each.appid] = each
    assert ready.waiting == 0


@pytest.mark.parametrize(
    ("rate", "connections", "size"),
    [
        (Rate(10, 1.0), 100, MIN_COHORT),
        (Rate(60, 60.0), 100, 5_000),
        (Rate(10, 1.0), 1_000, 5_000),
        (Rate(1, 60.0), 1, 3_000),
        (Rate(999_999, 1.0), 2_000, 2_000),
    ],
)
def test_as_many_accounts_are_under_way_as_keep_all_connections_busy(
    rate: Rate, connections: int, size: int
) -> None:
    """At a low rate more accounts are needed for that."""
    assert cohort_size(Limits(Pace(rate), connections=connections)) == size

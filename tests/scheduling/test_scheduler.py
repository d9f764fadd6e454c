"""The order of windows and the effect of every verdict: simulated without a loop or a sleep."""

from __future__ import annotations

import bisect
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import reduce
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harvester.catalogue import CATALOGUE
from harvester.core import calendar
from harvester.core.calendar import day_range, parse_day
from harvester.core.config.settings import Limits, Pace, Retry
from harvester.core.hold import Hold
from harvester.core.model import Partition, Rate, Refusal
from harvester.core.rule import Action, Rule, Scope
from harvester.scheduling.abandoned import TOO_MANY_FAILURES
from harvester.scheduling.account_queue import (
    AccountQueue,
    Attempt,
    Backlog,
)
from harvester.scheduling.rate_state import RateState
from harvester.scheduling.refusal_learning import SCOUTS
from harvester.scheduling.refusal_policy import LEARNERS, MIDNIGHT_SECONDS
from harvester.scheduling.retry_budget import ALONE_FAILURES, PROBE_SECONDS
from harvester.scheduling.scheduler import Scheduler

HOURLY = CATALOGUE["interface_summary_hour"]
DAILY = CATALOGUE["interface_summary"]
BEGIN = parse_day("2026-03-01")
START = 1_000_000.0


@dataclass
class Buckets:
    """The spacing of `pace.Spacing` on a clock that tests turn."""

    interval: float
    burst: int = 1
    now: float = START
    free_at: dict[str, float] = field(default_factory=dict)

    def can_start(self, appid: str) -> bool:
        return self.free_at.get(appid, 0.0) <= self.now + (self.burst - 1) * self.interval + 1e-9

    def take(self, appid: str) -> None:
        self.free_at[appid] = max(self.free_at.get(appid, 0.0), self.now) + self.interval


def rule(action: Action, scope: Scope = Scope.WINDOW) -> Rule:
    """A rule that does this to that."""
    return Rule(action, scope, "meaning", "advice")


def lane(number: int, windows: int, bucket: int = 0) -> AccountQueue:
    """An account that owes so many hourly windows."""
    work = Backlog(HOURLY, day_range(BEGIN, BEGIN + windows - 1))
    return AccountQueue(f"wx{number:016x}", bucket, [work])


def schedule_of(lanes: list[AccountQueue], pace: Pace, retry: Retry | None = None) -> Scheduler:
    """A schedule over these lanes with the spacing that goes with the pace."""
    spacing = Buckets(pace.rate.period / pace.rate.count, pace.burst)
    limits = Limits(per_token=pace)
    return Scheduler(
        lanes, limits, policy=retry or Retry(), limiter=spacing, jitter=random.Random(1)
    )


@dataclass
class Simulation:
    """A server that answers after a while, and ``workers`` that each wait for an answer.

    ``most_in_flight`` is that of a single account while others waited to begin, and
    ``most_under_way`` counts the accounts that had begun and were not done.
    """

    schedule: Scheduler
    latency: tuple[float, float] = (0.01, 0.03)
    seed: int = 1
    workers: int = 10**9
    most_in_flight: int = 0
    most_under_way: int = 0
    now: float = START
    sent: list[tuple[float, float, str]] = field(default_factory=list)

    def run(self) -> float:
        """Run to the end; returns the seconds it took."""
        dice = random.Random(self.seed)
        flying: list[tuple[float, int, Attempt]] = []
        spacing = self.schedule._limiter
        assert isinstance(spacing, Buckets)
        while not self.schedule.is_finished(self.now):
            spacing.now = self.now
            while (
                len(flying) < self.workers and (attempt := self.schedule.next(self.now)) is not None
            ):
                self._watch(attempt.queue)
                spacing.take(attempt.queue.appid)
                took = dice.uniform(*self.latency)
                self.sent.append((self.now, self.now + dice.uniform(0, took), attempt.queue.appid))
                bisect.insort(flying, (self.now + took, len(self.sent), attempt))
            wake = self.schedule.wake_at(self.now)
            times = [flying[0][0]] if flying else []
            times += [wake] if wake is not None and len(flying) < self.workers else []
            self.now = max(self.now, min(times))
            spacing.now = self.now
            while flying and flying[0][0] <= self.now:
                landed = flying.pop(0)[2]
                self.schedule.answered(landed, self.now)
                self.schedule.durable(landed)
        return self.now - START

    def _watch(self, queue: AccountQueue) -> None:
        self.most_under_way = max(self.most_under_way, len(self.schedule._ready._under_way))
        if self.schedule._ready.waiting:
            self.most_in_flight = max(self.most_in_flight, queue.rate.in_flight)


def most_in_a_window(times: list[float], seconds: float) -> int:
    """The most arrivals any window of so many seconds holds, its end excluded."""
    times = sorted(times)
    return max(bisect.bisect_left(times, at + seconds) - index for index, at in enumerate(times))


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 10_000), st.sampled_from([(25, 1.0), (10, 1.0), (60, 60.0)]), st.integers(1, 5)
)
def test_no_sliding_window_of_the_server_ever_holds_more_than_the_limit(
    seed: int, rate: tuple[int, float], burst: int
) -> None:
    """However late each request arrives, the server never counts one too many."""
    count, period = rate
    pace = Pace(Rate(count, period), burst, concurrency=8)
    simulation = Simulation(schedule_of([lane(1, 5 * count)], pace), (0.0, 0.4), seed)
    simulation.run()
    arrivals = [arrival for _, arrival, _ in simulation.sent]
    assert len(arrivals) == 5 * count
    assert most_in_a_window(arrivals, period) <= count


def test_a_run_is_hardly_slower_than_its_bound() -> None:
    """Ten seconds of work at 25/s take at most a tenth longer with 30 ms of latency."""
    lanes = [lane(number, 250) for number in range(12)]
    pace = Pace(Rate(25, 1.0), 1, concurrency=4)
    took = Simulation(schedule_of(lanes, pace), (0.02, 0.04)).run()
    assert took <= 1.1 * (250 - 1) / 25


def test_requests_of_a_token_start_evenly_spaced_without_burst() -> None:
    """With a burst of one, no two requests of an account start at once."""
    pace = Pace(Rate(10, 1.0), 1, concurrency=4)
    simulation = Simulation(schedule_of([lane(1, 20)], pace))
    simulation.run()
    starts = [start for start, _, _ in simulation.sent]
    assert min(b - a for a, b in pairwise(starts)) > 0.09


def test_concurrency_is_kept() -> None:
    """Never more requests of a token in flight than allowed, and one until the first answer."""
    schedule = schedule_of([lane(1, 20)], Pace(Rate(1000, 1.0), 20, concurrency=3))
    first = schedule.next(START)
    assert first is not None
    assert schedule.next(START) is None
    schedule.answered(first, START)
    in_flight = [schedule.next(START + 0.01 * step) for step in range(6)]
    assert sum(attempt is not None for attempt in in_flight) == 3


def test_the_lane_with_most_left_goes_first() -> None:
    """A long lane sets the end of a run, so it never waits for a short one."""
    schedule = schedule_of([lane(1, 3), lane(2, 30)], Pace())
    first = schedule.next(START)
    assert first is not None
    assert first.queue.windows_left() == 29


def _one(schedule: Scheduler, now: float = START) -> Attempt:
    attempt = schedule.next(now)
    assert attempt is not None
    return attempt


def test_a_retry_waits_in_the_heap_and_is_given_up_after_the_last_try() -> None:
    """At most max_attempts attempts, then the window is gone and the run ends."""
    schedule = schedule_of([lane(1, 1)], Pace(), Retry(max_attempts=3))
    now, tries, busy = START, 0, Refusal(-1, "system error", "")
    while not schedule.is_finished(START):
        now = max(now, schedule.wake_at(now) or now)
        attempt = schedule.next(now)
        if attempt is not None:
            tries += 1
            schedule.refused(attempt, rule(Action.RETRY), now, busy)
        now += 0.2
    assert tries == 3
    assert [(gone.count, gone.why) for gone in schedule.abandoned.days] == [(1, busy)]


def test_a_connection_that_was_cut_is_tried_again_at_once_and_once() -> None:
    """A kept connection may be closed just as we send; the second time it is a failure."""
    schedule = schedule_of([lane(1, 1)], Pace(Rate(100, 1.0), 10))
    schedule.refused(_one(schedule), rule(Action.RETRY_NOW), START)
    again = _one(schedule, START)
    schedule.refused(again, rule(Action.RETRY_NOW), START)
    assert schedule.next(START) is None
    assert schedule.wake_at(START) is not None


def test_a_rejected_token_costs_a_try_and_stops_no_account() -> None:
    """At once, then after longer and longer pauses; the last try gives up its window alone."""
    schedule = schedule_of([lane(1, 2)], Pace(), Retry(max_attempts=4))
    refresh, now, at = rule(Action.REFRESH_TOKEN, Scope.ACCOUNT), START, []
    while not schedule.abandoned.days:
        now = max(now, schedule.wake_at(now) or now)
        if attempt := schedule.next(now):
            at.append(now)
            schedule.refused(attempt, refresh, now)
        now += 1e-3
    assert len(at) == 4
    [gone] = schedule.abandoned.days
    assert (gone.count, gone.rule.scope) == (1, Scope.WINDOW)
    schedule.answered(_one(schedule, now + 1), now + 1)


def test_a_token_that_another_call_has_replaced_costs_no_try() -> None:
    """Sixteen calls under way may meet the end of one token; one of them has told it."""
    schedule = schedule_of([lane(1, 1)], Pace(), Retry(max_attempts=2))
    for number in range(50):
        attempt = _one(schedule, START + number)
        schedule.refused(attempt, rule(Action.REFRESH_TOKEN, Scope.WINDOW), START + number)
    assert not schedule.abandoned.days


def test_the_minute_limit_pauses_one_lane_and_burns_no_attempt() -> None:
    """45011 stops the lane until the next minute; the window stays; other lanes go on."""
    schedule = schedule_of([lane(1, 2), lane(2, 1)], Pace())
    attempt = _one(schedule)
    schedule.refused(attempt, rule(Action.SLOW_DOWN, Scope.ACCOUNT), START)
    other = _one(schedule)
    assert other.queue is not attempt.queue
    schedule.answered(other, START)
    assert schedule.next(START + 10) is None
    wake = schedule.wake_at(START + 10)
    assert wake is not None
    assert wake // 60 > START // 60
    again = _one(schedule, wake)
    assert (again.window, again.tries) == (attempt.window, 0)


def test_minute_limits_of_requests_that_flew_together_count_once() -> None:
    """They are one refusal of one moment; the next minute may bring a second."""
    schedule = schedule_of([lane(1, 5)], Pace(Rate(100, 1.0), 10, concurrency=2))
    # An account asks one thing at a time until its first answer.
    schedule.answered(_one(schedule), START)
    for attempt in (_one(schedule), _one(schedule)):
        schedule.refused(attempt, rule(Action.SLOW_DOWN, Scope.ACCOUNT), START)
    [queue] = schedule.queues
    assert queue.rate.minute_limits == 1
    later = START + 60
    schedule.refused(_one(schedule, later), rule(Action.SLOW_DOWN, Scope.ACCOUNT), later)
    assert queue.rate.minute_limits == 2


def test_an_account_at_the_longest_interval_is_slowed_no_further() -> None:
    """However many minute limits follow; each is still counted."""
    rate = RateState(window_seconds=60.0, interval=0.1)
    for _ in range(40):
        rate.recover(1)
        rate.slow_down(0.1, 4 / 3, 60.0)
    longest = rate.interval
    assert 60.0 <= longest < 80.0
    rate.recover(1)
    rate.slow_down(0.1, 4 / 3, 60.0)
    assert (rate.interval, rate.minute_limits) == (longest, 1)


def test_an_account_that_was_not_answered_since_a_minute_limit_is_slowed_no_further() -> None:
    """Another output uses all of the rate, so the pace of this one was not tried."""
    rate = RateState(window_seconds=60.0, interval=0.1)
    for _ in range(3):
        rate.slow_down(0.1, 5 / 4, 60.0)
    assert rate.minute_limits == 3
    assert rate.interval == pytest.approx(0.125)


def test_a_day_that_is_not_ready_is_dropped_and_the_rest_asked_again() -> None:
    """61503 costs the newest day of the window, not the window."""
    work = Backlog(DAILY, day_range(BEGIN, BEGIN + 9))
    schedule = schedule_of([AccountQueue("wx0000000000000001", 0, [work])], Pace())
    attempt = _one(schedule)
    schedule.refused(attempt, rule(Action.NOT_READY), START)
    again = _one(schedule, START + 1)
    assert (again.window.begin, again.window.end) == (BEGIN, BEGIN + 8)
    assert [(gone.begin, gone.count) for gone in schedule.abandoned.days] == [(BEGIN + 9, 1)]


def _up_to(allowed: int, schedule: Scheduler) -> Iterator[tuple[Attempt, bool]]:
    """Make all attempts of a run, and yield which were answered: longer windows are refused."""
    now = START
    while not schedule.is_finished(START):
        now += 0.01
        attempt = schedule.next(now)
        if attempt is None:
            continue
        length = attempt.window.end - attempt.window.begin + 1
        fits = attempt.window.dataset != DAILY.name or length <= allowed
        yield attempt, fits
        if fits:
            schedule.answered(attempt, now)
            schedule.durable(attempt)
        else:
            schedule.refused(attempt, rule(Action.SPLIT), now, Refusal(61501, "date range", ""))


@pytest.mark.parametrize("opened", [False, True])
@pytest.mark.parametrize(
    ("allowed", "learnt"), [(29, 15), (15, 15), (14, 7), (8, 7), (7, 7), (6, 3), (3, 3), (1, 1)]
)
def test_a_window_that_is_too_long_is_shortened_until_it_fits(
    *, opened: bool, allowed: int, learnt: int
) -> None:
    """61501 on thirty days: all accounts use from then on the first of 15, 7, 3, 1 that worked."""
    lanes = [
        AccountQueue(f"wx{number:016x}", 0, [Backlog(DAILY, day_range(BEGIN, BEGIN + 89))])
        for number in (1, 2)
    ]
    for backlog in (lane.backlogs[0] for lane in lanes if opened):
        backlog.refusals.answer()
    schedule = schedule_of(lanes, Pace(Rate(1000, 1.0), 100, concurrency=4))
    made = _up_to(allowed, schedule)
    days = [attempt.days for attempt, fits in made if fits and attempt.queue is lanes[0]]
    assert reduce(int.__or__, days) == day_range(BEGIN, BEGIN + 89)
    assert schedule.refusals.shortened_spans == {DAILY.name: learnt}
    assert {lane.backlogs[0].span for lane in lanes} == {learnt}
    assert not schedule.abandoned.days


@pytest.mark.parametrize("allowed", [15, 7])
@pytest.mark.parametrize("step", [1, 3, 4, 10])
def test_a_window_with_holes_teaches_the_span_too(allowed: int, step: int) -> None:
    """As with provisional days: or each further window would cost a refused call."""
    missing = sum(calendar.one_day(BEGIN + day) for day in range(0, 360, step))
    queue = AccountQueue("wx0000000000000001", 0, [Backlog(DAILY, missing)])
    queue.backlogs[0].refusals.answer()
    schedule = schedule_of([queue], Pace(Rate(1000, 1.0), 100))
    assert sum(not fits for _, fits in _up_to(allowed, schedule)) <= 3
    assert schedule.refusals.shortened_spans == {DAILY.name: allowed}


def test_a_span_that_all_accounts_learn_is_that_of_one_dataset() -> None:
    """Another dataset of the same accounts keeps its own."""
    other = CATALOGUE["user_summary"]
    backlogs = [
        [Backlog(DAILY, day_range(BEGIN, BEGIN + 39)), Backlog(other, day_range(BEGIN, BEGIN + 39))]
        for _ in (1, 2)
    ]
    lanes = [AccountQueue(f"wx{number:016x}", 0, owed) for number, owed in enumerate(backlogs)]
    schedule = schedule_of(lanes, Pace(Rate(1000, 1.0), 100, concurrency=4))
    assert {fits for _, fits in _up_to(4, schedule)} == {False, True}
    assert schedule.refusals.shortened_spans == {DAILY.name: 3}
    assert {(each.span, one.span) for each, one in backlogs} == {(3, other.span)}


def test_two_accounts_teach_a_shorter_span_to_those_that_follow() -> None:
    """Of forty accounts only those pay for a surprise that are asked at the same time."""
    lanes = [
        AccountQueue(f"wx{number:016x}", 0, [Backlog(DAILY, day_range(BEGIN, BEGIN + 29))])
        for number in range(40)
    ]
    schedule = schedule_of(lanes, Pace(Rate(1000, 1.0), 100, concurrency=1))
    refused = {attempt.queue.appid for attempt, fits in _up_to(7, schedule) if not fits}
    assert len(refused) == LEARNERS
    assert {each.backlogs[0].span for each in lanes} == {7}


def test_a_single_day_out_of_range_does_not_unlearn_the_span() -> None:
    """Else each such day would cost the refusals of longer windows once more."""
    days = day_range(BEGIN, BEGIN + 59) | calendar.one_day(BEGIN + 100)
    queue = AccountQueue("wx0000000000000001", 0, [Backlog(DAILY, days)])
    schedule = schedule_of([queue], Pace(Rate(1000, 1.0), 100, concurrency=1))
    schedule.refusals.shortened_spans[DAILY.name] = 7
    schedule.refused(_one(schedule), rule(Action.SPLIT), START, Refusal(61501, "date range", ""))
    made = [fits for _, fits in _up_to(7, schedule)]
    assert all(made)
    assert queue.backlogs[0].span == 7


def test_a_single_day_that_is_out_of_range_is_given_up() -> None:
    """There is nothing left to halve."""
    schedule = schedule_of([lane(1, 1)], Pace())
    schedule.refused(_one(schedule), rule(Action.SPLIT), START)
    assert [gone.count for gone in schedule.abandoned.days] == [1]


@pytest.mark.parametrize(
    ("scope", "condemned"),
    [
        (Scope.WINDOW, 1),
        (Scope.ACCOUNT_DATASET, 3),
        (Scope.ACCOUNT, 4),
        (Scope.DATASET, 6),
        (Scope.RUN, 8),
    ],
)
def test_an_error_stops_exactly_what_it_condemns(scope: Scope, condemned: int) -> None:
    """Two accounts with two datasets: everything outside of the scope is still owed."""
    lanes = [
        AccountQueue(
            f"wx{number:016x}",
            0,
            [
                Backlog(HOURLY, day_range(BEGIN, BEGIN + 2)),
                Backlog(DAILY, day_range(BEGIN, BEGIN)),
            ],
        )
        for number in (1, 2)
    ]
    schedule = schedule_of(lanes, Pace())
    schedule.refused(_one(schedule), rule(Action.STOP, scope), START)
    assert sum(gone.count for gone in schedule.abandoned.days) == condemned
    assert (
        sum(calendar.count_days(work.open) for queue in schedule.queues for work in queue.backlogs)
        == 8 - condemned
    )


def test_an_answer_in_flight_still_counts_after_its_account_was_stopped() -> None:
    """Nothing that WeChat sent is thrown away."""
    schedule = schedule_of([lane(1, 5)], Pace(Rate(100, 1.0), 10, concurrency=4))
    schedule.answered(_one(schedule), START)
    good, bad = _one(schedule, START + 0.1), _one(schedule, START + 0.2)
    schedule.refused(bad, rule(Action.STOP, Scope.ACCOUNT), START + 0.3)
    schedule.answered(good, START + 0.4)
    schedule.durable(good)
    assert sum(gone.count for gone in schedule.abandoned.days) == 3
    assert schedule.is_finished(START)


def test_a_month_is_complete_when_its_last_window_is_durable_or_given_up() -> None:
    """Two accounts owe March: it is published after the second is through with it, once."""
    schedule = schedule_of([lane(1, 1), lane(2, 1)], Pace())
    first, second = _one(schedule), _one(schedule)
    schedule.answered(first, START)
    schedule.durable(first)
    assert schedule.abandoned.months.take_complete() == []
    schedule.refused(second, rule(Action.STOP), START)
    march = calendar.parse_month("2026-03")
    assert schedule.abandoned.months.take_complete() == [Partition(HOURLY.name, march, 0)]
    assert schedule.abandoned.months.take_complete() == []


def test_nothing_is_handed_out_between_a_day_and_the_next() -> None:
    """From midnight on all waits for the calls of the new day; what was in flight is told."""
    schedule = schedule_of([lane(1, 9), lane(2, 9)], Pace(Rate(100, 1.0), 10, concurrency=4))
    midnight = START + 100
    assert schedule.start_day(START, midnight) == []
    grant_all(schedule, 5, START)
    early = _one(schedule, midnight - 0.2)
    schedule.answered(early, midnight - 0.1)
    landing, flying = _one(schedule, midnight - 0.1), _one(schedule, midnight - 0.1)
    assert landing.queue is not flying.queue
    schedule.answered(landing, midnight)
    grant_all(schedule, 5, midnight)
    assert schedule.next(midnight + 5) is None
    assert schedule.wake_at(midnight + 5) is None
    assert not schedule.is_finished(START)
    over = schedule.start_day(midnight + 6, midnight + 86_400)
    assert sorted((lane.appid, calls) for lane, calls in over) == [
        (lane.appid, 1) for lane in sorted(schedule.queues, key=lambda lane: lane.appid)
    ]
    assert schedule.next(midnight + 7) is None
    grant_all(schedule, 5, midnight + 7)
    schedule.answered(flying, midnight + 8)
    _one(schedule, midnight + 9)


def test_what_is_refused_for_the_day_that_is_over_is_not_told_to_the_next() -> None:
    """The last call before midnight heard after it that the quota is spent: it is back by now."""
    schedule = schedule_of([lane(1, 9)], Pace(Rate(100, 1.0), 10, concurrency=4))
    schedule.start_day(START, START + 100)
    grant_all(schedule, 5, START)
    attempt = _one(schedule, START + 99)
    schedule.refused(attempt, rule(Action.WAIT_FOR_QUOTA), START + 101, Refusal(45009, "spent", ""))
    schedule.start_day(START + 102, START + 86_400)
    assert schedule.refusals.take_exhausted() == []
    grant_all(schedule, 5, START + 103)
    assert _one(schedule, START + 102 + MIDNIGHT_SECONDS).window == attempt.window


def grant_all(schedule: Scheduler, calls: int, now: float) -> None:
    """Let every lane that asked for calls spend so many."""
    for lane, work in schedule.take_refill_requests():
        schedule.allocate(lane, work, calls, "", now)


def test_a_stopped_schedule_hands_out_nothing_more() -> None:
    """After the deadline only what is in flight comes home."""
    schedule = schedule_of([lane(1, 5)], Pace())
    attempt = _one(schedule)
    schedule.stop()
    schedule.answered(attempt, START)
    assert schedule.next(START + 100) is None
    assert schedule.is_finished(START)


def test_a_scheduler_and_a_queue_describe_what_they_wait_for() -> None:
    """Their texts have counts and times."""
    queue = lane(1, 5)
    schedule = schedule_of([queue], Pace())
    assert repr(schedule).startswith(
        "Scheduler(ready=1, waiting=0, timed=0, blocked=0, in_flight=0,"
    )
    schedule.refused(_one(schedule), rule(Action.SLOW_DOWN, Scope.ACCOUNT), START)
    assert "ready=0, waiting=0, timed=1" in repr(schedule)
    assert repr(queue) == (
        "AccountQueue(wx0000000000000001, windows_left=4, retries=1, in_flight=0, "
        f"not_before={queue.rate.not_before}, blocked_on_quota=0)"
    )
    schedule.start_day(START)
    assert "blocked=1" in repr(schedule)
    assert repr(queue).endswith("blocked_on_quota=1)")


@pytest.mark.parametrize(("accounts", "windows"), [(600, 20), (700, 15), (300, 30)])
def test_accounts_that_wait_for_others_cost_no_time(accounts: int, windows: int) -> None:
    """At most 512 are under way, with one request each at a time while others wait."""
    lanes = [lane(number, windows) for number in range(accounts)]
    simulation = Simulation(
        schedule_of(lanes, Pace(concurrency=4)), latency=(0.05, 0.05), workers=100
    )
    seconds = simulation.run()
    assert len(simulation.sent) == accounts * windows
    assert simulation.most_under_way == min(accounts, 512)
    assert simulation.most_in_flight == (1 if accounts > 512 else 0)
    assert seconds <= 1.06 * max(accounts * windows * 0.05 / 100, windows / 10)


def test_a_single_day_that_is_not_ready_leaves_nothing_to_ask_again() -> None:
    """Nor does its pair, which was answered, wait for anything."""
    schedule = schedule_of([lane(1, 2)], Pace())
    schedule.answered(_one(schedule), START)
    schedule.refused(_one(schedule, START + 1), rule(Action.NOT_READY), START + 1)
    assert sum(gone.count for gone in schedule.abandoned.days) == 1
    assert schedule.is_finished(START + 2)


def test_the_rest_of_a_window_is_asked_at_once_if_its_dataset_was_answered_before() -> None:
    """The newest day alone is left to a later run."""
    queue = AccountQueue("wx0000000000000001", 0, [Backlog(DAILY, day_range(BEGIN, BEGIN + 59))])
    schedule = schedule_of([queue], Pace())
    schedule.answered(_one(schedule), START)
    later = _one(schedule, START + 1)
    schedule.refused(later, rule(Action.NOT_READY), START + 1)
    rest = _one(schedule, START + 2)
    assert (rest.window.begin, rest.window.end) == (later.window.begin, later.window.end - 1)
    assert sum(gone.count for gone in schedule.abandoned.days) == 1


def test_nothing_is_handed_out_without_the_lease() -> None:
    """The lease is looked at where each window is handed out, and once lost it ends the run."""
    schedule = schedule_of([lane(1, 20)], Pace(Rate(1000, 1.0), 20, concurrency=3))
    holds = [True, False, True]
    first = schedule.next(START, Hold(lambda: holds.pop(0)))
    assert first is not None
    schedule.answered(first, START)
    assert schedule.next(START, Hold(lambda: holds.pop(0))) is None
    assert schedule.next(START + 1, Hold(lambda: holds.pop(0))) is None
    assert holds == [True]
    assert schedule.is_finished(START + 1)
    assert any(work.open for queue in schedule.queues for work in queue.backlogs)


@pytest.mark.parametrize("days", [0, 1])
def test_a_call_that_was_not_made_is_given_back_to_its_own_day(days: int) -> None:
    """One that was handed out before midnight is none of the new day's; a stopped dataset rests."""
    queue = lane(1, 10)
    [backlog] = queue.backlogs
    scheduler = schedule_of([queue], Pace(Rate(10, 1.0), 1, concurrency=1))
    backlog.quota.reset()
    scheduler.allocate(queue, backlog, 5, "", 0.0)
    attempt = scheduler.next(0.0)
    assert attempt is not None
    for _ in range(days):
        scheduler.refusals.start_day()
    before = backlog.quota.allocated
    scheduler.give_back(attempt)
    scheduler.withheld(attempt, 1.0, "503")
    assert backlog.quota.allocated == before + 1 - days
    attempt = scheduler.next(60.0)
    assert attempt is not None
    scheduler.abandoned.stop_dataset(queue, backlog, TOO_MANY_FAILURES, "stopped")
    scheduler.give_back(attempt)
    scheduler.withheld(attempt, 61.0, "503")
    assert not queue.retries
    assert scheduler.is_finished(61.0)


def all_in_flight(schedule: Scheduler, now: float) -> list[Attempt]:
    """Return all attempts that are handed out at a moment, in the order of their accounts."""
    found: list[Attempt] = []
    while (attempt := schedule.next(now)) is not None:
        found.append(attempt)
    return sorted(found, key=lambda attempt: attempt.queue.appid)


def test_a_refusal_of_an_account_is_no_answer_about_the_dataset_that_waits() -> None:
    """Ten accounts fail, so their dataset waits by itself, whatever is said of an eleventh."""
    schedule = schedule_of([lane(number, 3) for number in range(12)], Pace())
    *failing, refused, answered = all_in_flight(schedule, START)
    for attempt in failing:
        schedule.refused(attempt, rule(Action.RETRY), START, "503")
    schedule.refused(refused, rule(Action.STOP, Scope.ACCOUNT), START, Refusal(40125, "no", ""))
    assert all_in_flight(schedule, START + 1) == []
    schedule.answered(answered, START + 1)
    assert len(all_in_flight(schedule, START + 60)) > 1


def test_the_wait_of_a_dataset_keeps_no_window_for_the_next_probe() -> None:
    """Accounts that met no failure are asked at the first answer, and not half a minute later."""
    schedule = schedule_of([lane(number, 1) for number in range(30)], Pace())
    answered, *failed = (_one(schedule) for _ in range(1 + ALONE_FAILURES))
    schedule.answered(answered, START)
    for attempt in failed:
        schedule.refused(attempt, rule(Action.RETRY), START, "503")
    assert schedule.next(START + 1) is None
    [probe] = all_in_flight(schedule, START + 1 + PROBE_SECONDS)
    schedule.answered(probe, START + 1 + PROBE_SECONDS)
    others = {attempt.queue.appid for attempt in all_in_flight(schedule, START + 2 + PROBE_SECONDS)}
    assert len(others - {attempt.queue.appid for attempt in failed}) == 30 - 1 - ALONE_FAILURES


def test_the_wait_of_a_dataset_ends_and_its_refused_accounts_wait_on_for_their_scouts() -> None:
    """Five accounts are refused and ten fail; a refusal of a scout resumes none but the ten."""
    schedule = schedule_of([lane(number, 3) for number in range(15)], Pace())
    first = all_in_flight(schedule, START)
    for attempt in first[:5]:
        schedule.refused(attempt, rule(Action.STOP), START, Refusal(61500, "no", ""))
    again = all_in_flight(schedule, START + 1)
    scouts = [attempt.queue.appid for attempt in again]
    assert len(scouts) == SCOUTS
    for attempt in first[5:]:
        schedule.refused(attempt, rule(Action.RETRY), START + 1, "503")
    schedule.refused(again[0], rule(Action.STOP), START + 1, Refusal(61500, "no", ""))
    resumed = {attempt.queue.appid for attempt in all_in_flight(schedule, START + 60)}
    waiting = {attempt.queue.appid for attempt in first[:5]} - {*scouts}
    assert resumed
    assert not resumed & waiting

"""An answer without rows that should have some is asked once more, after all first questions."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harvester.catalogue import CATALOGUE
from harvester.core import calendar
from harvester.core.calendar import NO_DAYS, Day, DaySet, day_range
from harvester.core.config.settings import Limits, Pace, Retry
from harvester.core.model import Partition, Rate, Refusal, Window
from harvester.core.rule import Action, Rule, Scope
from harvester.scheduling import second_questions
from harvester.scheduling.account_queue import AccountQueue, Attempt, Backlog
from harvester.scheduling.scheduler import Scheduler
from harvester.scheduling.second_questions import BRAKE, Expects
from harvester.scheduling.standing import pending
from tests.scheduling.test_scheduler import BEGIN, HOURLY, START, Buckets, grant_all, rule

WEEKLY = CATALOGUE["user_summary"]
WIDE = Pace(Rate(1000, 1.0), 100, concurrency=4)
MARCH = calendar.month_of(BEGIN)
BUSY = Refusal(-1, "system error", "")


def always(_: Window, __: DaySet) -> bool:
    """Expect rows of every window."""
    return True


def between(window: Window, rows: DaySet) -> bool:
    """Expect rows between days with rows."""
    older = rows & day_range(calendar.FIRST_DAY, window.begin - 1)
    return bool(older and rows >> (window.end - calendar.FIRST_DAY + 1))


@dataclass
class World:
    """Accounts that owe days of two datasets, and a server without rows of some of them.

    Days of ``silent`` come without rows, and those of ``healed`` with rows when they are asked
    once more; both are by appid and dataset. Where no call is left ``calls`` are allocated.
    ``asked`` are the attempts in their order.
    """

    owed: dict[tuple[str, str], DaySet]
    silent: dict[tuple[str, str], DaySet]
    expects: Expects = always
    healed: dict[tuple[str, str], DaySet] = field(default_factory=dict)
    outcome: Callable[[Attempt], Rule | None] = lambda _: None
    calls: int = 0
    stop_after: int = 1 << 30
    asked: list[Attempt] = field(default_factory=list)
    now: float = START

    def __post_init__(self) -> None:
        kinds = {HOURLY.name: HOURLY, WEEKLY.name: WEEKLY}
        by_account: dict[str, list[Backlog]] = {}
        for (appid, name), days in self.owed.items():
            by_account.setdefault(appid, []).append(Backlog(kinds[name], days))
        self.queues = [AccountQueue(appid, 0, backlogs) for appid, backlogs in by_account.items()]
        self.schedule = Scheduler(
            self.queues,
            Limits(per_token=WIDE),
            policy=Retry(),
            limiter=Buckets(0.001, 100),
            jitter=random.Random(1),
            expects=self.expects,
        )

    def days_of(self, found: list[Attempt]) -> Counter[tuple[str, str, Day]]:
        """Count how often each day of an account and dataset was owed."""
        return Counter(
            (*each.window[:2], day) for each in found for day in calendar.each_day(each.days)
        )

    def run(self) -> None:
        """Run to the end, or until it is stopped."""
        schedule = self.schedule
        while not schedule.is_finished(self.now):
            self.now += 0.01
            limiter = schedule._limiter
            assert isinstance(limiter, Buckets)
            limiter.now = self.now
            flying: list[Attempt] = []
            while len(flying) < 3 and (attempt := schedule.next(self.now)):
                self.asked.append(attempt)
                flying.append(attempt)
                if len(self.asked) == self.stop_after:
                    schedule.stop()
            for attempt in flying:
                assert attempt.backlog.quota.allocated >= 0
                self._land(attempt)
            if self.calls:
                grant_all(schedule, self.calls, self.now)

    def _land(self, attempt: Attempt) -> None:
        if (refusal := self.outcome(attempt)) is not None:
            self.schedule.refused(attempt, refusal, self.now, BUSY)
            return
        pair = attempt.window[:2]
        known = self.silent.get(pair, NO_DAYS)
        if attempt.is_second:
            known &= ~self.healed.get(pair, NO_DAYS)
        is_empty = not day_range(attempt.window.begin, attempt.window.end) & ~known
        self.schedule.answered(attempt, self.now, is_empty=is_empty)
        self.schedule.durable(attempt)

    @property
    def first(self) -> list[Attempt]:
        """The first questions."""
        return [each for each in self.asked if not each.is_second]

    @property
    def second(self) -> list[Attempt]:
        """The second questions."""
        return [each for each in self.asked if each.is_second]


def account(number: int) -> str:
    """Return the appid of an account."""
    return f"wx{number:016x}"


day_sets = st.sets(st.integers(0, 40), max_size=25).map(
    lambda offsets: sum(calendar.one_day(BEGIN + offset) for offset in offsets)
)
pairs = st.tuples(st.integers(1, 4).map(account), st.sampled_from([HOURLY.name, WEEKLY.name]))
of_pairs = st.dictionaries(pairs, day_sets, max_size=8)


@settings(max_examples=200, deadline=None)
@given(of_pairs, of_pairs, of_pairs, st.sampled_from([always, between]), st.integers(1, 200))
def test_each_day_is_asked_once_and_a_doubtful_one_once_more(
    owed: dict[tuple[str, str], DaySet],
    silent: dict[tuple[str, str], DaySet],
    healed: dict[tuple[str, str], DaySet],
    expects: Expects,
    stop_after: int,
) -> None:
    """After all first questions, and after ten in vain no more; nothing is owed at the end."""
    for stops in (1 << 30, stop_after):
        world = World(owed, silent, expects, healed, stop_after=stops)
        world.run()
        number = len(world.first)
        assert [each.is_second for each in world.asked[:number]] == [False] * number
        once, twice = world.days_of(world.first), world.days_of(world.second)
        assert set(once.values()) | set(twice.values()) <= {1}
        assert twice.keys() <= once.keys()
        assert all(calendar.has_day(silent[name, kind], day) for name, kind, day in twice)
        if not world.schedule.is_stopped:
            assert len(once) == sum(map(calendar.count_days, owed.values()))
            assert pending(world.queues) == []
        else:
            left = sum(each.account_days for each in pending(world.queues))
            assert left == sum(map(calendar.count_days, owed.values())) - len(once)
        if stops == stop_after or expects is not always:
            continue
        for kind in (HOURLY.name, WEEKLY.name):
            doubtful = sum(
                calendar.count_days(queue_backlog.doubtful)
                for queue in world.queues
                for queue_backlog in queue.backlogs
                if queue_backlog.dataset.name == kind
            )
            asked = [each for each in world.second if each.window.dataset == kind]
            has_rows = any(
                day_range(each.window.begin, each.window.end)
                & (~silent[each.window[:2]] | healed.get(each.window[:2], NO_DAYS))
                for each in asked
            )
            of_kind = sum(day[1] == kind for day in twice)
            assert of_kind == doubtful if has_rows else len(asked) <= BRAKE


def silent_hours(accounts: int, days: int) -> dict[tuple[str, str], DaySet]:
    """Return so many silent days of each account."""
    return {(account(n), HOURLY.name): day_range(BEGIN, BEGIN + days - 1) for n in range(accounts)}


def test_the_first_ten_are_spread_over_the_accounts() -> None:
    """Twenty accounts without rows: ten of them are asked for one day each, and no more."""
    owed = silent_hours(20, 5)
    world = World(owed, owed)
    world.run()
    assert len(world.first) == 100
    assert [each.window.begin for each in world.second] == [BEGIN + 4] * BRAKE
    assert len({each.queue.appid for each in world.second}) == BRAKE


def test_one_row_among_the_first_ten_has_all_others_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many are handed out at a time."""
    monkeypatch.setattr(second_questions, "MOST", 7)
    owed = silent_hours(20, 5)
    world = World(owed, owed, healed={(account(2), HOURLY.name): day_range(BEGIN, BEGIN + 4)})
    world.run()
    assert world.days_of(world.second) == world.days_of(world.first)


def test_a_month_is_complete_once_the_days_around_are_known() -> None:
    """Without an older row nothing was to be expected, so the month does not wait for the end."""
    days = day_range(BEGIN, BEGIN + 9)
    pair = account(1), HOURLY.name
    world = World({pair: days}, {pair: day_range(BEGIN, BEGIN + 4)}, between)
    world.run()
    assert world.second == []
    months = world.schedule.abandoned.months
    assert months.take_complete() == [Partition(HOURLY.name, MARCH, 0)]


def test_a_month_with_a_doubtful_day_is_left_to_the_end_of_the_run() -> None:
    """It would be written twice otherwise."""
    pair = account(1), HOURLY.name
    owed = {pair: day_range(BEGIN, BEGIN + 9), (account(2), HOURLY.name): calendar.one_day(BEGIN)}
    world = World(owed, {pair: calendar.one_day(BEGIN + 4)}, between)
    world.run()
    assert len(world.second) == 1
    assert world.schedule.abandoned.months.take_complete() == []


@pytest.mark.parametrize(
    ("refusal", "is_of_account"),
    [
        pytest.param(rule(Action.RETRY), False, id="the window"),
        pytest.param(rule(Action.SPLIT), False, id="the days"),
        pytest.param(rule(Action.SLOW_DOWN, Scope.ACCOUNT), True, id="the account"),
        pytest.param(rule(Action.WAIT_FOR_QUOTA, Scope.ACCOUNT_DATASET), True, id="the quota"),
        pytest.param(rule(Action.REFRESH_TOKEN, Scope.ACCOUNT), False, id="its token, twice"),
    ],
)
def test_a_refused_second_question_is_dropped(refusal: Rule, *, is_of_account: bool) -> None:
    """Nothing is given up or owed for it; if it concerns the account, that is asked no more."""
    owed = silent_hours(2, 5)
    world = World(owed, owed, outcome=lambda attempt: refusal if attempt.is_second else None)
    world.run()
    asked = {each.window for each in world.second}
    # Three are in flight at the same time.
    assert len(asked) <= 2 * 3 if is_of_account else len(asked) == 10
    assert world.schedule.abandoned.days == []
    assert pending(world.queues) == []
    assert world.schedule.is_finished(world.now + 3600)
    spent = world.schedule.refusals.take_exhausted()
    assert len(spent) == (2 if refusal.action is Action.WAIT_FOR_QUOTA else 0)


def test_a_connection_that_has_come_to_its_end_costs_no_second_question() -> None:
    """The account was not asked for a while, so its connection may be closed."""
    closed: set[str] = set()

    def outcome(attempt: Attempt) -> Rule | None:
        if not attempt.is_second or attempt.queue.appid in closed:
            return None
        closed.add(attempt.queue.appid)
        return rule(Action.RETRY_NOW)

    owed = silent_hours(2, 2)
    world = World(owed, owed, outcome=outcome)
    world.run()
    assert len(world.second) == 4 + 2
    assert {each.window.begin for each in world.second} == {BEGIN, BEGIN + 1}


def test_second_questions_are_calls_of_the_quota() -> None:
    """One that has no call left waits until more are entered into the ledger."""
    owed = silent_hours(3, 2)
    world = World(owed, owed, calls=1)
    world.schedule.start_day(START)
    world.run()
    assert len(world.second) == 6


def test_a_spent_quota_drops_second_questions() -> None:
    """An account asks what its calls are enough for, and nothing is given up for the rest."""
    owed = silent_hours(3, 2)
    world = World(owed, owed)
    world.schedule.start_day(START)
    for queue, backlog in world.schedule.take_refill_requests():
        calls = {account(0): 2, account(1): 3, account(2): 9}[queue.appid]
        world.schedule.allocate(queue, backlog, calls, "these are the last", START)
    world.run()
    asked = Counter(each.queue.appid for each in world.second)
    assert asked == {account(1): 1, account(2): 2}
    assert world.schedule.abandoned.days == []
    assert pending(world.queues) == []

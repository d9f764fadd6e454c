"""Refusals that pairs share are cheap, and no window that would be answered is given up for them.

A pair is a dataset of an account. The server of these tests refuses chosen windows, always.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from harvester.catalogue import CATALOGUE
from harvester.catalogue.error_codes import rule_for
from harvester.core.calendar import day_range, each_day, parse_day
from harvester.core.config.settings import Limits, Pace, Retry
from harvester.core.model import Rate, Refusal
from harvester.core.rule import Action
from harvester.scheduling.account_queue import AccountQueue, Attempt, Backlog
from harvester.scheduling.refusal_learning import MAX_IN_A_ROW, SAMPLES, SCOUTS
from harvester.scheduling.scheduler import Scheduler
from tests.scheduling.test_scheduler import Buckets

HOURLY = CATALOGUE["interface_summary_hour"]
BEGIN = parse_day("2025-01-01")
START = 1_000_000.0


@dataclass
class Server:
    """A server that refuses days of accounts, and what it was asked."""

    bad: dict[str, set[int]]
    errcode: int = 99_999
    passing: float = 0.0
    asked: list[tuple[str, int]] = field(default_factory=list)
    answered: set[tuple[str, int]] = field(default_factory=set)

    def play(self, queues: list[AccountQueue], seed: int) -> Scheduler:
        """Run a scheduler to its end, with many calls in flight that come home in any order."""
        dice, schedule = random.Random(seed), self.scheduler(queues, seed)
        now, flying = START, list[Attempt]()
        while not schedule.is_finished(now):
            while len(flying) < 16 and (attempt := schedule.next(now)) is not None:
                flying.append(attempt)
            if flying:
                landed = flying.pop(dice.randrange(len(flying)))
                if dice.random() < self.passing:
                    schedule.refused(landed, rule_for(-1), now, Refusal(-1, "busy", ""))
                else:
                    self.land(schedule, landed, now)
            now = max(now + 1e-3, schedule.wake_at(now) or 0.0 if not flying else 0.0)
        return schedule

    def scheduler(self, queues: list[AccountQueue], seed: int) -> Scheduler:
        """Return a scheduler of these queues, whose calls this server answers."""
        return Scheduler(
            queues,
            Limits(per_token=Pace(Rate(1000, 1.0), 8, concurrency=4)),
            policy=Retry(max_attempts=50),
            limiter=Buckets(1e-3, 8),
            jitter=random.Random(seed),
        )

    def land(self, schedule: Scheduler, attempt: Attempt, now: float) -> None:
        """Answer or refuse an attempt."""
        appid, day = attempt.queue.appid, attempt.window.end
        self.asked.append((appid, day))
        if day in self.bad[appid]:
            refusal = Refusal(self.errcode, "no", "")
            schedule.refused(attempt, rule_for(self.errcode), now, refusal)
        else:
            self.answered.add((appid, day))
            schedule.answered(attempt, now)
            schedule.durable(attempt)


def queues_of(bad: dict[str, set[int]], days: int) -> list[AccountQueue]:
    """Return a queue for each account, with so many days missing."""
    missing = day_range(BEGIN, BEGIN + days - 1)
    return [AccountQueue(appid, 0, [Backlog(HOURLY, missing)]) for appid in bad]


@settings(max_examples=150, deadline=None)
@given(
    days=st.integers(1, 120),
    shares=st.lists(st.sampled_from([0.0, 0.1, 0.5, 0.9, 0.97, 1.0]), min_size=1, max_size=6),
    passing=st.sampled_from([0.0, 0.0, 0.2]),
    seed=st.integers(0, 10_000),
)
def test_refusals_cost_few_calls_and_no_good_window(
    days: int, shares: list[float], passing: float, seed: int
) -> None:
    """Every window that was answered counts, and those of a pair with an answer are all asked.

    A pair that is refused throughout costs ten calls at most, one that was answered goes on to its
    end unless thirty refusals follow one another, and each account is asked at least once.
    """
    dice = random.Random(seed)
    bad = {
        f"wx{number:016x}": {BEGIN + day for day in range(days) if dice.random() < share}
        for number, share in enumerate(shares)
    }
    queues = queues_of(bad, days)
    server = Server(bad, passing=passing)
    schedule = server.play(queues, seed)
    lost: dict[str, set[int]] = {appid: set() for appid in bad}
    for queue, (appid, refused) in zip(queues, bad.items(), strict=True):
        [backlog] = queue.backlogs
        asked = [day for name, day in server.asked if name == appid]
        good = {day for name, day in server.answered if name == appid}
        assert asked
        assert len(set(asked)) == len(asked)
        assert not backlog.open
        lost[appid] = set(range(BEGIN, BEGIN + days)) - good
        if not good and not passing:
            assert len(asked) <= SAMPLES
        if good and backlog.abandoned_by is None:
            assert lost[appid] == refused
    gone = sum(item.count for item in schedule.abandoned.days)
    assert gone == sum(map(len, lost.values()))
    for queue in queues:
        [backlog] = queue.backlogs
        answered = any(name == queue.appid for name, _ in server.answered)
        if backlog.abandoned_by is not None and answered:
            assert len(bad[queue.appid]) >= MAX_IN_A_ROW


@settings(max_examples=60, deadline=None)
@given(good=st.integers(0, SAMPLES - 1), seed=st.integers(0, 1000))
def test_one_good_window_among_the_samples_opens_the_pair(good: int, seed: int) -> None:
    """Whichever of the ten it is; the samples are those of a pair that is refused throughout."""
    whole = set(each_day(day_range(BEGIN, BEGIN + 199)))
    probe = Server({"wx0000000000000001": whole})
    probe.play(queues_of(probe.bad, 200), seed)
    samples = [day for _, day in probe.asked]
    assert len(samples) == SAMPLES
    assert samples[:6] == [BEGIN + 199 - place for place in range(6)]
    assert samples[-1] == BEGIN
    server = Server({"wx0000000000000001": whole - {samples[good]} - set(range(BEGIN, BEGIN + 20))})
    schedule = server.play(queues_of(server.bad, 200), seed)
    assert ("wx0000000000000001", samples[good]) in server.answered
    assert schedule.abandoned.days[-1].rule.action in (Action.DEFER, Action.STOP)


@settings(max_examples=40, deadline=None)
@given(accounts=st.integers(1, 300), seed=st.integers(0, 1000))
def test_of_many_accounts_all_but_two_are_asked_once(accounts: int, seed: int) -> None:
    """The scouts ask ten windows each; the others make one probe and wait for their verdict."""
    everything = set(range(BEGIN, BEGIN + 40))
    server = Server({f"wx{number:016x}": everything for number in range(accounts)})
    server.play(queues_of(server.bad, 40), seed)
    assert len(server.asked) <= SCOUTS * SAMPLES + max(0, accounts - SCOUTS)
    assert len({appid for appid, _ in server.asked}) == accounts


def test_an_account_that_is_refused_after_another_was_answered_is_sampled() -> None:
    """Two accounts are refused throughout, one is answered, and then the last one is refused."""
    names = [f"wx{number:016x}" for number in range(4)]
    server = Server({name: set(range(BEGIN, BEGIN + 20)) for name in names[:2]})
    server.bad |= {names[2]: set(), names[3]: set(range(BEGIN + 15, BEGIN + 20))}
    queues = queues_of(server.bad, 20)
    schedule, now, late = server.scheduler(queues, 1), START, list[Attempt]()
    while not schedule.is_finished(now):
        now = max(now + 1e-3, schedule.wake_at(now) or 0.0)
        attempt = schedule.next(now)
        if attempt is not None and attempt.queue is queues[3] and queues[2].has_work():
            late.append(attempt)
        elif attempt is not None:
            server.land(schedule, attempt, now)
        elif late and not queues[2].has_work():
            server.land(schedule, late.pop(), now)
    assert len({day for name, day in server.answered if name == names[3]}) == 15

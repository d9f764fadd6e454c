"""Questions for the daily quota: when they are put, what they cost, and what a run then spends."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harvester.catalogue import CATALOGUE
from harvester.core import calendar
from harvester.core.calendar import NO_DAYS, day_text, instant, parse_day
from harvester.core.config.settings import Limits, Pace
from harvester.core.exit_codes import Exit
from harvester.core.model import Rate, ReportedQuota, Reserve
from harvester.core.secret import Secret
from harvester.engine.quota_questions import QuotaQuestions
from harvester.engine.rate_limiter import RateLimiter
from harvester.planning.ledger import Ledger
from harvester.planning.quota import MAX_QUESTIONS, UNASKED_CALLS
from harvester.runs.record.notes import notes_of
from harvester.runs.record.run_record import as_record
from harvester.sandbox import QUOTA, Rules
from harvester.sandbox.call_faults import Refused
from harvester.sandbox.calls import Reply, Request
from harvester.scheduling.account_queue import AccountQueue, Backlog
from harvester.wechat.quota_api import QUOTA_PATH
from tests.support.counting_wechat import StrictRules
from tests.support.fake_time import Killed, VirtualTimeHarness, in_virtual_time
from tests.support.faulty_wechat import Fault
from tests.support.ledgers import known_quotas
from tests.support.nights import by_night
from tests.support.run_harness import HOURLY, appid

TODAY = parse_day("2026-05-20")
END = parse_day("2026-04-19")
PATH = CATALOGUE[HOURLY].path
USER, ONE, TWO = "user_summary", appid(1), appid(2)
TEN = Pace(Rate(10, 1.0), 1, concurrency=4)


def first_of(windows: int) -> str:
    """Return the day from which on so many hourly windows are wanted."""
    return day_text(END - windows + 1)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[VirtualTimeHarness]:
    """One account that owes 600 hourly days, of which WeChat answers 400 a day."""
    lab = VirtualTimeHarness(tmp_path, accounts=1, begin=first_of(600), end=day_text(END))
    lab.datasets, lab.limits = (HOURLY,), Limits(TEN)
    lab.rules = StrictRules(daily_quota=400, window_limit=(10, 1.0))
    lab.__post_init__()
    with in_virtual_time(lab):
        yield lab


def made(lab: VirtualTimeHarness, name: str = ONE) -> tuple[int, int]:
    """Return the data calls and the questions of an account on this day."""
    calls = lab.calls_of_day(calendar.today(lab.now()))
    return calls[name, PATH], calls[name, QUOTA_PATH]


@pytest.mark.parametrize(
    ("windows", "questions"), [(200, 0), (201, 1), *by_night([(165, 0), (240, 1)])]
)
def test_a_day_of_few_calls_asks_nothing(
    lab: VirtualTimeHarness, windows: int, questions: int
) -> None:
    """Two hundred calls are made unasked, one more needs a question."""
    lab.begin = first_of(windows)
    done = lab.run()
    assert made(lab) == (windows, questions)
    assert (done.requests, done.quota_questions) == (windows, questions)


def test_the_question_comes_before_the_two_hundred_and_first_call(lab: VirtualTimeHarness) -> None:
    """Its dataset waits for the answer, and not longer than that takes."""
    lab.begin = first_of(260)
    lab.run()
    asked = next(at for at, call in enumerate(lab.net.calls) if call.path == QUOTA_PATH)
    assert asked == UNASKED_CALLS
    times = [call.at for call in lab.net.calls]
    assert max(late - early for early, late in pairwise(times)) < 0.5


@pytest.mark.long
@pytest.mark.parametrize("store_seconds", [3.0, *by_night([0.0])])
def test_a_tenth_of_the_limit_is_left_to_others(
    lab: VirtualTimeHarness, store_seconds: float
) -> None:
    """Two days for 600 windows at 360 a day, without one refusal; also by a slow store."""
    lab.store_seconds = store_seconds
    first = lab.run()
    assert (first.exit_code, list(first.reasons())) == (Exit.AGAIN, ["quota"])
    assert str(first.abandoned[0].why) == "400 calls a day (read), 40 of them reserved"
    calls, questions = made(lab)
    assert calls == 360
    assert 1 <= questions <= MAX_QUESTIONS
    lab.sleep_until(TODAY + 1)
    assert lab.run().exit_code is Exit.DONE
    assert made(lab)[0] == 240
    assert lab.sandbox.counters.errcodes == Counter()


@pytest.mark.long
def test_the_limit_is_kept_for_later_days(lab: VirtualTimeHarness) -> None:
    """On the next day nothing is asked before a quarter of the limit, or 200 calls, are spent."""
    lab.run()
    lab.sleep_until(TODAY + 1)
    lab.begin = first_of(360 + 200)
    assert lab.run().exit_code is Exit.DONE
    assert made(lab) == (200, 0)


@pytest.mark.long
def test_no_more_than_four_questions_on_a_day_however_many_runs(lab: VirtualTimeHarness) -> None:
    """Also if runs are killed while they ask."""
    dice = random.Random(1)
    for _ in range(6):
        with suppress(Killed):
            lab.run(kill_after=dice.uniform(5.0, 15.0))
        lab.advance(dice.uniform(1.0, 60.0))
    lab.run()
    calls, questions = made(lab)
    assert 300 < calls <= 360
    assert questions == MAX_QUESTIONS
    assert lab.sandbox.counters.errcodes == Counter()


def with_others(lab: VirtualTimeHarness, calls: int, dice: random.Random) -> None:
    """Let other users of the account spend up to so many calls, while a run is at work."""
    post = lab.net.post
    left = [calls]

    async def beside(path: str, body: bytes, token: Secret | None) -> tuple[int, bytes]:
        for _ in range(dice.randrange(3) if left[0] else 0):
            with suppress(Refused):
                lab.sandbox._limits._days.add((ONE, HOURLY), calendar.today(lab.now()))
            left[0] = max(0, left[0] - 1)
        return await post(path, body, token)

    lab.net.post = beside  # type: ignore[method-assign]


def answers_of_quota(lab: VirtualTimeHarness) -> list[tuple[int, int]]:
    """Record, with each answer of the quota endpoint, how many data calls had arrived."""
    found: list[tuple[int, int]] = []
    well = lab.sandbox.answer

    def answer(request: Request) -> Reply:
        if request.path == QUOTA_PATH:
            remain = lab.sandbox._limits.quota(ONE, HOURLY, lab.now())["remain"]
            found.append((lab.sandbox.counters.calls[ONE], remain))
        return well(request)

    lab.sandbox.answer = answer  # type: ignore[method-assign]
    return found


@pytest.mark.parametrize("seed", [*range(2), *by_night(range(2, 16))])
def test_never_more_than_remained_less_the_reserve(tmp_path: Path, seed: int) -> None:
    """Whatever others spend and however runs end, from every answer of WeChat's on."""
    dice = random.Random(seed)
    limit, share = dice.choice([250, 400, 1000]), dice.choice([0.0, 0.1, 0.3])
    lab = VirtualTimeHarness(tmp_path, accounts=1, begin=first_of(900), end=day_text(END))
    lab.datasets = (HOURLY,)
    pace = Pace(Rate(*dice.choice([(10, 1.0), (60, 60.0)])), 1, dice.choice([1, 4, 8]))
    lab.limits = Limits(pace, daily_reserve=Reserve(share=share))
    lab.rules = Rules(daily_quota=limit)
    lab.__post_init__()
    lab.net.there = lab.net.back = dice.choice([0.01, 0.4])
    lab.store_seconds = dice.choice([0.0, 0.0, 0.3])
    with_others(lab, dice.choice([0, 50, 200]), dice)
    answers = answers_of_quota(lab)
    reserve = lab.limits.daily_reserve.of(limit)
    with in_virtual_time(lab):
        for _ in range(4):
            with suppress(Killed):
                lab.run(kill_after=dice.choice([None, 8.0, 30.0]))
            lab.advance(61)
        calls = lab.sandbox.counters.calls[ONE]
        assert made(lab)[1] == len(answers) <= MAX_QUESTIONS
    assert answers or calls <= UNASKED_CALLS
    assert calls <= max(UNASKED_CALLS, limit - reserve)
    for before, remain in answers:
        assert calls - before <= max(0, remain - reserve)


@pytest.mark.long
@pytest.mark.parametrize(
    "answer",
    [
        Fault(errcode=76022),
        *by_night(
            [
                (Reply(b"not found", 404),),
                (Reply(b'{"errcode":0,"errmsg":"ok"}'),),
                (Reply(b'{"quota":{"daily_limit":0,"used":0,"remain":0}}'),),
            ]
        ),
    ],
    ids=["refused", "unknown", "malformed", "zeros"],
)
def test_a_server_that_does_not_tell_leaves_a_thousand(
    lab: VirtualTimeHarness, caplog: pytest.LogCaptureFixture, answer: Fault | Reply
) -> None:
    """It is asked once a day and dataset, and said once in the log, the record and the summary."""
    lab.accounts, lab.begin = 2, first_of(1000)
    lab.rules = Rules()
    lab.__post_init__()
    replace_answer(lab, answer)
    done = lab.run()
    assert (made(lab), made(lab, TWO)) == ((900, 1), (900, 1))
    assert str(done.abandoned[0].why) == "1,000 calls a day (assumed), 100 of them reserved"
    warnings = [each for each in caplog.messages if "1,000 calls a day are assumed" in each]
    assert len(warnings) == 1
    assert len([note for note in notes_of(done, {}) if "1,000 calls a day" in note]) == 1
    record = as_record(done)
    assert (record["quota_questions"], record["assumed"]) == (2, ["daily_quota"])
    lab.run()
    assert made(lab) == (900, 1)
    lab.sleep_until(TODAY + 1)
    assert lab.run().exit_code is Exit.DONE
    assert made(lab)[0] == 100


def replace_answer(lab: VirtualTimeHarness, answer: Fault | Reply) -> None:
    """Answer each question so."""
    well = lab.sandbox.answer
    if isinstance(answer, Fault):
        for name in lab.appids:
            lab.sandbox.fail(name, answer, dataset=QUOTA)
        return

    def answers(request: Request) -> Reply:
        return answer if request.path == QUOTA_PATH else well(request)

    lab.sandbox.answer = answers  # type: ignore[method-assign]


def longest_pause(lab: VirtualTimeHarness, name: str, path: str) -> float:
    """Return the longest time between two data calls for a dataset of an account."""
    times = [call.at for call in lab.net.calls if (call.appid, call.path) == (name, path)]
    return max(late - early for early, late in pairwise(times))


@pytest.mark.long
def test_a_question_without_an_answer_stalls_its_own_dataset_alone(
    lab: VirtualTimeHarness,
) -> None:
    """It is put four times at most, and what is known decides in its place."""
    lab.accounts, lab.datasets = 2, (HOURLY, "upstream_msg_hour")
    lab.begin, lab.rules = first_of(300), Rules()
    lab.__post_init__()
    lab.net.there = lab.net.back = 0.01
    silence(lab, HOURLY)
    done = lab.run()
    assert done.exit_code is Exit.DONE
    assert 1 <= made(lab)[1] - 1 <= MAX_QUESTIONS
    other = CATALOGUE["upstream_msg_hour"].path
    for name, path in ((ONE, other), (TWO, PATH), (TWO, other)):
        assert longest_pause(lab, name, path) < 15.0
    assert done.quotas_refused == 0


def silence(lab: VirtualTimeHarness, dataset: str) -> None:
    """Let questions of the first account for a dataset have no answer in time."""
    well, path = lab.sandbox.answer, CATALOGUE[dataset].path.encode()

    def answers(request: Request) -> Reply:
        reply = well(request)
        if request.path != QUOTA_PATH or b'"' + path + b'"' not in request.body:
            return reply
        token = lab.sandbox.tokens.find(request.query["access_token"], lab.now())
        return reply._replace(delay=60.0) if token.appid == ONE else reply

    lab.sandbox.answer = answers  # type: ignore[method-assign]


def test_a_busy_answer_is_no_refusal(lab: VirtualTimeHarness) -> None:
    """WeChat is asked again, and the second answer counts."""
    lab.sandbox.fail(ONE, -1, dataset=QUOTA, times=1)
    done = lab.run()
    assert made(lab)[0] == 360
    assert done.quotas_refused == 0
    assert lab.sandbox.counters.errcodes == Counter({-1: 1})


@pytest.mark.long
def test_questions_keep_to_the_rate_of_the_account(lab: VirtualTimeHarness) -> None:
    """Counted together with its data calls, by a rate of ten in a minute."""
    lab.limits = Limits(Pace(Rate(10, 60.0), 5, concurrency=4), daily_quota=None)
    lab.begin = first_of(230)
    lab.run()
    assert made(lab) == (230, 1)
    times = sorted(call.at for call in lab.net.calls)
    assert all(times[at + 10] - times[at] >= 60 for at in range(len(times) - 10))


@pytest.mark.parametrize("stop", [{"max_duration": 25.0}, {"kill_after": 25.0}])
def test_a_run_ends_in_time_while_it_asks(lab: VirtualTimeHarness, stop: dict[str, Any]) -> None:
    """The time budget ends it as any other run; the calls that it did not make are returned."""
    lab.sandbox.fail(ONE, Fault(delay=25.0), dataset=QUOTA)
    began = lab.now()
    with suppress(Killed):
        assert lab.run(**stop).exit_code is Exit.AGAIN
    assert lab.now() - began < 26
    assert made(lab) == (200, 1)


def test_a_number_in_the_manifest_asks_nothing(lab: VirtualTimeHarness) -> None:
    """It is the limit before the reserve."""
    lab.limits = replace(lab.limits, daily_quota=300)
    done = lab.run()
    assert made(lab) == (270, 0)
    assert str(done.abandoned[0].why) == "300 calls a day (set), 30 of them reserved"


def test_what_a_spent_quota_taught(lab: VirtualTimeHarness) -> None:
    """Neither the refused calls count nor those in flight, and no reserve is left of it."""
    lab.rules = Rules(daily_quota=5)
    lab.__post_init__()
    lab.begin = first_of(60)
    done = lab.run()
    assert list(done.reasons()) == ["quota"]
    (known,) = known_quotas(lab.tree).values()
    assert (known.taught, known.taught_on) == (5, TODAY)
    lab.rules = Rules(daily_quota=8)
    lab.__post_init__()
    lab.sleep_until(TODAY + 1)
    lab.run()
    (known,) = known_quotas(lab.tree).values()
    assert (known.taught, known.taught_on) == (8, TODAY + 1)


def test_a_later_day_that_allows_more_is_believed(lab: VirtualTimeHarness) -> None:
    """The number of one day is forgotten once another has allowed more."""
    lab.rules = Rules(daily_quota=5)
    lab.__post_init__()
    lab.begin = first_of(60)
    lab.run()
    lab.rules = Rules()
    lab.__post_init__()
    lab.sleep_until(TODAY + 1)
    assert lab.run().exit_code is Exit.DONE
    (known,) = known_quotas(lab.tree).values()
    assert known.taught == 0


@pytest.mark.long
def test_a_user_who_knows_better_lets_a_run_forget(lab: VirtualTimeHarness) -> None:
    """Forgotten are the spent calls, the remaining and the taught ones; the limit stays known."""
    lab.run()
    assert made(lab)[0] == 360
    lab.sandbox.reset()
    assert lab.run().requests == 0
    lab.begin = first_of(600)
    done = lab.run(ignore_spent_quota=True)
    assert (done.exit_code, done.requests) == (Exit.DONE, 240)
    (known,) = known_quotas(lab.tree).values()
    assert known.reported is not None
    assert (known.reported.daily_limit, known.taught) == (400, 0)
    assert made(lab)[1] <= MAX_QUESTIONS


def test_midnight_while_a_question_is_asked(lab: VirtualTimeHarness) -> None:
    """The new day has calls of its own, and the answer is taken as one of the day before."""
    lab.sleep_until(TODAY + 1)
    lab.advance(-25)
    lab.sandbox.fail(ONE, Fault(delay=20.0), dataset=QUOTA, times=1)
    assert lab.run().exit_code is Exit.AGAIN
    today = lab.calls_of_day(TODAY + 1)
    assert lab.calls_of_day(TODAY)[ONE, PATH] == 200
    assert 355 <= today[ONE, PATH] <= 360
    assert today[ONE, QUOTA_PATH] <= MAX_QUESTIONS
    assert instant(TODAY + 1) < lab.now()


async def test_a_number_that_is_told_after_midnight_is_none_of_the_ledger_of_before() -> None:
    """Its calls are in no number of the new day, so the limit alone is of use."""

    async def token(_: str) -> Secret:
        return Secret("token")

    async def answer(*_: object) -> tuple[int, bytes]:
        return 200, b'{"errcode":0,"quota":{"daily_limit":400,"used":3,"remain":397}}'

    line: Any = SimpleNamespace(current=token, post=answer)
    now = instant(TODAY + 1, 1)
    questions = QuotaQuestions(line, line, RateLimiter(TEN), connections=1, now=lambda: now)
    for day, asked_at in ((TODAY, 0.0), (TODAY + 1, now)):
        queue, backlog = AccountQueue(ONE, 0, []), Backlog(CATALOGUE[HOURLY], NO_DAYS)
        found = await questions.ask(queue, backlog, Ledger(day))
        assert found.told == ReportedQuota(400, 3, 397, asked_at)

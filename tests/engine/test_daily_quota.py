"""The quota of a day: never more, spent on the newest days, remembered, and given back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

import duckdb
import pytest

from harvester.core import calendar
from harvester.core.calendar import day_range, instant, parse_day
from harvester.core.config.settings import Limits, Pace
from harvester.core.exit_codes import Exit
from harvester.core.model import Rate, ReportedQuota, Reserve, bucket_of
from harvester.core.secret import Secret
from harvester.manifest.narrowing import Selection, narrow
from harvester.planning import wanted_days as planning
from harvester.sandbox import Rules
from harvester.sandbox.calls import Reply, Request
from harvester.storage import coverage_scan
from harvester.storage.state import quota_ledger
from tests.support import ledgers
from tests.support.fake_time import Killed, VirtualTimeHarness, in_virtual_time
from tests.support.faulty_wechat import Fault
from tests.support.nights import by_night
from tests.support.run_harness import DAILY, HOURLY, appid, days_between, expected, published_rows

TODAY = parse_day("2026-05-20")
SPENT = Reply(b'{"errcode":45009,"errmsg":"reach max api daily quota limit"}')
NONE = Reserve()
FAR = ("2026-03-01", "2026-04-19")
"""Fifty days, all of them settled."""


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[VirtualTimeHarness]:
    """Two accounts that owe fifty hourly days each, and a quota of ten calls a day."""
    limits = Limits(Pace(Rate(10, 1.0), 1, concurrency=4), daily_quota=10, daily_reserve=NONE)
    lab = VirtualTimeHarness(tmp_path, accounts=2, begin=FAR[0], end=FAR[1], datasets=(HOURLY,))
    lab.limits = limits
    with in_virtual_time(lab):
        yield lab


def covered(lab: VirtualTimeHarness, name: str) -> calendar.DaySet:
    """The days of an account that the files know."""
    want = planning.wanted(lab.manifest(), lab.now())
    states = coverage_scan.read(lab.tree, want, lab.now(), lab.manifest().datasets).states
    return states[HOURLY][name].covered


@pytest.mark.parametrize("told", [False, True])
def test_five_days_of_quota_finish_what_needs_five(
    lab: VirtualTimeHarness, *, told: bool, duck: duckdb.DuckDBPyConnection
) -> None:
    """Each day ends with 75 until the last; whether the manifest knows the quota or WeChat says."""
    lab.rules = Rules(daily_quota=10)
    lab.__post_init__()
    if told:
        lab.limits = replace(lab.limits, daily_quota=5000)
    codes = []
    for number in range(5):
        lab.sleep_until(TODAY + number, 12 * 60)
        done = lab.run()
        codes.append(int(done.exit_code))
        if done.exit_code is Exit.AGAIN:
            assert list(done.reasons()) == ["quota"]
    assert codes == [75, 75, 75, 75, 0]
    assert published_rows(duck, lab.root, HOURLY) == expected(
        HOURLY, lab.appids, days_between(*FAR)
    )


def test_a_spent_budget_was_spent_on_the_newest_days(lab: VirtualTimeHarness) -> None:
    """Ten calls are the ten newest days, not ten of somewhere."""
    lab.run()
    newest = parse_day(FAR[1])
    for name in lab.appids:
        assert covered(lab, name) == day_range(newest - 9, newest)


def test_nothing_is_asked_again_on_the_day_of_a_45009(lab: VirtualTimeHarness) -> None:
    """At most what was in flight, then nothing, nor by the next run, until the day is over."""
    lab.limits = replace(lab.limits, daily_quota=5000)
    lab.sandbox.fail(appid(1), 45009)
    first = lab.run()
    assert (first.exit_code, lab.calls_of_day(TODAY)[appid(1), PATH]) == (Exit.AGAIN, 1)
    assert lab.calls_of_day(TODAY)[appid(2), PATH] == 50
    lab.sandbox.heal(appid(1))
    second = lab.run()
    assert (second.exit_code, second.requests) == (Exit.AGAIN, 0)
    assert [gone.count for gone in second.abandoned] == [50]
    assert "45009 reach max api daily quota limit" in str(second.abandoned[0].why)
    lab.sleep_until(TODAY + 1)
    third = lab.run()
    assert (third.exit_code, third.requests) == (Exit.DONE, 50)


def notes_of(lab: VirtualTimeHarness) -> list[Path]:
    """The files of the notes."""
    return list((lab.root / "_harvester/quota").iterdir())


PATH = "/datacube/getinterfacesummaryhour"


def test_unpark_forgets_that_a_quota_was_spent(lab: VirtualTimeHarness) -> None:
    """The user knows better: he had the quota reset, or set a larger one."""
    lab.sandbox.fail(appid(1), 45009)
    lab.run()
    lab.sandbox.heal(appid(1))
    assert lab.run().requests == 0
    assert lab.run(ignore_spent_quota=True).requests == 20


def test_unpark_forgets_nothing_of_accounts_and_datasets_it_was_not_given_for(
    lab: VirtualTimeHarness,
) -> None:
    """Calls that others spent are still spent, and the refusals of WeChat still hold."""
    lab.datasets = (DAILY, HOURLY)
    lab.sandbox.fail(appid(2), 45009, dataset=HOURLY)
    lab.run()
    before = quota_ledger.read(lab.tree, TODAY, 0)
    lab.accounts, lab.datasets = 1, (HOURLY,)
    assert lab.run(ignore_spent_quota=True).requests == 10
    after = quota_ledger.read(lab.tree, TODAY, 0)
    assert before is not None
    assert after is not None
    assert after.today == before.today
    lab.accounts = 2
    lab.run()
    assert lab.calls_of_day(TODAY)[appid(2), PATH] == 1


def test_an_attempt_that_gets_no_token_is_no_call(lab: VirtualTimeHarness) -> None:
    """A wrong secret spends no calls of a dataset, so that it is not hidden behind a quota."""
    lab.accounts = 1
    lab.sandbox.fail(appid(1), 40125, dataset="token")
    for _ in range(11):
        done = lab.run()
        assert (done.requests, {*done.reasons()}) == (0, {"refused", "unauthorised"})
    lab.sandbox.heal(appid(1), dataset="token")
    assert lab.run().requests == 10


def test_the_reserve_is_left_to_others(lab: VirtualTimeHarness) -> None:
    """A share of the quota, rounded up, or a number."""
    lab.limits = replace(lab.limits, daily_reserve=Reserve(share=0.25))
    done = lab.run()
    assert done.requests == 2 * 7
    assert str(done.abandoned[0].why) == "10 calls a day (set), 3 of them reserved"


@pytest.mark.long
def test_midnight_in_a_run_brings_a_new_quota(lab: VirtualTimeHarness) -> None:
    """Ten calls before it and ten after it, while another account is still at work."""
    slow = Pace(Rate(1, 60.0), 1, concurrency=1)
    lab.limits = replace(lab.limits, per_token=slow, daily_quota=30)
    lab.sandbox.fail(appid(1), 45009, times=1)
    lab.sleep_until(TODAY, 24 * 60 - 10)
    done = lab.run()
    assert lab.calls_of_day(TODAY) == {(appid(1), PATH): 1, (appid(2), PATH): 10}
    tomorrow = lab.calls_of_day(TODAY + 1)
    assert tomorrow[appid(1), PATH] == 30
    assert 29 <= tomorrow[appid(2), PATH] <= 30
    assert {gone.appid for gone in done.abandoned} == set(lab.appids)


def test_calls_under_way_at_midnight_are_calls_of_the_new_day(lab: VirtualTimeHarness) -> None:
    """They may arrive after it, and WeChat counts them when they do."""
    lab.limits = replace(lab.limits, daily_quota=20)
    lab.net.there = 4.0
    lab.sleep_until(TODAY, 24 * 60)
    lab.advance(-12.0)
    lab.run()
    calls = lab.calls_of_day(TODAY + 1)
    assert 16 <= min(calls.values()) <= max(calls.values()) <= 20


def test_a_spent_quota_that_is_told_after_midnight_parks_no_account_today(
    lab: VirtualTimeHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call of 23:59 that is answered at 00:00 speaks of the day that is over."""
    pace = Pace(Rate(2, 1.0), 1, concurrency=4)
    lab.limits = replace(lab.limits, per_token=pace, daily_quota=5000)
    lab.sleep_until(TODAY, 24 * 60 - 1)
    lab.advance(57)
    midnight, well = instant(TODAY + 1), lab.sandbox.answer

    def answers(request: Request) -> Reply:
        late = midnight - 1.2 < lab.now() < midnight and request.path == PATH
        return SPENT._replace(delay=2.0) if late else well(request)

    monkeypatch.setattr(lab.sandbox, "answer", answers)
    assert lab.run().exit_code is Exit.DONE
    note = quota_ledger.read(lab.tree, TODAY + 1, 0)
    assert note is not None
    assert note.today.exhausted == {}


def test_the_new_day_is_begun_as_soon_as_the_pace_allows(lab: VirtualTimeHarness) -> None:
    """An account out of quota is free again at 00:00:30, not when another one is at 00:00:50."""
    slow = Pace(Rate(1, 60.0), 1, concurrency=1)
    lab.limits = replace(lab.limits, per_token=slow, daily_quota=None)
    told = ReportedQuota(daily_limit=10, used=0, remain=10, asked_at=lab.now())
    ledgers.tell(lab.tree, {(appid(1), HOURLY): told}, lab.now())
    lab.sandbox.fail(appid(2), Fault(delay=20.0), times=1)
    lab.sleep_until(TODAY, 24 * 60 - 10)
    lab.advance(30)
    lab.run(max_duration=700)
    calls = [call.at - instant(TODAY + 1) for call in lab.net.calls if call.appid == appid(1)]
    assert calls[9] == pytest.approx(-30, abs=2)
    assert calls[10] == pytest.approx(30, abs=2)


@pytest.mark.long
def test_a_quota_that_comes_back_a_little_after_our_midnight_is_waited_for(
    lab: VirtualTimeHarness,
) -> None:
    """WeChat's clock is twenty seconds behind: a call too early would park the whole new day."""
    slow = Pace(Rate(1, 60.0), 1, concurrency=1)
    lab.limits = replace(lab.limits, per_token=slow, daily_quota=5000)
    lab.sleep_until(TODAY, 24 * 60 - 10)
    reset = instant(TODAY + 1) + 20
    lab.sandbox.fail(appid(1), 45009)
    down = lab.net.down

    def heal(now: float) -> bool:
        if now >= reset:
            lab.sandbox.heal(appid(1))
        return down(now)

    lab.net.down = heal
    assert lab.run().exit_code is Exit.DONE


@pytest.mark.long
@pytest.mark.parametrize(
    ("store_seconds", "before", "buckets"),
    [(0.2, 10, 5), *by_night(product([0.0, 0.2], [10, 20], [16]))],
)
def test_a_slow_store_at_midnight_costs_time_and_no_calls(
    tmp_path: Path, *, store_seconds: float, before: float, buckets: int
) -> None:
    """Many notes to begin the new day: until they are written no queue spends anything of it."""
    lab = VirtualTimeHarness(
        tmp_path, accounts=buckets, begin="2024-10-01", buckets=buckets, datasets=(HOURLY,)
    )
    lab.limits = Limits(Pace(Rate(10, 1.0), 1, concurrency=4), daily_quota=250, daily_reserve=NONE)
    with in_virtual_time(lab):
        lab.sleep_until(TODAY, 24 * 60)
        lab.advance(-before)
        lab.store_seconds = store_seconds
        lab.run()
        calls = lab.calls_of_day(TODAY + 1)
        assert 242 <= min(calls.values()) <= max(calls.values()) <= 250
        for name in lab.appids:
            note = quota_ledger.read(lab.tree, TODAY + 1, bucket_of(name, buckets))
            assert note is not None
            assert note.spent(HOURLY, name) >= calls[name, PATH]


@pytest.mark.long
def test_a_store_that_is_far_away_is_asked_for_many_notes_at_once(tmp_path: Path) -> None:
    """Thirty-two buckets at 0.2 s a question: the first call is made after two seconds, not 30."""
    lab = VirtualTimeHarness(tmp_path, accounts=100, begin=FAR[0], end=FAR[1], buckets=32)
    lab.datasets, lab.store_seconds = (HOURLY,), 0.2
    lab.limits = Limits(Pace(Rate(10, 1.0), 1, concurrency=4), daily_quota=10, daily_reserve=NONE)
    with in_virtual_time(lab):
        began = lab.now()
        lab.run()
        assert lab.net.calls[0].at - began < 2.5


def test_a_killed_run_has_noted_too_much_rather_than_too_little(lab: VirtualTimeHarness) -> None:
    """The entered calls cover the spent ones, and unspent ones are gone until tomorrow."""
    lab.limits = replace(lab.limits, daily_quota=30)
    with pytest.raises(Killed):
        lab.run(kill_after=1.05)
    note = quota_ledger.read(lab.tree, TODAY, 0)
    assert note is not None
    assert note.in_use
    for name in lab.appids:
        assert 9 <= lab.calls_of_day(TODAY)[name, PATH] <= note.spent(HOURLY, name) <= 30
    lab.run()
    assert max(lab.calls_of_day(TODAY).values()) <= 30


def test_a_call_is_in_the_ledger_before_it_is_made(
    lab: VirtualTimeHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the ledger's disk is slow: a run that is killed has never forgotten a call."""
    lab.limits, lab.store_seconds = replace(lab.limits, daily_quota=200), 0.3
    post = lab.net.post
    entered: list[bool] = []

    async def checked(path: str, body: bytes, token: Secret | None) -> tuple[int, bytes]:
        if token is not None:
            name = lab.sandbox.tokens.find(token.reveal(), lab.now()).appid
            note = quota_ledger.read(lab.tree, TODAY, 0)
            made = lab.calls_of_day(TODAY)[name, PATH]
            entered.append(note is not None and note.spent(HOURLY, name) > made)
        return await post(path, body, token)

    monkeypatch.setattr(lab.net, "post", checked)
    assert lab.run().exit_code is Exit.DONE
    assert len(entered) == 100
    assert all(entered)


def test_a_run_that_ends_in_order_gives_back_what_it_did_not_spend(lab: VirtualTimeHarness) -> None:
    """The note says what was spent, to the call."""
    lab.limits = replace(lab.limits, daily_quota=200)
    lab.run(max_duration=2.0)
    note = quota_ledger.read(lab.tree, TODAY, 0)
    assert note is not None
    assert not note.in_use
    for name in lab.appids:
        assert note.spent(HOURLY, name) == lab.calls_of_day(TODAY)[name, PATH] < 50


def test_retries_are_calls_like_any_other(lab: VirtualTimeHarness) -> None:
    """An account that fails spends its budget too, and no more."""
    lab.limits = replace(lab.limits, daily_quota=20)
    lab.sandbox.fail(appid(1), -1)
    lab.run()
    assert lab.calls_of_day(TODAY)[appid(1), PATH] == 20


def test_before_the_ready_hour_room_is_left_for_the_days_own_work(lab: VirtualTimeHarness) -> None:
    """At nine in the morning two of ten calls wait for yesterday, which is ready at ten."""
    lab.end = None
    lab.sleep_until(TODAY, 9 * 60)
    early = lab.run()
    assert early.requests == 2 * 8
    assert "2 kept for what gets ready later today" in str(early.abandoned[0].why)
    lab.sleep_until(TODAY, 11 * 60)
    late = lab.run()
    assert late.requests == 2 * 2
    for name in lab.appids:
        assert calendar.has_day(covered(lab, name), TODAY - 1)


def test_a_run_narrowed_to_old_days_leaves_that_room_too(
    lab: VirtualTimeHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Options narrow what is asked. What the day needs at ten they do not change."""
    lab.end = None
    lab.sleep_until(TODAY, 9 * 60)
    old = narrow(lab.manifest(), Selection(end_date=FAR[1]), lab.now())
    with monkeypatch.context() as patch:
        patch.setattr(lab, "manifest", lambda: old)
        assert lab.run().requests == 2 * 8
    lab.sleep_until(TODAY, 11 * 60)
    lab.run()
    for name in lab.appids:
        assert calendar.has_day(covered(lab, name), TODAY - 1)


def test_losing_the_notes_costs_calls_and_never_rows(
    lab: VirtualTimeHarness, duck: duckdb.DuckDBPyConnection
) -> None:
    """Damaged or gone, a note counts for nothing."""
    lab.run()
    (path,) = notes_of(lab)
    path.write_text("{")
    assert lab.run().requests == 20
    path.unlink()
    lab.limits = replace(lab.limits, daily_quota=100)
    assert lab.run().exit_code is Exit.DONE
    assert published_rows(duck, lab.root, HOURLY) == expected(
        HOURLY, lab.appids, days_between(*FAR)
    )


def test_old_notes_are_swept(lab: VirtualTimeHarness) -> None:
    """Two days of them at most."""
    for number in range(4):
        lab.sleep_until(TODAY + number, 12 * 60)
        lab.run()
    assert [path.name for path in notes_of(lab)] == ["0000-of-0001.json"]
    note = quota_ledger.read(lab.tree, TODAY + 3, 0)
    assert note is not None
    assert [*note.days] == ["2026-05-22", "2026-05-23"]


def test_datasets_have_quotas_of_their_own(lab: VirtualTimeHarness) -> None:
    """The hourly one is spent; the daily one goes on."""
    lab.datasets = (DAILY, HOURLY)
    done = lab.run()
    assert {gone.dataset for gone in done.abandoned} == {HOURLY}
    assert done.requests == 2 * (10 + 2)


def test_wechats_own_number_counts_for_more_than_the_assumed_one(lab: VirtualTimeHarness) -> None:
    """Twelve calls are allowed, and another service of the account has used five today."""
    lab.limits = replace(lab.limits, daily_quota=None)
    told = ReportedQuota(daily_limit=12, used=5, remain=7, asked_at=lab.now())
    ledgers.tell(lab.tree, {(appid(1), HOURLY): told}, lab.now())
    done = lab.run()
    assert lab.calls_of_day(TODAY) == {(appid(1), PATH): 7, (appid(2), PATH): 50}
    (gone,) = done.abandoned
    assert str(gone.why) == "12 calls a day (read), 5 of them taken by the account's other users"
    assert lab.run().requests == 0
    lab.sleep_until(TODAY + 1)
    lab.run()
    assert lab.calls_of_day(TODAY + 1)[appid(1), PATH] == 12


def test_what_others_spent_counts_beside_what_is_spent_after(lab: VirtualTimeHarness) -> None:
    """WeChat's count of this morning is not forgotten block after block, and run after run."""
    pace = Pace(Rate(2, 1.0), 1, concurrency=4)
    lab.limits = replace(lab.limits, per_token=pace, daily_quota=None)
    told = ReportedQuota(daily_limit=45, used=10, remain=35, asked_at=lab.now())
    ledgers.tell(lab.tree, {(name, HOURLY): told for name in lab.appids}, lab.now())
    for _ in range(5):
        lab.run(max_duration=5.0)
        lab.advance(60)
    assert set(lab.calls_of_day(TODAY).values()) == {35}

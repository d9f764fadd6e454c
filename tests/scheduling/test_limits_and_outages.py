"""Limits that others set, hosts that are away, accounts that never answer: what each costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

import duckdb
import pytest

from harvester.catalogue import error_codes
from harvester.core import calendar
from harvester.core.config.settings import Limits, Pace, Retry
from harvester.core.exit_codes import Exit
from harvester.core.model import Rate, Window
from harvester.sandbox import ANYONE, TOKEN, Rules
from harvester.sandbox.calls import Reply, Request
from harvester.scheduling.abandoned import CUT_OFF, TOO_LONG
from harvester.scheduling.account_queue import FAILURE_BUDGET
from harvester.scheduling.refusal_policy import LONG_ANSWERS, SLOWDOWN_FACTOR
from harvester.scheduling.retry_budget import (
    ALONE_FAILURES,
    BUDGET,
    GIVE_UP_SECONDS,
    LOCAL_GIVE_UP_SECONDS,
    LOCAL_PROBE_SECONDS,
    PROBE_SECONDS,
    RetryBudget,
)
from harvester.wechat.attempt import is_long
from tests.support import faulty_wechat
from tests.support.counting_wechat import StrictRules
from tests.support.fake_time import Killed, VirtualTimeHarness, in_virtual_time
from tests.support.faulty_wechat import Break, Fault, FaultyRules, Wire
from tests.support.nights import by_night, few_by_day
from tests.support.run_harness import (
    BOTH,
    DAILY,
    HOURLY,
    appid,
    days_between,
    expected,
    published_rows,
)

SICK = appid(1)
BUSY = Reply(b'{"errcode":-1,"errmsg":"system error"}')
BUSY_FAULT = Fault(status=503, body=b"<html>busy", content_type="text/html")
TEN = Limits(Pace(Rate(10, 1.0), 1, concurrency=4))


def stormy(
    lab: VirtualTimeHarness, after: float, seconds: float, answer: Reply | None = None
) -> Callable[[Request], Reply]:
    """Answer 503, or as told, to every call from ``after`` seconds on, for some seconds."""
    well, began = lab.sandbox.answer, lab.now() + after
    fault = answer or Reply(b"<html>", 503, "text/html")

    def answers(request: Request) -> Reply:
        return fault if began < lab.now() < began + seconds else well(request)

    return answers


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[VirtualTimeHarness]:
    """Three accounts that owe a hundred hourly days each, at ten a second."""
    lab = VirtualTimeHarness(tmp_path, begin="2026-01-20", end="2026-04-29", datasets=(HOURLY,))
    lab.limits, lab.retry = TEN, Retry()
    with in_virtual_time(lab):
        yield lab


def serve_by(lab: VirtualTimeHarness, rules: Rules) -> None:
    """Open the sandbox anew, by other rules."""
    lab.rules = rules
    lab.__post_init__()


def starts_of(lab: VirtualTimeHarness, name: str) -> list[float]:
    """Return the moments at which the calls of an account arrived."""
    return [call.at for call in lab.net.calls if call.appid == name]


# Spans


def test_a_shorter_span_is_learnt_from_few_days_too(lab: VirtualTimeHarness) -> None:
    """Half of a window is half, though only the days at its ends are missing."""
    lab.datasets, lab.accounts = (DAILY,), 1
    lab.begin, lab.end = "2026-04-02", "2026-04-29"
    lab.run()
    lab.begin, lab.end = "2025-01-01", "2026-04-30"
    lab.sandbox.rules = FaultyRules(spans={DAILY: 15})
    done = lab.run()
    assert (done.windows, done.requests) == (17, 1 + 2 * 16)
    assert done.shortened_spans == {DAILY: 15}


def test_one_account_whose_window_is_too_long_shortens_no_other_s(lab: VirtualTimeHarness) -> None:
    """Something may be the matter with its days; two of them, and it is WeChat."""
    lab.datasets, lab.accounts, lab.begin = (DAILY,), 10, "2024-01-01"
    lab.sandbox.fail(SICK, 61501, times=1)
    done = lab.run()
    # Of one account the first window is refused, and its 850 days are asked by fifteen.
    assert (done.windows, done.requests) == (10 * 29, 9 * 29 + 1 + 57)


# Pace


@pytest.mark.parametrize("ends", ["killed", "in order"])
def test_a_run_holds_off_until_calls_of_the_one_before_count_no_more(
    lab: VirtualTimeHarness, *, ends: str
) -> None:
    """Sixty a minute at once, and again by the next run: the server still never counts 61."""
    lab.limits = Limits(Pace(Rate(60, 60.0), 60, concurrency=60))
    serve_by(lab, StrictRules(window_limit=(60, 60.0)))
    if ends == "killed":
        with pytest.raises(Killed):
            lab.run(kill_after=0.5)
    else:
        assert lab.run(max_duration=0.5).exit_code is Exit.AGAIN
    before = len(lab.net.calls)
    assert before > 0
    assert lab.run().exit_code is Exit.DONE
    assert lab.net.calls[before].at - lab.net.calls[before - 1].at >= 59
    assert lab.sandbox.counters.errcodes[45011] == 0
    assert max(lab.sandbox.peak_load().values()) <= 60


def test_a_few_calls_of_the_run_before_cost_no_wait(lab: VirtualTimeHarness) -> None:
    """Ten of sixty calls a minute were made: the next run may make the other fifty at once."""
    lab.limits = Limits(Pace(Rate(60, 60.0), 60, concurrency=60))
    serve_by(lab, StrictRules(window_limit=(60, 60.0)))
    lab.begin = "2026-04-20"
    lab.run()
    lab.begin, restarted = "2026-01-20", lab.now()
    assert lab.run().exit_code is Exit.DONE
    soon = [at for at in starts_of(lab, SICK) if restarted <= at < restarted + 5]
    assert len(soon) == 50
    assert lab.sandbox.counters.errcodes[45011] == 0


def test_a_run_that_was_killed_before_its_first_answer_was_durable_holds_the_next_one_off(
    lab: VirtualTimeHarness,
) -> None:
    """Not one raw group stands: the note of its calls is there all the same."""
    lab.limits = Limits(Pace(Rate(10, 5.0), 10, concurrency=10))
    with pytest.raises(Killed):
        lab.run(kill_after=0.2)
    assert not list((lab.root / "_harvester/raw").glob("*/*"))
    restarted = lab.now()
    lab.run()
    assert min(call.at for call in lab.net.calls if call.at > restarted) >= restarted + 5.0


def test_a_clock_that_was_put_back_makes_no_run_wait_longer_than_a_period(
    lab: VirtualTimeHarness,
) -> None:
    """The note speaks of a moment in the future."""
    lab.run(max_duration=3.0)
    before = len(lab.net.calls)
    lab.advance(-3600.0)
    restarted = lab.now()
    lab.run(max_duration=3.0)
    assert lab.net.calls[before].at <= restarted + 1.1


@pytest.mark.long
@pytest.mark.parametrize(
    ("limit", "concurrency"),
    few_by_day(product([(60, 60.0), (5, 1.0), (2, 3.0)], [1, 4]), [((2, 3.0), 1)]),
)
def test_a_server_that_is_stricter_than_the_manifest_is_obeyed_in_the_end(
    lab: VirtualTimeHarness,
    *,
    limit: tuple[int, float],
    concurrency: int,
    duck: duckdb.DuckDBPyConnection,
) -> None:
    """Each minute with a refusal lowers the rate, until there are no more of them."""
    lab.begin = "2025-09-01"
    lab.limits = Limits(Pace(Rate(10, 1.0), 1, concurrency))
    serve_by(lab, StrictRules(window_limit=limit))
    done = lab.run()
    assert done.exit_code is Exit.DONE
    refused = lab.sandbox.counters.errcodes[45011]
    assert 0 < refused <= 3 * 4 * 12
    fair = done.windows / 3 / limit[0] * limit[1]
    assert lab.now() - lab.net.calls[0].at <= 2 * fair + 60 * 12
    truth = expected(HOURLY, lab.appids, days_between(lab.begin, "2026-04-29"))
    assert published_rows(duck, lab.root, HOURLY) == truth


@pytest.mark.parametrize("accounts", [8, *by_night([50])])
def test_accounts_with_faults_take_hardly_longer_than_they_must(
    tmp_path: Path, accounts: int
) -> None:
    """A minute at exactly the server's limit, a call in ten failing: none is refused for haste."""
    lab = VirtualTimeHarness(tmp_path, accounts=accounts, begin="2026-01-11", end="2026-04-29")
    lab.datasets, lab.retry = (HOURLY,), Retry(max_attempts=20)
    lab.limits = Limits(Pace(Rate(2, 1.0), 1, concurrency=4), connections=100)
    lab.net.there = lab.net.back = 0.01
    serve_by(lab, StrictRules(window_limit=(2, 1.0), fault_rate=0.1, latency_jitter=0.02))
    with in_virtual_time(lab):
        done = lab.run()
    assert (done.exit_code, lab.sandbox.counters.errcodes[45011]) == (Exit.DONE, 0)
    most = max(lab.sandbox.counters.calls.values())
    arrived = [call.at for call in lab.net.calls]
    assert 60 < arrived[-1] - arrived[0] <= 1.05 * (most - 1) / 2


def test_a_minute_limit_slows_its_own_account_alone(lab: VirtualTimeHarness) -> None:
    """One refusal: six sevenths of the rate from the next minute on, for this account."""
    lab.sandbox.fail(SICK, 45011, times=1)
    lab.run()
    slow, well = starts_of(lab, SICK), starts_of(lab, appid(2))
    assert well[-1] - well[0] <= 99 / 10 * 1.05
    assert slow[1] - slow[0] > 1
    assert slow[-1] - slow[1] == pytest.approx(98 / 10 * SLOWDOWN_FACTOR, rel=0.03)


def test_an_account_that_pauses_keeps_no_other_from_its_width(lab: VirtualTimeHarness) -> None:
    """One waits for the next minute; the other has its first answer then, and four at once."""
    lab.accounts = 2
    serve_by(lab, Rules(latency=1.0))
    lab.sandbox.fail(SICK, 45011, times=1)
    lab.sandbox.fail(appid(2), Fault(delay=3.0), times=1)
    lab.run()
    well = starts_of(lab, appid(2))
    assert well[-1] - well[1] <= 99 / 4 * 1.1


# Errors


def test_a_fault_in_five_attempts_fails_nothing(lab: VirtualTimeHarness) -> None:
    """The retry budget bites in sustained failure alone; so many attempts fail no window either."""
    lab.retry = Retry(max_attempts=20)
    serve_by(lab, Rules(fault_rate=0.2, seed=3))
    lab.begin = "2025-12-01"
    done = lab.run()
    assert done.windows == 3 * 150
    assert (done.exit_code, done.abandoned) == (Exit.DONE, [])


def test_an_account_that_always_fails_is_left_for_a_later_run(lab: VirtualTimeHarness) -> None:
    """After so many failures without answers the rest of it is deferred, whatever is owed."""
    lab.sandbox.fail(SICK, -1)
    done = lab.run()
    # What failed before the first answer of another account says nothing of this one.
    assert 0 <= len(starts_of(lab, SICK)) - FAILURE_BUDGET <= TEN.per_token.concurrency
    assert done.reasons() == {"failed": Exit.INCOMPLETE, "deferred": Exit.AGAIN}
    assert sum(gone.count for gone in done.abandoned) == 100
    lab.sandbox.heal(SICK)
    assert lab.run().exit_code is Exit.DONE


def test_a_restricted_account_is_asked_once_more(lab: VirtualTimeHarness) -> None:
    """Of what was in flight one window is repeated; a second refusal stops the account."""
    lab.sandbox.fail(SICK, 50002)
    done = lab.run()
    first, *_, last = starts_of(lab, SICK)
    assert len(starts_of(lab, SICK)) <= lab.limits.per_token.concurrency + 1
    assert 0 < last - first < 2
    assert done.reasons() == {"refused": Exit.INCOMPLETE}
    assert {gone.appid for gone in done.abandoned} == {SICK}


@pytest.mark.parametrize("dataset", [None, TOKEN])
def test_a_restriction_that_passes_costs_no_row(
    lab: VirtualTimeHarness, dataset: str | None
) -> None:
    """A refusal that does not come twice costs one call, be it of data or for the token."""
    lab.sandbox.fail(SICK, 50002, dataset=dataset, times=1)
    done = lab.run()
    assert (done.exit_code, done.abandoned) == (Exit.DONE, [])
    assert len(starts_of(lab, SICK)) == 100 + (dataset is None)
    assert lab.sandbox.counters.token_calls[SICK] == 1 + (dataset is TOKEN)


def test_a_restriction_at_the_token_endpoint_is_asked_once_more(lab: VirtualTimeHarness) -> None:
    """The account stops after two calls for a token, and no data call is made."""
    lab.sandbox.fail(SICK, 50002, dataset=TOKEN)
    done = lab.run()
    assert done.reasons() == {"refused": Exit.INCOMPLETE}
    assert lab.sandbox.counters.token_calls[SICK] == 2
    assert not starts_of(lab, SICK)


def test_a_host_that_is_away_is_probed_now_and_then(lab: VirtualTimeHarness) -> None:
    """An outage of five minutes costs a few attempts, and the run goes on by itself."""
    began = lab.now()
    lab.net.down = lambda now: began + 2 <= now < began + 302
    done = lab.run()
    assert (done.exit_code, done.abandoned) == (Exit.DONE, [])
    tried = [at - began for at in lab.net.attempts if 2 <= at - began < 302]
    assert len([at for at in tried if at > 10]) <= 300 / PROBE_SECONDS
    assert lab.now() - began <= 302 + PROBE_SECONDS + 10


def test_a_host_that_stays_away_ends_the_run_after_ten_minutes(lab: VirtualTimeHarness) -> None:
    """75, since nothing says that it cannot be had; not never, and not with failed windows."""
    lab.net.down = lambda _: True
    began = lab.now()
    done = lab.run()
    assert done.reasons() == {"deferred": Exit.AGAIN}
    assert GIVE_UP_SECONDS <= lab.now() - began <= GIVE_UP_SECONDS + PROBE_SECONDS + 5
    assert len(lab.net.attempts) <= 12 + GIVE_UP_SECONDS / PROBE_SECONDS


def test_a_host_that_stays_away_ends_the_run_at_its_deadline(lab: VirtualTimeHarness) -> None:
    """Whichever comes first."""
    lab.net.down = lambda _: True
    began = lab.now()
    done = lab.run(max_duration=100.0)
    assert list(done.reasons()) == ["time_budget"]
    assert lab.now() - began <= 101


def test_a_time_budget_that_ends_with_the_last_request_under_way_was_enough(
    lab: VirtualTimeHarness,
) -> None:
    """All three answers come home after the mark, and nothing is left to run again for.

    The first token takes the first second.
    """
    serve_by(lab, Rules(latency=1.0))
    lab.begin = lab.end = "2026-03-01"
    assert lab.run(max_duration=1.5).reasons() == {}


@pytest.mark.parametrize(
    "fault",
    [-1, Fault(delay=3600.0), *by_night([faulty_wechat.CLOSED, faulty_wechat.BAD_GATEWAY])],
)
def test_an_outage_of_any_kind_falls_to_a_trickle_and_ends(
    lab: VirtualTimeHarness, *, fault: int | Fault
) -> None:
    """Busy, hung up on, behind a broken gateway, or not answered at all."""
    lab.sandbox.fail(ANYONE, fault)
    began = lab.now()
    done = lab.run()
    assert done.reasons() == {"deferred": Exit.AGAIN}
    # The first repeat of a window after a closed connection is free, one in six attempts.
    assert len(lab.net.attempts) <= 3 * 2 * (FAILURE_BUDGET + FAILURE_BUDGET // 5) + 6
    assert lab.now() - began <= GIVE_UP_SECONDS + 120


@pytest.mark.parametrize("answer", [Reply(b"<html>", 502, "text/html"), *by_night([(BUSY,)])])
@pytest.mark.parametrize("accounts", [1, 3])
def test_an_outage_of_nine_minutes_costs_no_window(
    lab: VirtualTimeHarness, monkeypatch: pytest.MonkeyPatch, answer: Reply, accounts: int
) -> None:
    """Its windows are asked again in the same run, of one account as of three."""
    lab.accounts = accounts
    began, well = lab.now(), lab.sandbox.answer

    def answers(request: Request) -> Reply:
        down = began + 3 < lab.now() < began + 543 and request.path.startswith("/datacube")
        return answer if down else well(request)

    monkeypatch.setattr(lab.sandbox, "answer", answers)
    done = lab.run()
    assert (done.exit_code, done.abandoned) == (Exit.DONE, [])
    failed = len(lab.net.attempts) - 100 * accounts
    assert failed <= BUDGET + 4 * accounts + 2 * 9 + 1


KINDS = [Reply(b"<html>", 503, "text/html"), BUSY, Reply(b""), None]
TABLE = list(product([60, 480], [1, 10], KINDS))
"""Seconds of an outage, accounts, and what is answered meanwhile; None: connections are cut."""


@pytest.mark.long
@pytest.mark.parametrize(("seconds", "accounts", "answer"), few_by_day(TABLE, [TABLE[0], TABLE[7]]))
def test_an_outage_amid_three_thousand_windows_costs_the_budget_and_no_window(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: int, accounts: int, answer: Reply
) -> None:
    """One command, 0; calls beyond the answered: 100, what was in flight, and two a minute."""
    lab = VirtualTimeHarness(tmp_path, accounts=accounts, datasets=(HOURLY,), end="2026-04-29")
    lab.begin = calendar.day_text(calendar.parse_day(lab.end) - 3000 // accounts + 1)
    lab.limits, lab.retry = Limits(Pace(Rate(20, 1.0), 1, concurrency=4)), Retry()
    with in_virtual_time(lab):
        fault = answer or Reply(b"", raw=Break(Wire.CLOSE))
        monkeypatch.setattr(lab.sandbox, "answer", stormy(lab, 10, seconds, fault))
        done = lab.run()
    assert (done.exit_code, done.abandoned) == (Exit.DONE, [])
    beyond = len(lab.net.attempts) - 3000 - accounts
    assert 0 < beyond <= BUDGET + 4 * accounts + 2 * (seconds / 60 + 1)


@pytest.mark.long
@pytest.mark.parametrize("accounts", [10, *by_night([1])])
def test_an_hour_of_503_costs_runs_at_their_retry_at_what_it_costs_one(
    tmp_path: Path, accounts: int
) -> None:
    """As ``--until-complete`` makes them: three give up after ten minutes, and the last has all."""
    lab = VirtualTimeHarness(tmp_path, accounts=accounts, datasets=(HOURLY,), end="2026-04-29")
    lab.begin = calendar.day_text(calendar.parse_day(lab.end) - 3000 // accounts + 1)
    lab.limits, lab.retry = Limits(Pace(Rate(20, 1.0), 1, concurrency=4)), Retry()
    codes: list[Exit] = []
    with in_virtual_time(lab), pytest.MonkeyPatch.context() as patch:
        patch.setattr(lab.sandbox, "answer", stormy(lab, 10, 3600))
        while not codes or codes[-1] is Exit.AGAIN:
            done = lab.run()
            codes.append(done.exit_code)
            lab.advance(max(0.0, (done.retry_at or 0.0) - lab.now()))
    assert codes == [Exit.AGAIN] * 3 + [Exit.DONE]
    assert len(lab.net.attempts) - 3000 <= BUDGET + 4 * accounts + 2 * 60


def test_a_token_endpoint_that_is_dead_costs_two_calls_a_minute(lab: VirtualTimeHarness) -> None:
    """Forty accounts without tokens: after five failures one request in all probes it."""
    lab.accounts = 40
    lab.sandbox.fail(ANYONE, BUSY_FAULT, dataset=TOKEN)
    began = lab.now()
    assert lab.run().reasons() == {"deferred": Exit.AGAIN}
    minutes = (lab.now() - began) / 60
    assert sum(lab.sandbox.counters.token_calls.values()) <= 40 + 2 * (minutes + 1)


def test_the_waits_of_calls_that_were_not_made_count_once(lab: VirtualTimeHarness) -> None:
    """Each account owes one window, which waits no longer than the run takes."""
    lab.begin = lab.end = "2026-03-01"
    lab.sandbox.fail(ANYONE, BUSY_FAULT, dataset=TOKEN)
    began = lab.now()
    done = lab.run()
    assert 0 < sum(done.waits.values()) <= lab.accounts * (lab.now() - began)


@pytest.mark.long
def test_tokens_that_end_while_their_endpoint_is_dead_stop_no_other_account(
    lab: VirtualTimeHarness,
) -> None:
    """Accounts with a token are answered meanwhile, and the others go on once it is back."""
    lab.accounts = 20
    gone = {appid(number) for number in range(1, 11)}
    for name in gone:
        lab.sandbox.fail(name, BUSY_FAULT, dataset=TOKEN)
    began, well = lab.now(), lab.sandbox.answer

    def answers(request: Request) -> Reply:
        if lab.now() > began + 300:
            for name in gone:
                lab.sandbox.heal(name, dataset=TOKEN)
        return well(request)

    lab.sandbox.answer = answers  # type: ignore[method-assign]
    lab.limits = Limits(Pace(Rate(20, 60.0), 1, concurrency=1))
    done = lab.run()
    assert (done.exit_code, done.abandoned) == (Exit.DONE, [])
    assert sum(lab.sandbox.counters.token_calls.values()) <= 20 + 2 * 10 + 2 * 6


def test_a_dataset_that_is_dead_is_left_for_later_and_stops_no_other(
    lab: VirtualTimeHarness,
) -> None:
    """It waits by itself; the others take the time that they take alone."""
    lab.datasets, lab.accounts = BOTH, 10
    lab.sandbox.fail(ANYONE, -1, dataset=HOURLY)
    began = lab.now()
    done = lab.run()
    assert done.reasons() == {"deferred": Exit.AGAIN}
    assert {item.dataset for item in done.abandoned} == {HOURLY}
    assert lab.sandbox.counters.errcodes[-1] <= 4 * 10 + ALONE_FAILURES + 2 * 11
    assert lab.now() - began <= GIVE_UP_SECONDS + 60
    lab.sandbox.heal(ANYONE, dataset=HOURLY)
    assert lab.run().exit_code is Exit.DONE


@pytest.mark.parametrize("form", [b'{"list":[],"%s":0}', b'{"%s":0}', b"%s" * 9])
def test_a_gateway_that_sends_megabytes_for_each_window_is_asked_thrice(
    lab: VirtualTimeHarness, monkeypatch: pytest.MonkeyPatch, *, form: bytes
) -> None:
    """The others go on, and the dataset is had by the run after, without the gateway."""
    lab.datasets, well, sent = BOTH, lab.sandbox.answer, list[Request]()
    long = Reply(form.replace(b"%s", b"x" * (2 << 20)))

    def answers(request: Request) -> Reply:
        if not request.path.endswith("getinterfacesummaryhour"):
            return well(request)
        sent.append(request)
        return long

    with monkeypatch.context() as gateway:
        gateway.setattr(lab.sandbox, "answer", answers)
        done = lab.run()
    assert len(sent) <= LONG_ANSWERS + lab.accounts - 1
    assert done.reasons() == {"deferred": Exit.AGAIN}
    assert {(item.dataset, item.rule) for item in done.abandoned} == {(HOURLY, TOO_LONG)}
    assert lab.run().exit_code is Exit.DONE


def test_a_year_in_one_answer_may_be_long() -> None:
    """An answer of megabytes is told by the days that it is for."""
    window = Window(SICK, DAILY, 1, 10)
    assert not is_long(window, b"x" * (10 << 20))
    assert is_long(window, b"x" * ((10 << 20) + 1))


def test_a_window_that_fails_for_ever_fails_in_a_manifest_of_one_account_too(
    lab: VirtualTimeHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """3, since others of its windows were answered meanwhile."""
    lab.accounts, well = 1, lab.sandbox.answer
    monkeypatch.setattr(
        lab.sandbox,
        "answer",
        lambda request: BUSY if b"2026-04-01" in request.body else well(request),
    )
    done = lab.run()
    assert done.reasons() == {"failed": Exit.INCOMPLETE}
    assert [item.count for item in done.abandoned] == [1]


def test_a_day_on_which_a_fifth_of_all_attempts_fail_runs_at_nearly_full_speed(
    tmp_path: Path,
) -> None:
    """At most 1.35 times the time of a day without a failure."""
    taken = []
    for rate in (0.0, 0.2):
        lab = VirtualTimeHarness(tmp_path / str(rate), accounts=10, datasets=(HOURLY,))
        lab.begin, lab.end = "2026-01-20", "2026-04-29"
        # One of 1,000 windows fails six times in a row in one run of sixteen; none twelve times.
        lab.limits = Limits(Pace(Rate(2, 1.0), 1, concurrency=4))
        lab.retry = Retry(max_attempts=12)
        serve_by(lab, Rules(fault_rate=rate, seed=5))
        with in_virtual_time(lab):
            began = lab.now()
            assert lab.run().exit_code is Exit.DONE
            taken.append(lab.now() - began)
    assert taken[1] <= 1.35 * taken[0]


def test_an_outage_over_midnight_is_one_too(
    lab: VirtualTimeHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows parked before it are owed again from then on, and failed ones are still excused."""
    lab.sandbox.fail(SICK, 45009)
    lab.retry = Retry(max_attempts=3)
    today = calendar.today(lab.now())
    lab.sleep_until(today, 24 * 60 - 5)
    began, well = lab.now(), lab.sandbox.answer

    def answers(request: Request) -> Reply:
        down = began + 3 < lab.now() and request.path.startswith("/datacube")
        return BUSY if down else well(request)

    monkeypatch.setattr(lab.sandbox, "answer", answers)
    assert lab.run().reasons() == {"deferred": Exit.AGAIN}


def test_no_answer_from_the_first_call_on_is_an_outage(lab: VirtualTimeHarness) -> None:
    """One window each, tried in vain within seconds: 75, where one account alone would be 3."""
    lab.begin = lab.end = "2026-03-01"
    lab.sandbox.fail(ANYONE, -1)
    assert lab.run().reasons() == {"deferred": Exit.AGAIN}
    lab.sandbox.heal(ANYONE)
    lab.sandbox.fail(SICK, -1)
    assert [list(lab.run().reasons()) for _ in range(2)] == [["failed"]] * 2


def window(number: int, dataset: str = HOURLY) -> Window:
    """Return a window of one day."""
    return Window(SICK, dataset, number, number)


def test_the_gate_closes_after_five_failures_of_a_run_that_got_no_answer() -> None:
    """An answer opens it, a refusal too."""
    budget = RetryBudget()
    for number in range(5):
        assert budget.not_before == 0
        budget.failed(window(1), number)
        budget.judge(HOURLY, 0.0, number)
    assert budget.not_before == 4 + PROBE_SECONDS
    budget.probe_sent(40)
    assert budget.not_before == 40 + PROBE_SECONDS
    budget.answered(HOURLY, is_refusal=True)
    assert budget.not_before == 0


def test_a_storm_costs_the_budget_and_then_a_probe_every_half_minute() -> None:
    """Each answer gives back a quarter, so one failure in five attempts costs nothing."""
    budget = RetryBudget()
    for number in range(1000):
        budget.failed(window(number), number / 100)
        budget.judge(HOURLY, number / 100, number / 100)
        for _ in range(4):
            budget.answered(HOURLY)
    assert (budget.balance, budget.not_before) == (BUDGET, 0)
    for number in range(100):
        assert budget.not_before == 0
        budget.failed(window(number, f"dataset {number}"), 10 + number / 100)
        budget.judge(f"dataset {number}", 10 + number / 100, 10 + number / 100)
    assert budget.not_before == pytest.approx(10.99 + PROBE_SECONDS)


def test_after_an_outage_the_attempts_in_flight_double() -> None:
    """A host that is hardly back is not flooded, and a run is at full speed after some answers."""
    budget = RetryBudget(balance=0.0)
    found = []
    for _ in range(7):
        found.append(budget.room)
        for _ in range(int(min(budget.room, 100))):
            budget.answered(HOURLY)
    assert found[:6] == [1, 2, 4, 8, 16, 32]
    assert budget.room == float("inf")


def test_a_dataset_that_fails_alone_waits_by_itself_and_takes_nothing_from_the_others() -> None:
    """It has a probe of its own, and the first answer ends its wait."""
    budget = RetryBudget()
    for number in range(ALONE_FAILURES):
        budget.failed(window(number), float(number))
        budget.judge(HOURLY, 0.0, float(number))
        assert (HOURLY in budget.waiting) is (number == ALONE_FAILURES - 1)
    assert budget.balance == BUDGET - ALONE_FAILURES
    budget.answered(DAILY)
    assert (budget.balance, budget.not_before) == (BUDGET, 0)
    assert budget.holds_back(HOURLY, 10.0) == ALONE_FAILURES - 1 + PROBE_SECONDS
    assert not budget.holds_back(DAILY, 10.0)
    assert not budget.holds_back(HOURLY, 60.0)
    assert budget.holds_back(HOURLY, 61.0) == 60 + PROBE_SECONDS
    budget.answered(HOURLY)
    assert not budget.holds_back(HOURLY, 61.0)


def test_what_a_waiting_dataset_has_cost_is_given_back_once() -> None:
    """Or the failures of all others would cost nothing as long as it waits."""
    budget = RetryBudget()
    for number in range(ALONE_FAILURES):
        budget.failed(window(number), float(number))
        budget.judge(HOURLY, 0.0, float(number))
    budget.answered(DAILY)
    for number in range(4):
        budget.failed(window(number, DAILY), 20.0)
        budget.judge(DAILY, 20.0, 20.0)
    budget.answered("user_summary")
    assert budget.balance == BUDGET - 4 + 0.25


def test_probes_of_a_waiting_dataset_cost_the_others_nothing() -> None:
    """Its wait is bounded by its own clock."""
    budget = RetryBudget()
    for number in range(ALONE_FAILURES + 5):
        budget.failed(window(number), float(number))
        budget.judge(HOURLY, 0.0, float(number))
    assert budget.balance == BUDGET - ALONE_FAILURES


@pytest.mark.parametrize("answered_before", [True, False])
def test_a_refusal_closes_no_gate(*, answered_before: bool) -> None:
    """It shows that WeChat is there, so five failures are counted from it on."""
    budget = RetryBudget()
    if answered_before:
        budget.answered(HOURLY)
    else:
        budget.failed(window(1), 0.0)
        budget.judge(HOURLY, 0.0, 0.0)
    budget.answered(HOURLY, is_refusal=True)
    for number in range(4 + answered_before):
        budget.failed(window(1), 1.0 + number)
        budget.judge(HOURLY, 1.0, 1.0 + number)
    assert budget.not_before == 0


def test_a_window_that_fails_alone_is_its_own_cause_again_after_a_storm() -> None:
    """Once the balance is full, what failed before says nothing of it."""
    budget = RetryBudget()
    for number in range(2):
        budget.failed(window(number), 1.0)
        budget.judge(HOURLY, 0.0, 1.0)
    assert budget.excuses(HOURLY, 1.0, is_heard=True)
    for _ in range(8):
        budget.answered(HOURLY)
    budget.failed(window(1), 2.0)
    assert not budget.excuses(HOURLY, 2.0, is_heard=True)


def test_a_run_that_is_cut_off_gives_up_after_half_a_minute() -> None:
    """So long as nothing of WeChat was heard, and each failure has its cause on this side."""
    budget = RetryBudget()
    assert not budget.gave_up(1000.0)
    budget.failed(window(1), 100.0, "connection refused", is_local=True)
    assert budget.cut_off_ends == 100 + LOCAL_GIVE_UP_SECONDS
    assert not budget.gave_up(99 + LOCAL_GIVE_UP_SECONDS)
    assert budget.gave_up(100 + LOCAL_GIVE_UP_SECONDS)
    assert budget.last_failure == "connection refused"


@pytest.mark.parametrize("change", ["answered", "refused", "other"])
def test_ten_minutes_are_waited_once_anything_else_was_seen(change: str) -> None:
    """An answer, a refusal, or a failure that may be WeChat's own."""
    budget = RetryBudget()
    for second in range(4):
        budget.failed(window(1), second, is_local=True)
    if change == "other":
        budget.failed(window(1), 4.0, is_local=False)
    else:
        budget.answered(HOURLY, is_refusal=change == "refused")
    for second in range(5, 12):
        budget.failed(window(1), second, is_local=True)
    assert not budget.gave_up(LOCAL_GIVE_UP_SECONDS + 100)
    assert budget.gave_up(GIVE_UP_SECONDS + 5)


def test_a_host_of_local_causes_is_probed_more_often() -> None:
    """There is less time for it."""
    budget = RetryBudget()
    for second in range(5):
        budget.failed(window(1), second, is_local=True)
        budget.judge(HOURLY, 0.0, second)
    assert budget.not_before == 4 + LOCAL_PROBE_SECONDS
    budget.never_heard = False
    budget.probe_sent(40)
    assert budget.not_before == 40 + PROBE_SECONDS


@pytest.mark.parametrize("max_delay", [30.0, 3600.0])
@pytest.mark.parametrize("accounts", [1, 3])
def test_a_run_that_is_cut_off_ends_though_its_accounts_wait(
    lab: VirtualTimeHarness, max_delay: float, accounts: int
) -> None:
    """The end comes from the budget and not from the next attempt, which may be hours away."""
    lab.accounts, lab.retry = accounts, Retry(initial_delay=max_delay, max_delay=max_delay)
    lab.net.refused = lambda _: True
    began = lab.now()
    done = lab.run()
    assert done.reasons() == {"deferred": Exit.AGAIN}
    assert {item.rule for item in done.abandoned} == {CUT_OFF}
    assert lab.now() - began <= LOCAL_GIVE_UP_SECONDS + 5


def test_a_refused_connection_after_an_answer_is_waited_out(lab: VirtualTimeHarness) -> None:
    """WeChat was there, so it may come back."""
    began = lab.now()
    lab.net.refused = lambda now: began + 2 <= now < began + 302
    assert lab.run().exit_code is Exit.DONE


# Isolation

EVERY_CODE = sorted({*error_codes.DATA_RULES, 99_999} - {404, 412, 40066, 47009})
ONE_OF_A_KIND = {
    (error_codes.rule_for(code).action, error_codes.rule_for(code).scope): code
    for code in EVERY_CODE
}
"""A code for all that do the same to a request and stop as much."""


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """Return the days of 29 accounts in an undisturbed run, and its duration."""
    found: dict[str, object] = {}
    lab = thirty(tmp_path_factory.mktemp("alone"))
    with in_virtual_time(lab), duckdb.connect() as duck:
        lab.run()
        found["seconds"] = last_of_others(lab)
        for dataset in BOTH:
            found[dataset] = others(duck, lab, dataset)
    return found


def thirty(root: Path) -> VirtualTimeHarness:
    """Thirty accounts that owe twelve days of two datasets."""
    lab = VirtualTimeHarness(root, accounts=30, begin="2026-03-20", end="2026-03-31")
    lab.limits, lab.retry = TEN, Retry()
    return lab


def others(duck: duckdb.DuckDBPyConnection, lab: VirtualTimeHarness, dataset: str) -> list[object]:
    """All rows but the sick one's."""
    return [row for row in published_rows(duck, lab.root, dataset) if row[0] != SICK]


def last_of_others(lab: VirtualTimeHarness) -> float:
    """Seconds from the first call to the last of an account that is well."""
    return max(call.at for call in lab.net.calls if call.appid != SICK) - lab.net.calls[0].at


@pytest.mark.parametrize("code", few_by_day(EVERY_CODE, ONE_OF_A_KIND.values()))
def test_every_code_of_one_account_costs_the_other_29_nothing(
    tmp_path: Path, code: int, alone: dict[str, object], duck: duckdb.DuckDBPyConnection
) -> None:
    """The same files, in the same time within a twentieth."""
    lab = thirty(tmp_path)
    lab.sandbox.fail(SICK, code)
    with in_virtual_time(lab):
        done = lab.run()
        assert {gone.appid for gone in done.abandoned} == {SICK}
        assert last_of_others(lab) <= 1.05 * float(str(alone["seconds"]))
        for dataset in BOTH:
            assert others(duck, lab, dataset) == alone[dataset]


@pytest.mark.parametrize(
    "fault", [Fault(delay=3600.0), faulty_wechat.CLOSED, *by_night([Fault(delay=29.0)])]
)
def test_one_slow_account_costs_the_other_29_nothing(
    tmp_path: Path, fault: Fault, alone: dict[str, object]
) -> None:
    """The way that the host fails each time: it answers late, never, or hangs up."""
    lab = thirty(tmp_path)
    lab.sandbox.fail(SICK, fault)
    with in_virtual_time(lab):
        lab.run()
        assert last_of_others(lab) <= 1.05 * float(str(alone["seconds"]))


@pytest.mark.long
def test_one_account_with_years_to_ask_costs_the_other_29_nothing(
    tmp_path: Path, alone: dict[str, object]
) -> None:
    """A flood of windows is paced like any other account."""
    lab = thirty(tmp_path)
    many = replace(lab.manifest().jobs[0], name="flood", begin=16_800, appids=(SICK,))
    manifest = lab.manifest
    lab.manifest = lambda: replace(manifest(), jobs=(*manifest().jobs, many))  # type: ignore[method-assign]
    with in_virtual_time(lab):
        lab.run(max_duration=30.0)
        assert last_of_others(lab) <= 1.05 * float(str(alone["seconds"]))

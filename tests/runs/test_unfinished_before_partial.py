"""Exit codes of runs with several reasons: unfinished (75) wins over refused or failed (3)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import product
from pathlib import Path

import anyio
import pytest

from harvester.core.calendar import parse_day
from harvester.core.config.settings import Api, Limits, Pace, Retry
from harvester.core.exit_codes import Exit, first_of
from harvester.core.model import Rate, Window
from harvester.runs.record.record import Record
from harvester.runs.runtime import RunContext
from harvester.sandbox import TOKEN, Rules
from harvester.sandbox.calls import Reply, Request
from harvester.verbs.check import TIME_TELLERS, check_accounts
from harvester.verbs.check_report import State
from tests.support.fake_time import VirtualTimeHarness, in_virtual_time
from tests.support.fault_server import certificate, fault_server, http, say
from tests.support.nights import few_by_day
from tests.support.run_harness import BOTH, DAILY, HOURLY, RunHarness, appid

SICK = appid(1)


def test_the_codes_win_in_the_order_of_the_contract() -> None:
    """A bug first, then usage, signals, 4, 76, 75 and 3."""
    assert [int(code) for code in Exit] == [1, 2, 130, 143, 129, 4, 76, 75, 3, 0]
    assert first_of([Exit.INCOMPLETE, Exit.AGAIN]) is Exit.AGAIN
    assert first_of([]) is Exit.DONE


def test_a_revoked_secret_among_many_does_not_end_an_unfinished_backfill(tmp_path: Path) -> None:
    """76 with both reasons while the quota leaves days over, then 3 for what no run obtains."""
    lab = RunHarness(tmp_path, accounts=12, datasets=(HOURLY,), rules=Rules(daily_quota=20))
    lab.sandbox.fail(SICK, 40125, dataset=TOKEN)
    ends: list[Record] = []
    while not ends or ends[-1].exit_code is Exit.ATTENTION:
        ends.append(lab.run())
        lab.advance(86_400)
    assert [done.exit_code for done in ends] == [Exit.ATTENTION, Exit.INCOMPLETE]
    assert [set(done.reasons()) for done in ends] == [{"refused", "quota"}, {"refused"}]
    assert ends[-1].missing == 31


def test_no_authorised_account_is_76_while_something_else_is_open(tmp_path: Path) -> None:
    """Days that WeChat still computes come by themselves, so 4 would be wrong."""
    lab = RunHarness(tmp_path, begin="2026-03-01", end="2026-03-02")
    for name in lab.appids:
        lab.sandbox.fail(name, 40125, dataset=TOKEN)
    done = lab.run()
    assert (done.exit_code, "unauthorised" in done.reasons()) == (Exit.UNAUTHORISED, True)
    day = parse_day("2026-03-01")
    delayed = replace(done, delayed={Window(SICK, DAILY, day, day)})
    assert delayed.exit_code is Exit.ATTENTION
    assert set(delayed.reasons()) == {"refused", "not_ready"}


def test_days_that_are_missing_for_no_known_reason_are_open(tmp_path: Path) -> None:
    """A refused account does not hide that the next run asks for days of another one."""
    lab = RunHarness(tmp_path, begin="2026-03-01", end="2026-03-02", datasets=(DAILY,))
    lab.sandbox.fail(SICK, 48001)
    done = lab.run()
    assert done.reasons() == {"refused": Exit.INCOMPLETE}
    [refused] = done.accounts
    for reasons in ((), ("quarantined",)):
        other = replace(refused, appid=appid(2), reasons=reasons)
        both = replace(done, accounts=(refused, other))
        assert both.reasons() == {"refused": Exit.INCOMPLETE, "incomplete": Exit.AGAIN}


# Storms

TEN = Limits(Pace(Rate(10, 1.0), 1, concurrency=4))


def stormy(lab: VirtualTimeHarness, after: float, seconds: float) -> Callable[[Request], Reply]:
    """Answer 503 to every data call from ``after`` the first of them on, for some seconds."""
    well, first = lab.sandbox.answer, []

    def answers(request: Request) -> Reply:
        if not request.path.startswith("/datacube"):
            return well(request)
        first.append(lab.now())
        down = first[0] + after <= lab.now() < first[0] + after + seconds
        return Reply(b"<html>", 503, "text/html") if down else well(request)

    return answers


@pytest.mark.parametrize(
    ("seconds", "accounts", "begin"),
    few_by_day(
        product([30, 45, 60], [1, 3, 12], ["2026-04-29", "2026-04-25"]),
        [(30, 12, "2026-04-29"), (45, 3, "2026-04-25"), (60, 1, "2026-04-25")],
    ),
)
def test_a_storm_of_503_is_never_taken_for_failed_windows(
    tmp_path: Path, seconds: int, accounts: int, begin: str
) -> None:
    """Half a minute or a minute, from the first call on or in the middle."""
    ends: list[Record] = []
    for number, after in enumerate((0.0, 0.05, 0.35)):
        lab = VirtualTimeHarness(
            tmp_path / str(number), begin=begin, end="2026-04-29", accounts=accounts, seed=number
        )
        lab.limits, lab.retry = TEN, Retry()
        with in_virtual_time(lab), pytest.MonkeyPatch.context() as patch:
            patch.setattr(lab.sandbox, "answer", stormy(lab, after, seconds))
            ends.append(lab.run())
            lab.advance(60)
            assert lab.run().exit_code is Exit.DONE
    assert {done.exit_code for done in ends} <= {Exit.AGAIN, Exit.DONE}
    assert [done.exit_code for done in ends if done.abandoned] == [
        Exit.AGAIN for done in ends if done.abandoned
    ]


@pytest.mark.parametrize("accounts", [1, 12])
def test_windows_that_ran_out_of_attempts_in_a_storm_are_asked_after_it(
    tmp_path: Path, accounts: int
) -> None:
    """The storm was the cause, so they go back into the queue of the same run."""
    lab = VirtualTimeHarness(tmp_path, begin="2026-04-20", end="2026-04-29", accounts=accounts)
    lab.limits, lab.retry = TEN, Retry(max_attempts=3)
    with in_virtual_time(lab), pytest.MonkeyPatch.context() as patch:
        patch.setattr(lab.sandbox, "answer", stormy(lab, 0.05, 30))
        done = lab.run()
    assert (done.exit_code, done.abandoned) == (Exit.DONE, [])


def test_one_window_that_always_fails_is_no_storm(tmp_path: Path) -> None:
    """The other accounts are answered, so it is given up after its attempts: 3."""
    lab = VirtualTimeHarness(tmp_path, begin="2026-04-20", end="2026-04-29", accounts=3)
    lab.limits, lab.retry = TEN, Retry()
    lab.sandbox.fail(SICK, -1, dataset=DAILY)
    with in_virtual_time(lab):
        assert lab.run().reasons() == {"failed": Exit.INCOMPLETE}


@pytest.mark.parametrize(
    ("refusal", "reasons"),
    [
        (Reply(b"<html>", 503, "text/html"), {"deferred": Exit.AGAIN}),
        (Reply(b'{"errcode": -1, "errmsg": "system error"}'), {"failed": Exit.INCOMPLETE}),
    ],
)
def test_the_last_window_of_a_run_waits_if_wechat_says_nothing(
    tmp_path: Path, refusal: Reply, reasons: dict[str, Exit]
) -> None:
    """Without any response it may be an outage; a refusal of WeChat's own is none."""
    lab = VirtualTimeHarness(tmp_path, begin="2026-04-29", end="2026-04-29", accounts=1)
    lab.limits, lab.retry, lab.datasets = TEN, Retry(), (DAILY,)
    with in_virtual_time(lab), pytest.MonkeyPatch.context() as patch:
        well, began = lab.sandbox.answer, lab.now()
        patch.setattr(
            lab.sandbox,
            "answer",
            lambda request: refusal if request.path.startswith("/datacube") else well(request),
        )
        assert lab.run().reasons() == reasons
        assert lab.now() - began < (60 if "failed" in reasons else 660)
        assert len(lab.net.calls) <= 30


# Certificates


@asynccontextmanager
async def untrusted(folder: Path) -> AsyncIterator[Api]:
    """Serve a WeChat whose certificate no authority has signed."""
    context, _ = certificate(folder)
    async with fault_server(say(http(b"{}")), tls=context) as server:
        yield Api(base_url=server.url, timeout=5.0)


def behind_a_bad_certificate(lab: RunHarness) -> RunContext:
    """Return the context of an operation whose WeChat has a certificate that is not accepted."""
    return replace(lab.world(), open_api=lambda: untrusted(lab.root.parent))


def test_a_certificate_that_is_not_accepted_is_75_in_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says nothing about any account, and the next run obtains everything."""
    lab = RunHarness(tmp_path / "out", begin="2026-03-01", end="2026-03-02")
    context = behind_a_bad_certificate(lab)
    monkeypatch.setattr(lab, "world", lambda: context)
    done = lab.run()
    assert done.reasons() == {"deferred": Exit.AGAIN}
    assert {gone.rule.meaning for gone in done.abandoned} == {
        "the server's certificate was not accepted"
    }
    monkeypatch.undo()
    assert lab.run().exit_code is Exit.DONE


def test_a_certificate_that_is_not_accepted_is_75_in_a_check(tmp_path: Path) -> None:
    """A rejected certificate stays rejected: an account costs one attempt, and the time another.

    Three accounts at most are asked for the time, because the first may have no token.
    """
    lab = RunHarness(tmp_path / "out")
    found = anyio.run(check_accounts, lab.manifest(), behind_a_bad_certificate(lab))
    assert found.exit_code is Exit.AGAIN
    assert [account.state for account in found.accounts] == [State.NO_ANSWER] * 3
    assert found.calls == 3 * 2 + TIME_TELLERS
    assert not any(account.calls for account in found.accounts)


def test_an_account_without_an_answer_is_75_in_a_check_beside_refused_ones(tmp_path: Path) -> None:
    """Nothing is known of it yet, so the check is worth repeating."""
    lab = RunHarness(tmp_path, datasets=BOTH)
    lab.sandbox.fail(appid(2), 40125, dataset=TOKEN)
    assert anyio.run(check_accounts, lab.manifest(), lab.world()).exit_code is Exit.INCOMPLETE
    lab.sandbox.fail(SICK, -1)
    assert anyio.run(check_accounts, lab.manifest(), lab.world()).exit_code is Exit.AGAIN

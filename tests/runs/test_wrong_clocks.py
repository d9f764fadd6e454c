"""Runs on machines whose clock is wrong, in virtual time and over HTTP.

The emulator goes by the right clock, and each answer has its time. What a run keeps and decides by
must be as on a machine with the right clock.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import anyio
import duckdb
import pytest

from harvester import open as open_output
from harvester.catalogue import CATALOGUE
from harvester.cli import invoke
from harvester.core import calendar, readiness
from harvester.core.calendar import instant, parse_day
from harvester.core.config.credentials import AppSecret, SecretReader
from harvester.core.config.settings import Limits, Pace
from harvester.core.errors import UsageError
from harvester.core.exit_codes import Exit
from harvester.core.model import Rate
from harvester.core.secret import Secret
from harvester.runs.harvest import execute
from harvester.runs.record.notes import notes_of
from harvester.runs.record.record import Record
from harvester.runs.run_log import RunLog
from harvester.runs.runtime import RunContext, RunOptions
from harvester.runs.stream import Stream
from harvester.sandbox import Rules
from harvester.sandbox.call_faults import TOKEN
from harvester.sandbox.calls import date_text
from harvester.storage.state import quota_ledger
from harvester.verbs.check import check_accounts, save
from harvester.verbs.check_report import State
from tests.support.counting_wechat import StrictRules
from tests.support.fake_time import VirtualTimeHarness, in_virtual_time
from tests.support.faulty_wechat import Fault, FaultyWeChat
from tests.support.ledgers import reported_quotas
from tests.support.run_harness import (
    DAILY,
    HOURLY,
    RunHarness,
    appid,
    days_between,
    expected,
    published_rows,
    run_state,
)
from tests.support.sandboxes import serve_in_thread

TODAY = parse_day("2026-05-20")
DAY = 86_400.0
WRONG = [5 * DAY, -5 * DAY, DAY, -DAY, 20_000.0, -700.0]
"""Seconds by which a clock is ahead, all of them more than ten minutes."""


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[VirtualTimeHarness]:
    """Two accounts that want each day from the 1st of May to yesterday."""
    lab = VirtualTimeHarness(tmp_path, accounts=2, begin="2026-05-01", end=None)
    lab.limits = Limits(Pace(Rate(10, 1.0), 1, concurrency=4))
    with in_virtual_time(lab):
        yield lab


def rows_up_to(lab: RunHarness, dataset: str, last: str) -> list[tuple[object, ...]]:
    """Return the rows that an output must have."""
    return expected(dataset, lab.appids, days_between(lab.begin, last))


def last_asked(skew: float) -> str:
    """Return the newest day that is ready by the earlier of the machine's clock and WeChat's."""
    now = instant(TODAY, 12 * 60) + min(0.0, skew)
    return calendar.day_text(readiness.newest_ready(CATALOGUE[DAILY], now))


def record_of(lab: RunHarness) -> dict[str, object]:
    """Return the only run record."""
    [path] = (lab.root / "_harvester/runs").glob("*.json")
    record: dict[str, object] = json.loads(path.read_text())
    assert path.stem == record["run_id"]
    return record


@pytest.mark.parametrize("skew", WRONG)
def test_every_moment_is_by_the_corrected_clock(
    lab: VirtualTimeHarness, skew: float, duck: duckdb.DuckDBPyConnection
) -> None:
    """Run id, record, ledger, `_fetched_at` and the note in the summary; what is asked is not."""
    lab.skew = skew
    done = lab.run()
    assert [*done.reasons()] == ["clock"]
    assert (done.today, done.run_id[:8]) == (TODAY, "20260520")
    assert done.clock_offset == pytest.approx(-skew, abs=1.5)
    assert abs(done.started_at - instant(TODAY, 12 * 60)) < 5
    assert 0 <= done.seconds < 60
    [note] = [note for note in notes_of(done, {}) if "clock" in note]
    assert note.startswith("this machine's clock is ")
    assert ("ahead of WeChat's" in note) is (skew > 0)
    record = record_of(lab)
    assert record["clock_offset"] == pytest.approx(-skew, abs=1.5)
    assert str(record["ended_at"]).startswith("2026-05-20T04:0")
    for dataset in lab.datasets:
        assert published_rows(duck, lab.root, dataset) == rows_up_to(lab, dataset, last_asked(skew))
        glob = lab.root / dataset / "**/*.parquet"
        stamps = duck.sql(
            f"select min(epoch(_fetched_at)), max(epoch(_fetched_at)), min(_run_id), max(_run_id)"
            f" from read_parquet('{glob}')"
        ).fetchall()[0]
        assert all(abs(stamp - instant(TODAY, 12 * 60)) < 60 for stamp in stamps[:2])
        assert set(stamps[2:]) == {done.run_id}
    names = [path.name for path in (lab.root / "_harvester/quota").iterdir()]
    assert names == ["0000-of-0001.json"]
    ledger = quota_ledger.read(lab.tree, TODAY, 0)
    assert ledger is not None
    assert [*ledger.days] == ["2026-05-20"]


@pytest.mark.parametrize("skew", WRONG)
def test_the_first_token_comes_before_the_plan(lab: VirtualTimeHarness, skew: float) -> None:
    """So no window is asked for twice, and none that WeChat could not answer."""
    lab.skew = skew
    done = lab.run()
    assert set(lab.sandbox.windows.values()) == {1}
    assert not lab.sandbox.counters.errcodes
    assert lab.calls() == done.windows


@pytest.mark.parametrize("skew", WRONG)
def test_the_same_is_true_over_http(
    tmp_path: Path, skew: float, duck: duckdb.DuckDBPyConnection
) -> None:
    """A header of the emulator's server, through aiohttp."""
    lab = RunHarness(tmp_path, begin="2026-05-01", end=None, skew=skew)
    done = lab.run()
    assert (done.exit_code, done.today) == (Exit.ATTENTION, TODAY)
    assert done.requests == done.windows
    assert published_rows(duck, lab.root, DAILY) == rows_up_to(lab, DAILY, last_asked(skew))
    assert done.clock_offset == pytest.approx(-skew, abs=2.0)


@pytest.mark.parametrize("skew", [121.0 + 5, -500.0])
def test_a_clock_that_is_minutes_off_is_told_once_and_left_alone(
    lab: VirtualTimeHarness, skew: float, caplog: pytest.LogCaptureFixture
) -> None:
    """The days are the same, and a moment is not worth more."""
    lab.skew = skew
    with caplog.at_level(logging.WARNING):
        done = lab.run()
    assert (done.exit_code, done.clock_offset) == (Exit.DONE, 0.0)
    assert done.started_at == pytest.approx(instant(TODAY, 12 * 60) + skew)
    [warning] = [text for text in caplog.messages if "clock" in text]
    assert "WeChat's" in warning
    assert not [note for note in notes_of(done, {}) if "clock" in note]


@pytest.mark.parametrize("skew", [0.0, 100.0, -100.0])
def test_a_clock_that_is_right_is_not_mentioned(
    lab: VirtualTimeHarness, skew: float, caplog: pytest.LogCaptureFixture
) -> None:
    """Two minutes are no news."""
    lab.skew = skew
    with caplog.at_level(logging.WARNING):
        lab.run()
    assert not [text for text in caplog.messages if "clock" in text]


@pytest.mark.parametrize("skew", [5 * DAY, -5 * DAY])
def test_a_clock_that_is_off_is_told_once(
    lab: VirtualTimeHarness, skew: float, caplog: pytest.LogCaptureFixture
) -> None:
    """However many answers show it."""
    lab.skew = skew
    with caplog.at_level(logging.WARNING):
        lab.run()
    [warning] = [text for text in caplog.messages if "clock" in text]
    assert "this run goes by WeChat's" in warning


def test_a_server_without_a_date_leaves_the_clock_alone(lab: VirtualTimeHarness) -> None:
    """There is nothing to check it against."""
    lab.net.sends_date, lab.skew = False, -5 * DAY
    done = lab.run()
    assert (done.exit_code, done.today, done.clock_offset) == (Exit.DONE, TODAY - 5, 0.0)


# Nothing to do.


@pytest.mark.parametrize("days", [1, 5])
def test_a_run_by_a_slow_clock_is_not_complete(
    lab: VirtualTimeHarness, days: int, duck: duckdb.DuckDBPyConnection
) -> None:
    """Everything up to the day of its clock is there. The days since then wait for a right one."""
    lab.run()
    lab.advance(days * DAY)
    lab.skew, lab.boot = -days * DAY, "another machine"
    done = lab.run()
    assert ([*done.reasons()], done.today) == (["clock"], TODAY + days)
    assert published_rows(duck, lab.root, HOURLY) == rows_up_to(lab, HOURLY, "2026-05-19")
    lab.skew = 0.0
    assert lab.run().exit_code is Exit.DONE
    last = calendar.day_text(TODAY + days - 1)
    assert published_rows(duck, lab.root, HOURLY) == rows_up_to(lab, HOURLY, last)


@pytest.mark.parametrize("ahead", [40 * DAY, 400 * DAY])
def test_a_date_of_the_future_asks_for_no_day_to_come(
    lab: VirtualTimeHarness, ahead: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy's wrong `Date`: each day of it would be a refusal of WeChat's, 61501."""
    real = date_text
    monkeypatch.setattr("tests.support.fake_time.date_text", lambda now: real(now + ahead))
    done = lab.run()
    assert ([*done.reasons()], done.missing) == (["clock"], 0)
    assert lab.sandbox.counters.errcodes == {}
    assert lab.calls() == done.windows
    monkeypatch.setattr("tests.support.fake_time.date_text", real)
    assert lab.run().exit_code is Exit.DONE


def test_a_clock_set_back_after_a_run_is_noticed_by_elapsed_time(lab: VirtualTimeHarness) -> None:
    """The same machine: the ledger tells another time than the clock, so WeChat is asked."""
    lab.run()
    lab.advance(5 * DAY)
    lab.skew = -5 * DAY
    assert lab.run().today == TODAY + 5


def test_a_machine_that_has_asked_since_its_boot_asks_nothing_again(
    lab: VirtualTimeHarness,
) -> None:
    """The ledger vouches for its clock."""
    lab.run()
    lab.sandbox.reset()
    lab.advance(3600.0)
    assert lab.run().exit_code is Exit.DONE
    assert lab.sandbox.counters.requests == 0


def test_another_machine_asks_for_one_token(lab: VirtualTimeHarness) -> None:
    """One call, and no data call."""
    lab.run()
    lab.sandbox.reset()
    lab.boot = "another machine"
    assert lab.run().exit_code is Exit.DONE
    assert (lab.sandbox.counters.requests, lab.calls()) == (1, 0)
    assert lab.sandbox.counters.token_calls == {appid(1): 1}


def test_without_an_answer_the_clock_of_the_machine_counts(
    lab: VirtualTimeHarness, caplog: pytest.LogCaptureFixture
) -> None:
    """A run that has nothing to do ends well while WeChat is out of reach, and says so."""
    lab.run()
    lab.boot, lab.net.down = "another machine", lambda _: True
    assert lab.run().exit_code is Exit.DONE
    [warning] = [text for text in caplog.messages if "clock" in text]
    assert "unchecked" in warning


# Tokens that come from elsewhere.


def with_given_tokens(lab: VirtualTimeHarness, patch: pytest.MonkeyPatch) -> None:
    """Let the accounts have their tokens from a file, so that no call is made for them."""

    def reader(name: str) -> SecretReader:
        return SecretReader(lambda: Secret(lab.sandbox.token_of(name)))

    world = lab.world

    def altered() -> RunContext:
        made = world()
        return RunContext(made.clock, made.open_api, reader)

    patch.setattr(lab, "world", altered)


@pytest.mark.parametrize("skew", WRONG)
def test_answers_that_show_the_clock_are_asked_for_again(
    lab: VirtualTimeHarness,
    skew: float,
    monkeypatch: pytest.MonkeyPatch,
    duck: duckdb.DuckDBPyConnection,
) -> None:
    """Without a token call the first data calls bring the time; none of their answers is kept."""
    with_given_tokens(lab, monkeypatch)
    lab.skew = skew
    done = lab.run()
    assert ([*done.reasons()], done.today) == (["clock"], TODAY)
    # Those of before the clock was right were made again.
    assert 1 <= done.requests - done.windows <= 8
    assert "all times of this run are WeChat's" in next(notes_of(done, {}))
    for dataset in lab.datasets:
        assert published_rows(duck, lab.root, dataset) == rows_up_to(lab, dataset, last_asked(skew))
    assert record_of(lab)["run_id"] == done.run_id


@pytest.mark.parametrize("skew", [*WRONG, 3 * DAY])
def test_calls_made_before_the_clock_was_right_are_calls_of_the_day(
    lab: VirtualTimeHarness, skew: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They stay entered for another day, and the reserve has room for them."""
    with_given_tokens(lab, monkeypatch)
    lab.limits = Limits(lab.limits.per_token, daily_quota=10)
    lab.rules = StrictRules(daily_quota=10, window_limit=(10, 1.0))
    lab.__post_init__()
    lab.skew = skew
    for _ in range(3):
        lab.run()
    assert lab.sandbox.counters.errcodes[45009] == lab.sandbox.counters.errcodes[45011] == 0
    assert max(lab.calls_of_day(TODAY).values()) <= 10


def test_with_a_given_token_a_quota_is_asked_for(
    lab: VirtualTimeHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call that spends nothing, from a machine that has not asked since its boot."""
    with_given_tokens(lab, monkeypatch)
    lab.run()
    lab.advance(2 * DAY)
    lab.skew, lab.boot = -2 * DAY, "another machine"
    lab.sandbox.reset()
    assert lab.run().today == TODAY + 2
    assert lab.sandbox.counters.paths["/cgi-bin/openapi/quota/get"] == 1


def test_a_token_that_ends_another_is_not_asked_for_in_vain(
    lab: VirtualTimeHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `legacy_token` a run that has nothing to do asks nothing."""
    lab.run()
    world = lab.world

    def altered() -> RunContext:
        made = world()
        legacy = AppSecret(Secret("lab"), legacy=True)
        return RunContext(made.clock, made.open_api, lambda _: legacy)

    monkeypatch.setattr(lab, "world", altered)
    lab.boot = "another machine"
    lab.sandbox.reset()
    assert lab.run().exit_code is Exit.DONE
    assert lab.sandbox.counters.requests == 0


# The command.

MANIFEST = """
api: {{base_url: "{address}"}}
accounts: [{{appid: wx0000000000000001, credential: {{secret: "${{SECRET}}"}}}}]
jobs: [{{datasets: interface_summary, begin_date: -3d}}]
limits: {{per_token: {{rate: 1000/s}}}}
output: output
"""


@pytest.mark.parametrize("skew", [5 * DAY, -5 * DAY])
def test_dates_relative_to_today_are_of_the_corrected_day(
    tmp_path: Path,
    skew: float,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The manifest and the options are read again, and count from WeChat's today."""
    monkeypatch.setenv("SECRET", "lab-secret")

    def theirs() -> float:
        return time.time() - skew

    with serve_in_thread(FaultyWeChat(Rules(), theirs)) as address:
        (tmp_path / "jobs.yaml").write_text(MANIFEST.format(address=address))
        arguments = ["run", str(tmp_path / "jobs.yaml"), "--summary", str(tmp_path / "record.json")]
        monkeypatch.chdir(tmp_path)
        assert invoke([*arguments, "--begin-date", "-2d"]) in (Exit.DONE, Exit.ATTENTION)
        today = calendar.today(theirs())
    record = json.loads((tmp_path / "record.json").read_text())
    assert record["today"] == calendar.day_text(today)
    [dataset] = record["datasets"]
    # Yesterday is ready at ten in the morning. By the earlier clock all of them are days to come.
    assert dataset["wanted"] in ((1, 2) if skew > 0 else (0,))
    [line] = [line for line in capsys.readouterr().err.splitlines() if "goes by WeChat's" in line]
    # To the second, and a slow machine takes some.
    assert re.search(r"this machine's clock is (5 days, 0:00:|4 days, 23:59:)", line)
    # The table has the days of the whole manifest, which the options did not narrow.
    rows = open_output(tmp_path / "output").coverage().to_pylist()
    wanted = {calendar.day_of(row[edge]) for row in rows for edge in ("begin_date", "end_date")}
    assert all(row["wanted"] for row in rows)
    if skew > 0:
        assert (min(wanted), max(wanted)) in {(today - 3, today - 1), (today - 3, today - 2)}


def test_the_platforms_list_brings_the_time_as_well(lab: VirtualTimeHarness) -> None:
    """It is asked for before the run has a name, so no record of another name is ever written."""
    lab.skew = 5 * DAY
    context = lab.world()
    context.clock.hear(date_text(lab.now()))
    log = RunLog(Stream(Record.begun(lab.manifest().file, context.clock.started_at), context.clock))
    execute(run_state(lab.manifest(), lab.tree, RunOptions(), context, log))
    done = log.stream.own
    assert (done.today, done.requests) == (TODAY, done.windows)
    assert record_of(lab)["run_id"] == done.run_id


def test_a_first_token_that_does_not_come_outlasts_no_budget(lab: VirtualTimeHarness) -> None:
    """The plan begins with what is known, and the deadline ends the run."""
    lab.timeout = 600.0
    lab.sandbox.fail(appid(1), Fault(delay=500.0), dataset=TOKEN)
    begun = lab.now()
    assert lab.run(max_duration=20.0).exit_code is Exit.AGAIN
    assert lab.now() - begun < 700


# What a wrong clock has left behind.


@pytest.mark.parametrize("days", [1, 5])
def test_rows_are_not_dropped_for_an_empty_answer_of_a_later_clock(
    tmp_path: Path, days: int, duck: duckdb.DuckDBPyConnection
) -> None:
    """A clock ahead asked too early and kept nothing; the right clock gets and keeps the rows."""
    lab = VirtualTimeHarness(tmp_path, accounts=2, begin="2026-05-01", end=None)
    lab.limits, lab.net.sends_date = Limits(Pace(Rate(10, 1.0), 1, concurrency=4)), False
    with in_virtual_time(lab):
        lab.sleep_until(TODAY + 1, 7 * 60)
        lab.skew = days * DAY
        lab.run()
        lab.skew, lab.net.sends_date = 0.0, True
        lab.sleep_until(TODAY + 1, 12 * 60)
        assert lab.run().exit_code is Exit.DONE
        if days == 1:
            assert published_rows(duck, lab.root, HOURLY) == rows_up_to(lab, HOURLY, "2026-05-20")


def test_one_wrong_date_before_many_right_ones_does_no_harm(
    lab: VirtualTimeHarness, monkeypatch: pytest.MonkeyPatch, duck: duckdb.DuckDBPyConnection
) -> None:
    """The run goes by it until it is outvoted, and then by the machine's clock again."""
    told, real = [], date_text

    def dates(now: float) -> str:
        told.append(now)
        return real(now + 5 * DAY if len(told) == 1 else now)

    monkeypatch.setattr("tests.support.fake_time.date_text", dates)
    done = lab.run()
    assert (done.today, done.exit_code) == (TODAY, Exit.DONE)
    assert abs(done.clock_offset) < 2
    assert not [*notes_of(done, {})]
    assert published_rows(duck, lab.root, HOURLY) == rows_up_to(lab, HOURLY, "2026-05-19")


def test_a_run_that_is_refused_by_the_plan_makes_no_call(lab: VirtualTimeHarness) -> None:
    """`max_requests` is checked before the clock is."""
    lab.limits = Limits(lab.limits.per_token, max_requests=3)
    with pytest.raises(Exception, match="max_requests is 3"):
        lab.run()
    assert lab.sandbox.counters.requests == 0


# Checks.


@pytest.mark.parametrize("skew", WRONG)
@pytest.mark.parametrize("given", [False, True])
def test_a_check_keeps_what_it_learns_by_the_corrected_clock(
    lab: VirtualTimeHarness, skew: float, monkeypatch: pytest.MonkeyPatch, *, given: bool
) -> None:
    """The calls of the day, also those made before the clock was right, and the reported quotas."""
    if given:
        with_given_tokens(lab, monkeypatch)
    lab.skew = skew
    context = lab.world()
    found = anyio.run(check_accounts, lab.manifest(), context)
    save(found, lab.manifest(), lab.tree, context.clock)
    ledger = quota_ledger.read(lab.tree, TODAY, 0)
    assert ledger is not None
    calls = lab.calls_of_day(TODAY)
    for name in lab.appids:
        made = {dataset: calls[name, CATALOGUE[dataset].path] for dataset in lab.datasets}
        assert sum(made.values()) >= 1
        assert {dataset: ledger.spent(dataset, name) for dataset in lab.datasets} == made
    told = reported_quotas(lab.tree)
    assert told
    assert all(abs(quota.asked_at - instant(TODAY, 12 * 60)) < 60 for quota in told.values())


def test_a_check_hears_the_time_though_its_first_account_has_no_token(
    lab: VirtualTimeHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One bad account does not leave the others to a clock that is a year ahead."""
    lab.rules, lab.skew, lab.accounts = Rules(), 365 * DAY, 2
    well = lab.appids[1]

    def token_of(name: str) -> Secret:
        if name != well:
            raise UsageError("its file is missing", "")
        return Secret(lab.sandbox.token_of(name))

    made = lab.world()
    given = {name: SecretReader(partial(token_of, name)) for name in lab.appids}
    context = RunContext(made.clock, made.open_api, given.__getitem__)
    found = anyio.run(check_accounts, lab.manifest(), context)
    assert [account.state for account in found.accounts] == [State.REFUSED, State.WORKS]
    assert calendar.today(context.clock()) == TODAY


def test_a_probe_asks_for_a_day_that_exists(lab: VirtualTimeHarness) -> None:
    """By a clock that is a year ahead all probes would be refused."""
    lab.rules = Rules()
    lab.skew = 365 * DAY
    found = anyio.run(check_accounts, lab.manifest(), lab.world())
    assert found.exit_code is Exit.DONE

"""The daily quota over real HTTP: asked for, kept, and what WeChat's word changes in a plan."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from harvester.cli import invoke
from harvester.core import calendar
from harvester.core.exit_codes import Exit
from harvester.sandbox import Rules
from tests.support.faulty_wechat import FaultyWeChat
from tests.support.ledgers import known_quotas
from tests.support.run_harness import FAST, HOURLY, RunHarness, appid
from tests.support.sandboxes import serve_in_thread

ONE = appid(1)


def test_a_run_asks_and_leaves_the_reserve(tmp_path: Path) -> None:
    """Three accounts of 320 windows and 300 calls a day: 270 of each at most, and no refusal.

    A call that is in flight while the quota is asked for may count twice.
    """
    lab = RunHarness(tmp_path, datasets=(HOURLY,), begin="2025-05-16", rules=Rules(daily_quota=300))
    done = lab.run()
    assert (done.exit_code, list(done.reasons())) == (Exit.AGAIN, ["quota"])
    calls = lab.sandbox.counters.calls
    assert calls.keys() == {*lab.appids}
    assert all(270 - FAST.per_token.concurrency < each <= 270 for each in calls.values())
    assert 3 <= done.quota_questions <= 12
    assert not lab.sandbox.counters.errcodes
    known = known_quotas(lab.tree)
    assert {each.reported.daily_limit for each in known.values() if each.reported} == {300}


def test_five_calls_a_day_and_55_missing_windows_take_eleven_days(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`plan` after the run that was refused counts with what that day allowed."""
    world = FaultyWeChat(Rules(daily_quota=5), time.time)
    yesterday = calendar.today(world.now()) - 10
    manifest = tmp_path / "jobs.yaml"
    with serve_in_thread(world) as address:
        monkeypatch.setenv("WECHAT", address)
        monkeypatch.setenv("SECRET", "s")
        manifest.write_text(
            'api: {base_url: "${WECHAT}"}\noutput: out\n'
            f'accounts: [{{appid: {ONE}, credential: {{secret: "${{SECRET}}"}}}}]\n'
            f"jobs: [{{datasets: {HOURLY}, begin_date: {calendar.day_text(yesterday - 59)}, "
            f"end_date: {calendar.day_text(yesterday)}}}]\n"
        )
        assert invoke(["run", str(manifest)]) == Exit.AGAIN
    capsys.readouterr()
    assert invoke(["plan", str(manifest), "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["requests"], found["calendar_days"], found["bound_by"]) == (55, 11, "quota")
    last = calendar.today(world.now()) + 11
    assert found["complete_on"] == calendar.day_text(last)
    assert found["price"]["requests_today"] == 0
    assert invoke(["plan", str(manifest)]) == 0
    said = capsys.readouterr().out
    assert "11 days under the daily quota (assumed), complete on " in said


def test_a_kept_limit_needs_no_question(tmp_path: Path) -> None:
    """A new manifest over the same output knows what an earlier run was told."""
    lab = RunHarness(tmp_path, accounts=1, datasets=(HOURLY,), begin="2025-08-21")
    lab.rules = Rules(daily_quota=1_000)
    lab.__post_init__()
    first = lab.run()
    assert (first.exit_code, first.quota_questions) == (Exit.DONE, 1)
    lab.advance(86_400)
    lab.limits = replace(lab.limits, max_requests=10**6)
    lab.begin = "2025-02-01"
    second = lab.run()
    assert (second.exit_code, second.requests, second.quota_questions) == (Exit.DONE, 201, 0)

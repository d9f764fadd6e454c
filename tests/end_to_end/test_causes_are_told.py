"""Each cause is told when it appears, on one line, in every mode of progress; debug tells all."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harvester.cli import invoke
from harvester.core.calendar import EMULATED, instant, parse_day
from harvester.core.exit_codes import Exit
from harvester.sandbox import TOKEN, Rules
from tests.cli.test_json_lines import read_all
from tests.end_to_end.test_causes_on_this_side import FACTOR, place, write_manifest
from tests.end_to_end.test_kills import ENVIRONMENT
from tests.support.cli import CommandLine, JobScope, command_line
from tests.support.event_schema import events_in
from tests.support.fast_time import fast_time
from tests.support.faulty_wechat import FaultyWeChat
from tests.support.nights import by_night
from tests.support.run_harness import DAILY, HOURLY, appid

SECRET = "s" * 32

MACHINE_CLOCK = time.time
"""Taken before a test replaces the clock of the client."""

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\r")


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[CommandLine]:
    """Six accounts with nine days of two datasets; the emulator goes by this machine's clock."""
    world = FaultyWeChat(Rules(), MACHINE_CLOCK)
    scope = JobScope((DAILY, HOURLY), "2026-03-01", "2026-03-09", accounts=6)
    with pytest.MonkeyPatch.context() as patch, command_line(tmp_path, scope, world, capsys) as at:
        patch.setenv("COMMANDS_SECRET", SECRET)
        text = at.manifest.read_text()
        named = text.replace(f"{{appid: {appid(2)}}}", f"{{appid: {appid(2)}, name: Acme 微}}")
        at.manifest.write_text(named)
        yield at


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        ("closed", "log"),
        ("page", "none"),
        *by_night([("closed", "none"), ("page", "log"), ("certificate", "log")]),
    ],
)
def test_a_cause_is_one_line_of_a_log(
    mode: str,
    kind: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Told when it appears, before the summary, and once."""
    monkeypatch.setenv("CAUSES_SECRET", SECRET)
    with place(kind, tmp_path) as (url, more, said), fast_time(FACTOR):
        manifest = write_manifest(tmp_path, url, more)
        assert invoke(["run", str(manifest), "--progress", mode]) == Exit.AGAIN
    log = capsys.readouterr().err.partition("\n\n")[0].splitlines()
    told = [line for line in log if said in line]
    assert "WARNING" in told[0]
    assert len([line for line in told if "never reached" not in line]) == 1, log
    assert SECRET not in "".join(log)


@pytest.mark.parametrize("kind", ["page", *by_night(["closed", "no proxy"])])
def test_a_cause_is_an_event(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It counts the attempts and the accounts that met it."""
    monkeypatch.setenv("CAUSES_SECRET", SECRET)
    with place(kind, tmp_path) as (url, more, said), fast_time(FACTOR):
        manifest = write_manifest(tmp_path, url, more)
        assert invoke(["run", str(manifest), "--log-format", "json"]) == Exit.AGAIN
    found = events_in(capsys.readouterr().err)
    first, *_, last = [line for line in found if line["event"] == "problem"]
    assert said in first["message"]
    assert first["cause"] == ("foreign_page" if kind == "page" else "unreachable")
    assert (first["attempts"] > 0, first["repeated"], first["resolved"]) == (True, False, False)
    assert (last["cause"], last["scope"]) == ("deferred", "run")


@pytest.mark.long
@pytest.mark.parametrize("columns", [60, pytest.param(120, marks=pytest.mark.slow)])
def test_a_cause_stands_above_the_bar(
    columns: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line of its own, however narrow the terminal; the bar goes on below it."""
    monkeypatch.setenv("CAUSES_SECRET", SECRET)
    with place("closed", tmp_path) as (url, more, said):
        manifest = write_manifest(tmp_path, url, more)
        keyboard, terminal = pty.openpty()
        run = [sys.executable, "-m", "tests.support.fast_time", str(FACTOR), "run", str(manifest)]
        environment = {**ENVIRONMENT, "TERM": "xterm", "COLUMNS": str(columns)}
        environment["CAUSES_SECRET"] = SECRET
        with subprocess.Popen(run, stderr=terminal, env=environment) as process:
            os.close(terminal)
            lines = [_CONTROL.sub("", line) for line in read_all(keyboard).split("\n")]
    assert process.returncode == Exit.AGAIN
    at = next(number for number, line in enumerate(lines) if said in line)
    assert "WARNING  WeChat was not reached: " in lines[at]
    assert any(re.search(r"0 of \d+ windows", line) for line in lines[at + 1 :]), lines
    assert not any("…" in line for line in lines)
    assert SECRET not in "".join(lines)


Prepare = Callable[[FaultyWeChat], None]


def _bad_secret(world: FaultyWeChat) -> None:
    world.fail(appid(2), 40125, dataset=TOKEN)


def _no_permission(world: FaultyWeChat) -> None:
    world.fail(appid(2), 48001, dataset=DAILY)


def _spent_quota(world: FaultyWeChat) -> None:
    world.fail(appid(2), 45009, dataset=HOURLY)


def _busy(world: FaultyWeChat) -> None:
    world.fail(appid(2), -1, times=1)


TOLD: dict[Prepare, list[str]] = {
    _bad_secret: [
        "the AppSecret is wrong: 40125",
        f"{appid(2)} Acme 微: ",
        "a reset makes the old",
    ],
    _no_permission: [f"{DAILY}: {appid(2)} Acme 微: the account may not use this API: 48001"],
    _spent_quota: ["the daily quota of this API is spent", " in Beijing", "00:05"],
    _busy: ["WeChat is busy: -1"],
}


@pytest.mark.parametrize("prepare", TOLD)
def test_what_wechat_refuses_is_told_with_the_account(prepare: Prepare, shell: CommandLine) -> None:
    """By appid and name, with WeChat's code and what to do or until when it waits."""
    prepare(shell.world)
    ended = shell("run", "--progress", "none")
    warnings = [line for line in ended.err.splitlines() if " WARNING  " in line]
    assert len(warnings) == 1, ended.err
    for words in TOLD[prepare]:
        assert words in warnings[0]


def test_a_minute_limit_is_told_when_it_is_met(tmp_path: Path, shell: CommandLine) -> None:
    """The run then waits for the next minute, which passes fast here."""
    shell.world.fail(appid(2), 45011, times=1)
    with fast_time(60.0):
        ended = shell("run", "--progress", "none")
    assert ended.code == Exit.DONE
    words = f" WARNING  {appid(2)} Acme 微: the account made more calls in this minute"
    # A slow machine may have several such minutes.
    told, *_ = [line for line in ended.err.splitlines() if words in line]
    assert "; waits until " in told


def test_files_are_named_at_info_and_not_at_warning(shell: CommandLine) -> None:
    """Each replaced partition."""
    told = shell("run", "--progress", "none").err
    assert f"INFO     published {DAILY} 2026-03 (+" in told
    assert f"{HOURLY} 2026-03 (+" in told
    quiet = shell("run", "--progress", "none", "--refetch", "all", "--log-level", "warning").err
    assert "published" not in quiet


def test_debug_tells_each_attempt_without_secrets(shell: CommandLine) -> None:
    """Account, dataset, window, verdict and time; without it there is no such line."""
    shell.world.fail(appid(3), 45009, dataset=DAILY)
    ended = shell("run", "--progress", "none", "--log-level", "debug")
    attempts = [line for line in ended.err.splitlines() if " after " in line and "DEBUG" in line]
    assert len(attempts) == shell.record()["requests"]
    shape = r"DEBUG +wx\w{16} interface_summary(_hour)? 2026-03-\d\d(\.\.2026-03-\d\d)?: \w+ after"
    assert all(re.search(shape, line) for line in attempts), attempts
    refused = [line for line in attempts if appid(3) in line and "wait_for_quota after 0." in line]
    assert len(refused) == 1
    assert "45009" in refused[0]
    assert "answered after 0." in attempts[-1]
    assert " bytes" in attempts[-1]
    assert SECRET not in ended.err
    assert "97_" not in ended.err, "the beginning of a token"
    assert "DEBUG" not in shell("run", "--progress", "none", "--refetch", "all").err


@pytest.mark.parametrize(
    ("verb", "variables", "more", "is_told"),
    [
        ("run", {"HTTPS_PROXY": f"http://user:{SECRET}@proxy.test:3128"}, "", True),
        ("check", {"https_proxy": "http://proxy.test:3128"}, "", True),
        ("check", {}, "", False),
        ("check", {"HTTPS_PROXY": "http://p.test", "NO_PROXY": "wechat.invalid"}, "", False),
        ("check", {"HTTPS_PROXY": "http://p.test"}, 'proxy: "http://127.0.0.1:1"', False),
    ],
)
def test_a_proxy_of_the_environment_that_is_ignored_is_told_once(  # noqa: PLR0917 - a table
    verb: str,
    variables: dict[str, str],
    more: str,
    is_told: bool,  # noqa: FBT001 - as the line above says
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """By its name and not by its value, which may hold a password."""
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {**variables, "CAUSES_SECRET": SECRET}.items():
        monkeypatch.setenv(name, value)
    manifest = write_manifest(tmp_path, "https://wechat.invalid", more)
    with fast_time(FACTOR):
        assert invoke([verb, str(manifest)]) == Exit.AGAIN
    told = capsys.readouterr().err
    assert told.lower().count("https_proxy is set and ignored") == is_told
    assert "proxy.test" not in told
    assert SECRET not in told


@pytest.mark.long
@pytest.mark.parametrize("accounts", [60, *by_night([300])])
def test_a_run_of_many_accounts_is_a_page_of_lines(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    accounts: int,
) -> None:
    """At most fifty, tables and advice included, of which two accounts are refused."""
    monkeypatch.setenv("COMMANDS_SECRET", SECRET)
    world = FaultyWeChat(Rules(), lambda: instant(parse_day("2026-05-20"), 12 * 60))
    world.date_comment = EMULATED
    scope = JobScope((DAILY, HOURLY, "user_summary"), "2026-03-01", "2026-03-02", accounts=accounts)
    world.fail(appid(7), 40125, dataset=TOKEN)
    world.fail(appid(8), 50002)
    with command_line(tmp_path, scope, world, capsys) as shell:
        ended = shell("run", "--progress", "log")
    assert ended.code == Exit.INCOMPLETE
    assert len(ended.err.splitlines()) <= 50, ended.err
    for number in (7, 8):
        assert re.search(rf"WARNING  {appid(number)}: ", ended.err)
    assert json.dumps(shell.record()["reasons"]) == '["refused"]'

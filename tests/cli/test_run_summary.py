"""The summary of a run on a terminal: what it counts, and what it says of waits and causes."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harvester.core.exit_codes import Exit
from harvester.sandbox import ANYONE, Rules
from tests.support.cli import CommandLine, JobScope, command_line
from tests.support.faulty_wechat import FaultyWeChat
from tests.support.run_harness import DAILY, appid

SCOPE = JobScope((DAILY,), "2026-03-01", "2026-03-03", accounts=3)

NOUNS = "account|account-day|call|dataset|day|file|group|item|question|request|row|window"


@pytest.fixture
def command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[CommandLine]:
    """Three accounts with three days of one dataset."""
    monkeypatch.setenv("COMMANDS_SECRET", "s" * 32)
    with command_line(tmp_path, SCOPE, FaultyWeChat(Rules(), time.time), capsys) as at:
        yield at


def test_a_run_that_is_cut_short_repeats_the_causes_that_are_open(command: CommandLine) -> None:
    """A cause that passes by itself loses no day, so nothing else in the summary names it."""
    text = command.manifest.read_text()
    command.manifest.write_text(text.replace("retry: {", "retry: {initial_delay: 9s} #"))
    command.world.fail(ANYONE, -1)
    done = command("run", "--max-duration", "2s")
    assert done.code == Exit.AGAIN
    assert "\n  still: WeChat is busy: -1 system error" in done.err.partition("dataset  ")[2]


def test_days_that_were_not_obtained_are_counted_by_cause(command: CommandLine) -> None:
    """``refused`` are those that WeChat refuses, ``left`` those given up for another reason."""
    command.world.fail(appid(1), 48001)
    command.world.fail(appid(2), 99_999)
    lines = command("run").err.splitlines()
    assert "  refused   3 account-days" in lines
    assert "  left      3 account-days" in lines
    command.world.heal(appid(2))
    lines = command("run").err.splitlines()
    assert "  refused   3 account-days" in lines
    assert not [line for line in lines if line.startswith("  left ")]


def test_no_query_is_proposed_where_there_is_no_file(command: CommandLine) -> None:
    """A run of paused accounts is complete, and has made no dataset's folder."""
    text = command.manifest.read_text()
    command.manifest.write_text(text.replace("defaults: {", "defaults: {paused: not verified, "))
    done = command("run")
    assert done.code == Exit.DONE
    assert "duckdb" not in done.err
    command.manifest.write_text(text)
    assert f"{DAILY}/ref_month=*/*.parquet" in command("run").err


def test_an_empty_plan_is_one_line(command: CommandLine) -> None:
    """The days of a plan that asks nothing are covered."""
    command("run")
    assert command("plan").out == "nothing to ask: 9 wanted account-days, all covered\n"


@pytest.mark.parametrize("refused", [False, True])
def test_one_thing_is_told_in_the_singular(command: CommandLine, *, refused: bool) -> None:
    """Whatever a command counts."""
    only = ("--accounts", appid(1), "--begin-date", "2026-03-03")
    if refused:
        command.world.fail(appid(1), 48001)
    done = [command(verb, *only) for verb in ("plan", "run", "status", "plan", "check", "verify")]
    for each in done:
        assert not re.findall(rf"\b1 (?:\w+ )?(?:{NOUNS})s\b.*", each.out + each.err)

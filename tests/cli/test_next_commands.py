"""Commands to type next: they keep the selection, can be copied, and tell their price."""

from __future__ import annotations

import io
import re
import shlex
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harvester.catalogue import CATALOGUE
from harvester.cli import app, invoke
from harvester.cli.command_line import PROPOSED
from harvester.cli.next_commands import (
    MAX_ODD_DAYS,
    NextCommand,
    odd_days_text,
    print_next,
    run_again,
)
from harvester.cli.output.terminal import Terminal
from harvester.core import calendar
from harvester.core.calendar import Day, day_text, parse_day
from harvester.core.exit_codes import Exit
from harvester.runs.record.next_requests import (
    NextRequests,
    merged_requests,
    next_requests,
)
from harvester.sandbox import Rules
from harvester.sandbox.data import Row, expected_rows
from harvester.storage.account_scan import States
from tests.support.cli import CommandLine, JobScope, command_line
from tests.support.faulty_wechat import FaultyWeChat
from tests.support.run_harness import DAILY, RunHarness, appid

QUIET = {"2026-03-05", "2026-03-06", "2026-03-20"}
SCOPE = JobScope((DAILY, "user_cumulate"), "2026-03-01", "2026-03-31", accounts=3)


def rows_with_gaps(dataset: str, name: str, day: Day) -> list[Row]:
    """Return no rows of one account on a few days, and a row that does not fit of another one."""
    if name == appid(1) and day_text(day) in QUIET:
        return []
    rows = [dict(row) for row in expected_rows(dataset, name, day)]
    if name == appid(2) and dataset == DAILY and day_text(day) == "2026-03-09":
        return [{**row, "fail_count": "none"} for row in rows]
    return rows


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[CommandLine]:
    """A manifest with gaps, a quarantined day and an account that is refused."""
    monkeypatch.setenv("COMMANDS_SECRET", "s3cret-of-commands")
    world = FaultyWeChat(Rules(), time.time, source=rows_with_gaps)
    world.fail(appid(3), 48001)
    with command_line(tmp_path, SCOPE, world, capsys) as line:
        yield line


def proposals(printed: str) -> dict[str, list[str]]:
    """Return the printed commands, split as a shell does, by what they are for."""
    pairs = re.findall(r"^  (\S.*)\n    (harvester .*)$", printed, flags=re.MULTILINE)
    return {purpose: shlex.split(line)[1:] for purpose, line in pairs}


@pytest.mark.parametrize("verb", PROPOSED)
def test_a_next_command_has_the_arguments_of_its_verb(verb: str) -> None:
    """The table names all that the verb has of those that are repeated."""
    known = {argument.name for argument in app[verb].assemble_argument_collection()}
    assert PROPOSED[verb] == tuple(name for name in PROPOSED["run"] if name in known)


def price(purpose: str) -> int:
    """Return the number of requests that a purpose tells."""
    return int(re.findall(r"([\d,]+) requests?$", purpose)[0].replace(",", ""))


def test_a_proposed_run_makes_the_requests_that_it_is_said_to_cost(command: CommandLine) -> None:
    """The prices of all proposals of a run equal those of a plan, with the whole selection."""
    done = command("run", "--begin-date", "2026-03-02", "--accounts", f"{appid(1)},{appid(2)}")
    found = proposals(done.err)
    assert done.code == Exit.INCOMPLETE
    assert "suspicious gaps: 6 empty days in 1 account, between days with rows" in done.err
    assert len(found) == 3
    for purpose, words in found.items():
        assert words[:4] == [words[0], str(command.manifest), "--begin-date", words[3]]
        if words[0] != "run":
            continue
        planned = command("plan", *words[2:], "--format", "json").json
        assert planned["requests"] == price(purpose) > 0
    [empty] = [words for words in found.values() if "empty" in words]
    assert " ".join(empty[2:]) == (
        f"--begin-date 2026-03-05 --end-date 2026-03-20 --accounts {appid(1)} --refetch empty"
    )
    before = command.calls()
    command("run", *empty[2:])
    assert command.calls() - before == next(
        price(p) for p, words in found.items() if words == empty
    )


def test_what_is_refused_is_not_asked_again_but_tested_or_paused(command: CommandLine) -> None:
    """Another run would be refused as well, so none is proposed."""
    found = proposals(command("run", "--accounts", appid(3), "--max-duration", "5m").err)
    assert not [words for words in found.values() if words[0] == "run"]
    [(purpose, words)] = [(p, words) for p, words in found.items() if words[0] == "check"]
    assert purpose == "1 refused account: try again, or print the lines to pause"
    assert words[2:] == ["--accounts", appid(3), "--acknowledge"]
    assert appid(3) in command("check", *words[2:]).out
    [status] = [words for words in found.values() if words[0] == "status"]
    assert status[2:] == ["--accounts", appid(3)]


def test_status_proposes_what_a_run_does(command: CommandLine) -> None:
    """Before the first run everything is missing, and after it what could not be had."""
    fresh = proposals(command("status").out)
    assert [*fresh] == ["186 account-days are missing: 21 requests"]
    ended = proposals(command("run").err)
    asked = {purpose: words for purpose, words in ended.items() if words[0] == "run"}
    shown = proposals(command("status").out)
    assert shown.pop("lines that pause what was refused")[-1] == "--acknowledge"
    assert shown == asked


def test_what_a_variable_says_is_not_repeated(
    command: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variable is still set when the next command is typed."""
    monkeypatch.setenv("HARVESTER_ACCOUNTS", appid(3))
    monkeypatch.setenv("HARVESTER_MANIFEST", str(command.manifest))
    invoke(["status", "--end-date", "2026-03-31"])
    [words] = proposals(command.capsys.readouterr().out).values()
    assert words == ["run", "--end-date", "2026-03-31"]


def test_a_word_that_is_no_word_of_a_shell_is_quoted(command: CommandLine) -> None:
    """Blanks, quotes and a leading hyphen survive the way through a shell."""
    name = '-it\'s a "name" $HOME'
    text = command.manifest.read_text().replace(
        f"{{appid: {appid(1)}}}",
        f"{{appid: {appid(1)}, name: '{name.replace(chr(39), 2 * chr(39))}'}}",
    )
    command.manifest.write_text(text)
    [words] = proposals(command("status", f"--accounts={name}").out).values()
    assert words[2:] == [f"--accounts={name}"]


@pytest.mark.parametrize("width", [20, 60, 80])
def test_a_command_is_never_wrapped(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    """In a narrow terminal too, and without a colour."""
    out = io.StringIO()
    line = f"harvester run jobs.yaml --accounts {','.join(map(appid, range(5)))}"
    monkeypatch.setenv("COLUMNS", str(width))
    print_next(Terminal(file=out, force_terminal=True), [NextCommand("for this", line)])
    assert f"    {line}\n" in out.getvalue()


def odd_states(accounts: int, empty: int) -> dict[str, dict[str, States]]:
    """Return accounts with so many contradicted days between two days with rows."""
    begin = parse_day("2024-01-01")
    everything = calendar.day_range(begin, begin + empty + 1)
    inside = calendar.day_range(begin + 1, begin + empty)
    state = States(everything, everything, everything & ~inside, contradicted=inside)
    return {DAILY: {appid(number): state for number in range(accounts)}}


def test_many_odd_days_are_counted_and_nothing_is_proposed(tmp_path: Path) -> None:
    """The count is the sum over all accounts; a few days of many accounts name no account."""
    manifest = RunHarness(tmp_path, datasets=(DAILY,)).manifest()

    def told(accounts: int, empty: int) -> tuple[str, list[NextCommand]]:
        states = odd_states(accounts, empty)
        want = {DAILY: {name: state.answered for name, state in states[DAILY].items()}}
        found = next_requests(manifest, want, states)
        return odd_days_text(found), run_again(found, 0, 0)

    days, commands = told(300, 441)
    assert (days, commands) == ("132,300 empty days in 300 accounts", [])
    days, [command] = told(6, 1)
    assert days == "6 empty days in 6 accounts"
    assert command.purpose == f"if {days} should have data: 6 requests"
    assert "--accounts" not in command.line
    assert not told(1, MAX_ODD_DAYS + 1)[1]
    assert CATALOGUE[DAILY].span == 30
    assert told(1, MAX_ODD_DAYS)[1][0].purpose.endswith("4 requests")


def test_the_prices_of_shards_are_added(tmp_path: Path) -> None:
    """Gaps of a few accounts of one shard are proposed; what several shards cost is not known."""
    manifest = RunHarness(tmp_path, datasets=(DAILY,)).manifest()

    def shard(accounts: int) -> NextRequests:
        states = odd_states(accounts, 1)
        want = {DAILY: {name: state.answered << 1 for name, state in states[DAILY].items()}}
        return next_requests(manifest, want, states)

    one, none = shard(2), NextRequests()
    assert (one.missing, one.quarantined) == (2, 2)
    assert merged_requests(one, none) == one
    both = merged_requests(one, shard(3))
    assert (both.missing, both.quarantined) == (5, 5)
    assert odd_days_text(both) == "5 empty days in 5 accounts"
    assert run_again(both, 0, 0) == []
    assert merged_requests(none, none) == none


def test_every_proposed_command_is_valid(
    command: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No command names an option that its verb lacks, whatever was typed."""
    monkeypatch.chdir(command.manifest.parent)
    typed = [
        "--shard",
        "1/1",
        "--max-duration",
        "1h",
        "--output",
        "else where",
        "--progress",
        "log",
    ]
    printed = command("run", *typed, "--datasets", DAILY, "--label", "a=b").err
    found = proposals(printed)
    assert found
    for words in found.values():
        app.parse_args(words, exit_on_error=False, print_error=False)
        assert "--output" in words
        assert "--label" not in words
        assert ("--shard" in words) == (words[0] == "run")

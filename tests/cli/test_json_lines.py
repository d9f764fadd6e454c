"""``--log-format json``: each line on stderr is one object of the schema, and nothing else is."""

from __future__ import annotations

import json
import logging
import os
import pty
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harvester.cli import invoke
from harvester.cli.output import json_lines
from harvester.core import calendar
from harvester.core.exit_codes import Exit
from harvester.runs.facts import Begun, Planned
from harvester.runs.narrator import Narrator
from harvester.runs.record.events import Event, Problem, RunStarted
from harvester.runs.record.record import Record
from harvester.runs.stream import Stream
from harvester.storage import coverage_scan, locks
from tests.cli.test_hooks import FAILURES, stderr_of_failures
from tests.cli.test_signals import FOR_EVER, await_mark
from tests.cli.test_streams import OLD_CHARSET, shell
from tests.end_to_end.test_kills import ENVIRONMENT, PYTHON, sandbox_process, write_manifest
from tests.runs.test_run_events import told
from tests.support.claims import claim
from tests.support.event_schema import PAGE, events_in, schema
from tests.support.fake_time import VirtualTimeHarness, in_virtual_time
from tests.support.nights import by_night
from tests.support.run_harness import HOURLY, RunHarness, appid

EVENTS_PAGE = PAGE.parent / "logs.md"
JSON = ("--log-format", "json")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A server that refuses the second account."""
    with sandbox_process("--unauthorised", appid(2)) as found:
        yield found


Command = Callable[..., tuple[int, list[dict[str, Any]]]]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """A function that invokes a command; it returns the exit code and the lines of stderr."""
    monkeypatch.setenv("SECRET", ENVIRONMENT["SECRET"])

    def invoked(*arguments: str) -> tuple[int, list[dict[str, Any]]]:
        capsys.readouterr()
        return invoke(arguments), events_in(capsys.readouterr().err)

    return invoked


def process(*arguments: str) -> tuple[int, list[dict[str, Any]]]:
    """Run a command as a process; return its exit code and the lines of its stderr."""
    words = [*PYTHON, "harvester", *arguments]
    ended = subprocess.run(words, check=False, capture_output=True, text=True, env=ENVIRONMENT)
    return ended.returncode, events_in(ended.stderr)


def names_of(found: list[dict[str, Any]]) -> list[str]:
    """Return the names of events, each once, in the order of their first."""
    return list(dict.fromkeys(line["event"] for line in found))


def test_the_published_schema_is_that_of_the_events() -> None:
    """``python -m tests.support.event_schema`` writes it."""
    assert json.loads(PAGE.read_text("utf-8")) == json.loads(json.dumps(schema()))


def test_the_page_tells_the_events_and_the_causes_and_no_others() -> None:
    """Their names, the members of each, and the example."""
    [section] = re.findall(
        r"^## Events\n(.*)", EVENTS_PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    kinds = schema()["$defs"]
    causes = kinds["problem"]["properties"]["cause"]["enum"]
    assert sorted(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == sorted(causes)
    # The members are on the page that is made of the docstrings.
    made = (PAGE.parent / "reference/events.md").read_text("utf-8")
    told = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", made, re.MULTILINE | re.DOTALL))
    assert told.keys() == kinds.keys()
    for name, kind in kinds.items():
        assert {*kind["required"]} - {"level"} <= {*re.findall(r"`(\w+)`", told[name])}
    [example] = re.findall(r"^```json\n(.*?)```$", section, re.MULTILINE | re.DOTALL)
    assert [line["cause"] for line in events_in(example)] == ["refused"]


@pytest.mark.parametrize("log_level", ["debug", "info", "warning", "error"])
def test_a_whole_run(tmp_path: Path, address: str, command: Command, log_level: str) -> None:
    """It begins, replaces files and ends; of a higher level the end alone is written.

    One of them is a process, which has all of stderr.
    """
    manifest = str(write_manifest(tmp_path, address, 1))
    options = (*JSON, "--log-level", log_level, "--end-date", "2026-02-05", "--progress", "bar")
    code, found = (process if log_level == "debug" else command)("run", manifest, *options)
    assert code == Exit.DONE
    if log_level in {"debug", "info"}:
        told = [line for line in found if line["event"] != "log"]
        assert names_of(told) == ["run_started", "published", "run_ended"]
        assert {line["run_id"] for line in told} == {told[0]["run_id"]}
    else:
        assert names_of(found) == ["run_ended"]
    assert found[-1]["exit_code"] == 0
    assert found[-1]["record"]["state"] == "finished"


def test_a_run_with_a_refused_account(tmp_path: Path, address: str, command: Command) -> None:
    """Its cause is told once for all datasets, and the shard on each line."""
    manifest = write_manifest(tmp_path, address, 2, buckets=2)
    options = (*JSON, "--end-date", "2026-02-05", "--shard", "2/2")
    codes = {}
    for shard in ("1/2", "2/2"):
        codes[shard], found = command("run", str(manifest), *options[:-1], shard)
        assert {line["shard"] for line in found} == {shard}
        problems = [line for line in found if line["event"] == "problem"]
        if codes[shard] == Exit.INCOMPLETE:
            assert {(p["cause"], p["errcode"], p["count"]) for p in problems} == {
                ("refused", 48001, 1)
            }
            assert [p["accounts"] for p in problems] == [[appid(2)]]
            assert found[-1]["reasons"] == ["refused"]
    assert sorted(codes.values()) == [Exit.DONE, Exit.INCOMPLETE]


@pytest.mark.parametrize(
    ("arguments", "cause"),
    [
        (("run", "--nonsense", *JSON), "usage"),
        (("run", "--log-format=json", "--progress", "loud"), "usage"),
        (("run", "--log_format", "json", "--progress"), "usage"),
        (("run", *JSON, "--log-format", "text"), "usage"),
        (("rnu", *JSON), "usage"),
        (("plan", *JSON), "usage"),
        (("run", *JSON, "--shard", "9/2"), "usage"),
        (("run", *JSON, "--ok-exit", "99"), "usage"),
        (("run", *JSON, "no-such.yaml"), "manifest"),
        (("check", *JSON, "no-such.yaml"), "manifest"),
        (("explain", "x", *JSON), "usage"),
    ],
)
def test_a_command_line_with_a_mistake(
    arguments: tuple[str, ...], cause: str, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No panel is printed, and on a runner of GitHub's no annotation."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    code, found = command(*arguments)
    assert code == Exit.USAGE
    [problem] = [line for line in found if line["event"] == "problem"]
    assert (problem["cause"], problem["level"]) == (cause, "error")
    assert names_of(found) in (["problem"], ["problem", "run_ended"])


def test_the_variable_holds_for_every_verb(
    tmp_path: Path,
    command: Command,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also for those without the option, and an option replaces it."""
    path = str(tmp_path / "none.yaml")
    monkeypatch.setenv("HARVESTER_LOG_FORMAT", "json")
    for verb in ("run", "plan", "check", "status", "verify"):
        code, found = command(verb, path)
        assert code == Exit.USAGE
        assert [line["cause"] for line in found if line["event"] == "problem"] == ["manifest"]
    assert invoke(["run", path, "--log-format", "text"]) == Exit.USAGE
    assert capsys.readouterr().err.startswith("error: ")


def test_a_manifest_with_three_mistakes(tmp_path: Path, command: Command) -> None:
    """Each is a problem with its place, in the order of the file."""
    manifest = tmp_path / "jobs.yaml"
    manifest.write_text("output: out\nno: 1\naccounts: 3\njobs: [{when: 1}]\n")
    code, found = command("run", str(manifest), *JSON)
    assert code == Exit.USAGE
    *problems, end = found
    assert [(p["line"], p["column"]) for p in problems] == [(2, 1), (3, 11), (4, 9)]
    assert {(p["cause"], p["file"], p["level"]) for p in problems} == {
        ("manifest", str(manifest), "error")
    }
    assert problems[0]["message"] == "unknown key `no`"
    assert (end["event"], end["exit_code"], end["reasons"]) == ("run_ended", 2, ["usage"])


def test_a_locked_output(tmp_path: Path, address: str, command: Command) -> None:
    """Another run holds the accounts."""
    manifest = write_manifest(tmp_path, address, 1)
    assert command("run", str(manifest), *JSON, "--end-date", "2026-02-02")[0] == Exit.DONE
    tree = RunHarness(tmp_path / "output").tree
    since = calendar.utc_text(time.time())
    with locks.hold(tree, [0], claim("another", since)):
        code, found = command("run", str(manifest), *JSON)
    assert code == Exit.AGAIN
    assert [line["event"] for line in found] == ["problem", "run_ended"]
    assert (found[0]["cause"], found[1]["reasons"]) == ("locked", ["locked"])
    assert found[0]["run_id"] == found[1]["run_id"]


@pytest.mark.parametrize("function", ["to_ask", "read"])
def test_a_bug(
    tmp_path: Path,
    address: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    function: str,
) -> None:
    """Its type and its place are told once, without a traceback and without its text."""

    def fail(*_: object) -> None:
        raise ZeroDivisionError("https://x/?access_token=abc")

    monkeypatch.setenv("SECRET", ENVIRONMENT["SECRET"])
    monkeypatch.setattr(coverage_scan, function, fail)
    manifest = str(write_manifest(tmp_path, address, 1))
    assert invoke(["run", manifest, *JSON, "--end-date", "2026-02-02"]) == Exit.BUG
    printed = capsys.readouterr().err
    found = events_in(printed)
    [problem] = [line for line in found if line["event"] == "problem"]
    assert problem["cause"] == "bug"
    place = f"{Path(__file__).name}:{fail.__code__.co_firstlineno + 1} in"
    assert problem["message"].startswith("a bug in harvester: ZeroDivisionError at ")
    assert place in problem["message"]
    assert "access_token" not in printed
    assert (found[-1]["event"], found[-1]["exit_code"]) == ("run_ended", 1)


def next_line(run: subprocess.Popen[str], event: str) -> str:
    """Read the lines of a run up to one of an event, and return that."""
    assert run.stderr is not None
    for line in run.stderr:
        [found] = events_in(line)
        if found["event"] == event:
            return str(found.get("message", ""))
    pytest.fail(f"no line of {event}")


@pytest.mark.parametrize("number", [signal.SIGTERM, *by_night([signal.SIGINT])])
def test_a_signal_ends_a_run_in_order(tmp_path: Path, address: str, number: signal.Signals) -> None:
    """The state that SIGUSR1 asks for is a line too, and the end of the run is the last one."""
    manifest = str(write_manifest(tmp_path, address, 3, "2025-06-01"))
    run = [*PYTHON, "harvester", "run", manifest, *JSON]
    with subprocess.Popen(run, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT) as started:
        next_line(started, "run_started")
        started.send_signal(signal.SIGUSR1)
        assert next_line(started, "log")
        next_line(started, "published")
        started.send_signal(number)
        assert started.stderr is not None
        found = events_in(started.stderr.read())
    assert started.returncode == 128 + number
    assert found[-1]["event"] == "run_ended"
    assert found[-1]["exit_code"] == 128 + number
    assert "stopped" in found[-1]["reasons"]


def test_a_signal_before_the_first_request_prints_nothing_else(tmp_path: Path) -> None:
    """The run ends at once, and on a terminal too the cursor is not shown again."""
    manifest = str(write_manifest(tmp_path, "http://127.0.0.1:9", 1))
    mark = tmp_path / "mark"
    what = ("harvester.verbs.arguments:draft_of", FOR_EVER, str(mark), "run", manifest, *JSON)
    run = [*PYTHON, "tests.support.hanging_call", *what]
    keyboard, terminal = pty.openpty()
    with subprocess.Popen(run, stderr=terminal, env=ENVIRONMENT) as started:
        await_mark(started, mark)
        started.send_signal(signal.SIGTERM)
        assert started.wait() == Exit.SIGTERM
    os.close(terminal)
    assert events_in(read_all(keyboard)) == []


def read_all(keyboard: int) -> str:
    """Read what was written to a terminal that is closed."""
    found = b""
    try:
        while data := os.read(keyboard, 65_536):
            found += data
    except OSError:
        # Linux ends a terminal without a writer with an error.
        pass
    os.close(keyboard)
    return found.decode().replace("\r\n", "\n")


@pytest.mark.parametrize("style", ["auto", *by_night(["bar", "log"])])
def test_a_terminal_gets_the_same_lines(tmp_path: Path, address: str, style: str) -> None:
    """No bar, no table, no control sequence."""
    manifest = str(write_manifest(tmp_path, address, 1))
    options = (*JSON, "--progress", style, "--end-date", "2026-02-03")
    keyboard, terminal = pty.openpty()
    run = [*PYTHON, "harvester", "run", manifest, *options]
    with subprocess.Popen(run, stderr=terminal, env={**ENVIRONMENT, "TERM": "xterm"}) as started:
        os.close(terminal)
        text = read_all(keyboard)
    assert started.returncode == Exit.DONE
    assert names_of(events_in(text)) == ["run_started", "published", "run_ended"]


def test_progress_and_the_end_of_a_cause_are_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They are the objects that a listener gets."""
    lab = VirtualTimeHarness(
        tmp_path, accounts=2, begin="2026-03-01", end="2026-03-20", datasets=(HOURLY,)
    )
    heard: list[Event] = []

    def listen(event: Event) -> None:
        heard.append(event)
        json_lines.tell(event)

    json_lines.begin(on=True)
    # Another test may have left it lower.
    logging.getLogger("harvester").setLevel(logging.INFO)
    with in_virtual_time(lab):
        lab.limits = lab.one_at_a_time()
        lab.net.there = 2.0
        lab.sandbox.fail(appid(1), 45009, times=1)
        lab.advance(12 * 3600 - 15)
        told(lab, listen, shard="1/2")
    found = events_in(capsys.readouterr().err)
    assert found == [json.loads(json.dumps(event.to_dict())) for event in heard]
    assert {"progress", "published", "problem"} < {line["event"] for line in found}
    assert [p["resolved"] for p in found if p["event"] == "problem"] == [False, True]


def test_an_old_charset_gets_escapes_of_json(tmp_path: Path) -> None:
    """A text beyond it reads the same, whatever plane it is of."""
    manifest = tmp_path / "jobs.yaml"
    manifest.write_text("é微😀: 1\n", "utf-8")
    ended = shell(f"harvester status {manifest}", HARVESTER_LOG_FORMAT="json", **OLD_CHARSET)
    assert ended.stderr.isascii()
    assert "unknown key `é微😀`" in {line["message"] for line in events_in(ended.stderr)}


def test_an_answer_that_is_lost_is_a_problem(tmp_path: Path, address: str) -> None:
    """Stdout is full when the process ends."""
    manifest = write_manifest(tmp_path, address, 1)
    line = f"harvester plan {manifest} --format json > /dev/full"
    ended = shell(line, HARVESTER_LOG_FORMAT="json")
    [problem] = events_in(ended.stderr)
    assert (ended.returncode, problem["message"]) == (1, "stdout: No space left on device")


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return what Python prints to stderr on each failure."""
    begin = "from harvester.cli.output import json_lines\njson_lines.begin(on=True)\n"
    failures = {
        name: code.replace("Logging()", "Logging('json')") for name, code in FAILURES.items()
    }
    return stderr_of_failures(begin, failures, tmp_path_factory.mktemp("failures"))


@pytest.mark.parametrize("failure", FAILURES)
def test_messages_of_python_are_lines_without_secrets(
    failure: str, printed: dict[str, str]
) -> None:
    """Uncaught errors, warnings and logged errors; of errors the type and the place."""
    found = events_in(printed[failure])
    assert {line["event"] for line in found} <= {"log", "problem"}
    assert found
    assert "c4n4ry" not in printed[failure]
    assert not re.search(r"Traceback|File \"", printed[failure])


def test_log_records_are_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """Warnings and errors of harvester are problems; what libraries say and the rest are logs."""
    json_lines.begin(on=True)
    logging.getLogger("harvester").setLevel("DEBUG")
    own, other = logging.getLogger("harvester.x"), logging.getLogger("aiohttp.x")
    try:
        own.debug("one")
        own.warning("access_token=%s", "a" * 70)
        own.critical("three")
        other.info("not shown")
        other.error("%d", "no number")
    finally:
        logging.getLogger("harvester").setLevel("NOTSET")
    found = events_in(capsys.readouterr().err)
    assert [(line["event"], line["level"], line["message"]) for line in found] == [
        ("log", "debug", "one"),
        ("problem", "warning", "access_token=***"),
        ("problem", "error", "three"),
        ("log", "error", "a log record whose arguments do not fit its text"),
    ]
    assert {(line["run_id"], line["shard"]) for line in found} == {(None, None)}
    assert [line["cause"] for line in found if line["event"] == "problem"] == ["warning"] * 2


def test_log_lines_in_a_run_have_its_id(capsys: pytest.CaptureFixture[str]) -> None:
    """From its first event on."""
    json_lines.begin(on=True)
    stream = Stream(Record.begun(Path("jobs.yaml"), 1e9), lambda: 1e9)
    stream.listeners.append(Narrator(json_lines.tell))
    stream.report(Begun({}, "2/8"))
    stream.report(Planned(1, 1, wanted_accounts=1))
    logging.getLogger("any").warning("x")
    found = events_in(capsys.readouterr().err)
    assert [(line["run_id"], line["shard"]) for line in found] == [(stream.own.run_id, "2/8")] * 2


def test_lines_after_an_event_of_a_shard_are_about_the_run(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In several processes a problem or a log line may be of one shard, and the next one is not."""
    json_lines.begin(on=True)
    begun = RunStarted(0.0, "run", None, 1, 1, 1.0, "rate")
    json_lines.tell(begun)
    json_lines.tell(Problem(0.0, "run", "2/2", "refused", "no"))
    log = logging.getLogger("harvester.test")
    log.warning("of the run")
    log.handle(log.makeRecord(log.name, 30, "", 0, "of a shard", (), None, extra={"shard": "1/2"}))
    json_lines.begin(on=False)
    lines = events_in(capsys.readouterr().err)
    assert [(line["run_id"], line["shard"]) for line in lines] == [
        ("run", None),
        ("run", "2/2"),
        ("run", None),
        ("run", "1/2"),
    ]


def test_the_next_command_begins_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In a process that invokes several commands."""
    path = str(tmp_path / "none.yaml")
    assert invoke(["run", path, *JSON]) == Exit.USAGE
    assert len(events_in(capsys.readouterr().err)) == 2
    assert invoke(["status", path]) == Exit.USAGE
    assert capsys.readouterr().err.startswith("error: ")
    logging.getLogger("any").warning("plain")
    assert not capsys.readouterr().err.startswith("{")


@pytest.mark.parametrize(
    ("words", "variable", "asked"),
    [
        ("run", "", False),
        ("run", "json", True),
        ("run", "text", False),
        ("run --log-format json", "text", True),
        ("run --log-format=json", "", True),
        ("run --log_format=json", "", True),
        ("run --log-format text", "json", False),
        ("run --log-format", "json", False),
        ("run json", "", False),
        ("run --log-formats json", "", False),
    ],
)
def test_json_is_asked_for_before_the_line_is_parsed(
    words: str, variable: str, *, asked: bool
) -> None:
    """By the option in any of its forms, or else by the variable."""
    environ = {"HARVESTER_LOG_FORMAT": variable}
    assert json_lines.is_asked_for(words.split(), environ) is asked

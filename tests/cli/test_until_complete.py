"""`harvester run --until-complete`: runs until everything is there, and waits that hold nothing.

No test waits: a wait moves the clock of the runs and of the emulator forward.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import pytest

import harvester
from harvester.cli import invoke
from harvester.core.calendar import instant, parse_day
from harvester.core.exit_codes import Exit
from harvester.runs import clock as run_clock
from harvester.runs.waits import JITTER_SECONDS, Waits
from harvester.storage import locks
from harvester.verbs import run as running
from tests.cli.test_metrics import series
from tests.end_to_end.test_kills import ENVIRONMENT, PYTHON, write_manifest
from tests.support.claims import claim
from tests.support.faulty_wechat import FaultyRules, FaultyWeChat
from tests.support.output_helpers import tree_at
from tests.support.run_harness import HOURLY, appid, days_between, expected, published_rows
from tests.support.sandboxes import serve_in_thread

DAY = 86_400.0
MINUTE = 60.0
QUOTA = 5
"""Calls of each account a day."""

MANIFEST = """
version: 1
api: {{base_url: "{address}"}}
accounts:
{accounts}
jobs:
  - {{datasets: [interface_summary_hour], begin_date: {begin}, end_date: {end}}}
limits:
  per_token: {{rate: 100000/s, burst: 1000, concurrency: 8}}
  daily_quota: {quota}
  daily_reserve: 0
retry: {{max_attempts: 2, initial_delay: 1ms, max_delay: 2ms}}
output: out
"""


@dataclass
class Life:
    """A clock that passes with the real one and jumps over waits.

    ``actions`` are done at their moments, in seconds since ``began``, as the clock reaches them.
    """

    began: float = instant(parse_day("2026-05-20"), 12 * 60)
    jumped: float = 0.0
    waited: float = 0.0
    actions: list[tuple[float, Callable[[], object]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Start the clock."""
        self._real = time.monotonic()

    def __call__(self) -> float:
        return self.began + self.elapsed()

    def elapsed(self) -> float:
        """Return the seconds since the start."""
        return time.monotonic() - self._real + self.jumped

    def sleep(self, cancelled: threading.Event, seconds: float) -> None:
        """Let so many seconds pass, or do nothing if it is cancelled."""
        if not cancelled.is_set():
            self.jumped += seconds
            self.waited += seconds
        for action in [item for item in self.actions if item[0] <= self.elapsed()]:
            self.actions.remove(action)
            action[1]()


@dataclass
class Stage:
    """The command on one manifest, and the emulator that it asks."""

    folder: Path
    life: Life
    world: FaultyWeChat
    address: str
    capsys: pytest.CaptureFixture[str]

    def write(
        self,
        begin: str = "2026-05-02",
        end: str = "2026-05-16",
        *,
        quota: object = QUOTA,
        accounts: int = 2,
    ) -> None:
        """Write the manifest: fifteen days by default, each of them a call of each account."""
        for number in range(1, accounts + 1):
            self.set_secret(number, f"the-secret-of-{number}")
        credential = "credential: {secret: '${file:secret-%d}'}"
        lines = (
            f"  - {{appid: {appid(number)}, {credential % number}}}"
            for number in range(1, accounts + 1)
        )
        text = MANIFEST.format(
            address=self.address, accounts="\n".join(lines), begin=begin, end=end, quota=quota
        )
        self.manifest.write_text(text)

    @property
    def manifest(self) -> Path:
        """The manifest."""
        return self.folder / "jobs.yaml"

    @property
    def summary(self) -> Any:
        """The file of `--summary`."""
        return json.loads((self.folder / "summary.json").read_bytes())

    def set_secret(self, number: int, secret: str) -> None:
        """Write the file of an account's secret."""
        (self.folder / f"secret-{number}").write_text(f"{secret}\n")

    def run(self, *options: str) -> tuple[int, str]:
        """Execute the command; returns its exit code and its lines on stderr."""
        summary = str(self.folder / "summary.json")
        arguments = ["run", str(self.manifest), "--summary", summary, "--progress", "none"]
        code = invoke([*arguments, *options])
        return code, self.capsys.readouterr().err

    def until_complete(self, *options: str) -> tuple[int, str]:
        """Execute the command with ``--until-complete``."""
        return self.run("--until-complete", *options)

    def records(self) -> list[Any]:
        """Return the records of the runs, the first one first."""
        files = (self.folder / "out/_harvester/runs").glob("*.json")
        return [json.loads(file.read_bytes()) for file in sorted(files)]


def waits(said: str) -> list[str]:
    """Return the lines about waits."""
    return [line for line in said.splitlines() if re.search("unfinished: .*; waits ", line)]


def middle(low: float, high: float) -> float:
    """Choose half of the jitter."""
    return (low + high) / 2


@pytest.fixture
def stage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Stage]:
    """Two accounts, fifteen days, and a quota of five calls a day."""
    life = Life()
    world = FaultyWeChat(FaultyRules(daily_quota=QUOTA), life)
    monkeypatch.setattr(run_clock, "boot_seconds", life.elapsed)
    monkeypatch.setattr(run_clock, "time", SimpleNamespace(time=life))
    monkeypatch.setattr(running, "Waits", partial(Waits, life.elapsed, life.sleep, middle))
    with serve_in_thread(world) as address:
        stage = Stage(tmp_path, life, world, address, capsys)
        stage.write()
        yield stage


def test_a_backfill_under_a_quota_is_one_command(
    stage: Stage, duck: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each awakening is a run of its own, just after midnight, and asks no call twice."""
    outputs = stage.folder / "outputs"
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_OUTPUT", str(outputs))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(stage.folder / "page.md"))
    file = stage.folder / "summary.md"
    files = ("--summary-markdown", str(file))
    code, said = stage.until_complete("--wait", "72h", "--label", "team=growth", *files)
    assert code == Exit.DONE
    assert [record["exit_code"] for record in stage.records()] == [75, 75, 0]
    assert len({record["run_id"] for record in stage.records()}) == 3
    assert {record["labels"]["team"] for record in stage.records()} == {"growth"}
    assert stage.world.counters.errcodes[45009] == 0
    assert sum(stage.world.counters.calls.values()) == 2 * 15
    for before, after in zip(stage.records(), stage.records()[1:], strict=False):
        late = seconds_of(after["started_at"]) - seconds_of(before["retry_at"])
        assert 0 <= late <= JITTER_SECONDS + 5
    truth = expected(HOURLY, [appid(1), appid(2)], days_between("2026-05-02", "2026-05-16"))
    assert published_rows(duck, stage.folder / "out", HOURLY) == truth
    assert len(waits(said)) == 2
    assert "unfinished: quota; waits 12.1 h, until 2026-05-20T16:05:" in waits(said)[0]
    # Of the last run alone.
    assert said.count("everything wanted is covered") == 1
    assert stage.summary["run_id"] == stage.records()[-1]["run_id"]
    assert outputs.read_text().count("outcome<<") == 1
    assert "complete" in outputs.read_text()
    text = file.read_text("utf-8")
    assert f"Run {stage.summary['run_id']}: " in text
    assert text in (stage.folder / "page.md").read_text("utf-8")
    assert (stage.folder / "page.md").read_text("utf-8").count("## harvester") == 1


def test_the_metrics_are_those_of_the_last_run_at_any_time(stage: Stage) -> None:
    """During a wait they say for what it waits, and until when."""
    file, seen = stage.folder / "m.prom", list[dict[str, float]]()
    for moment in (0.1 * DAY, 1.1 * DAY):
        stage.life.actions.append((moment, lambda: seen.append(series(file))))
    assert stage.until_complete("--wait", "72h", "--metrics", str(file))[0] == Exit.DONE
    for found, record in zip([*seen, series(file)], stage.records(), strict=True):
        assert found["last_run_exit_code"] == record["exit_code"]
        assert found["last_run_timestamp_seconds"] == seconds_of(record["ended_at"])
    assert [found[f"quota_spent_accounts {HOURLY}"] for found in seen] == [2, 2]
    assert [found[f"quota_left_calls {HOURLY}"] for found in seen] == [0, 0]
    at = [found["last_run_retry_timestamp_seconds"] for found in seen]
    assert at == [seconds_of(record["retry_at"]) for record in stage.records()[:2]]


def seconds_of(text: str) -> float:
    """Return a moment of a record in seconds since the Unix epoch."""
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.long
def test_days_that_became_ready_meanwhile_are_wanted_too(
    stage: Stage, duck: duckdb.DuckDBPyConnection
) -> None:
    """A job up to yesterday ends with the day that was not over when it began."""
    stage.write(end="yesterday")
    code, _ = stage.until_complete("--wait", "240h")
    assert code == Exit.DONE
    files = stage.folder / "out" / HOURLY / "*/*.parquet"
    [newest] = duck.execute(f"select max(ref_date) from read_parquet('{files}')").fetchall()
    assert newest[0] > date(2026, 5, 19)


def test_a_wait_holds_nothing(stage: Stage) -> None:
    """No lock, so that another run may take the bucket, and no connection."""
    seen: list[int] = []

    def look() -> None:
        with locks.hold(tree_at(stage.folder / "out"), [0], claim("other")):
            seen.append(connections_to(stage.address))

    stage.life.actions = [(MINUTE, look), (DAY, look)]
    assert stage.until_complete("--wait", "72h")[0] == Exit.DONE
    assert seen == [0, 0]


def connections_to(address: str) -> int:
    """Count the established connections to a port of this machine."""
    port = f":{int(address.rpartition(':')[2]):04X}"
    rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    return sum(row[2].endswith(port) and row[3] == "01" for row in rows)


@pytest.mark.long
def test_a_secret_that_breaks_on_the_second_day_is_told_then(stage: Stage) -> None:
    """As a problem in the run that meets it first; the other goes on for its eleven days."""
    stage.write(begin="2026-03-23")
    stage.life.actions = [(MINUTE, partial(stage.set_secret, 2, "worn-out"))]
    code, said = stage.until_complete("--wait", "264h", "--log-format", "json")
    assert code == Exit.INCOMPLETE
    lines = [json.loads(line) for line in said.splitlines()]
    ends = [line for line in lines if line["event"] == "run_ended"]
    assert [line["exit_code"] for line in ends] == [75] + [76] * 9 + [3]
    assert stage.world.counters.errcodes[45009] == 0
    assert sum(stage.world.counters.calls.values()) == 55 + QUOTA
    problems = [line for line in lines if line["event"] == "problem" and line["errcode"] == 40125]
    assert [line["run_id"] for line in problems] == [line["run_id"] for line in ends[1:]]
    assert problems[0]["accounts"] == [appid(2)]


def test_a_loop_ends_with_what_is_new_for_a_person_if_asked(stage: Stage) -> None:
    """Of a secret that breaks on day 2 it ends on day 2; begun again it goes on to its end."""
    stage.life.actions = [(MINUTE, partial(stage.set_secret, 2, "worn-out"))]
    until = ("--until-attention", "--wait", "264h")
    assert stage.until_complete(*until)[0] == Exit.ATTENTION
    assert [record["attention_new"] for record in stage.records()] == [0, 1]
    assert stage.until_complete(*until)[0] == Exit.INCOMPLETE
    assert {record["attention_new"] for record in stage.records()[2:]} == {0}


def test_until_attention_is_a_part_of_until_complete(stage: Stage) -> None:
    """Alone it would change nothing."""
    code, said = stage.run("--until-attention")
    assert (code, "add --until-complete" in said) == (Exit.USAGE, True)


@pytest.mark.long
def test_a_secret_that_is_mended_meanwhile_is_read_again(stage: Stage) -> None:
    """The account goes on where it stood, without another command."""
    stage.life.actions = [
        (MINUTE, partial(stage.set_secret, 2, "worn-out")),
        (DAY, partial(stage.set_secret, 2, "the-secret-of-2")),
    ]
    code, said = stage.until_complete("--wait", "96h")
    assert code == Exit.DONE
    assert "40125" in said
    assert [record["exit_code"] for record in stage.records()] == [75, 76, 75, 0]


def test_a_manifest_that_changes_meanwhile_counts(stage: Stage) -> None:
    """An account that was added is asked as well."""
    stage.life.actions = [(MINUTE, partial(stage.write, accounts=3, quota="auto"))]
    stage.world.reset()
    assert stage.until_complete("--wait", "120h")[0] == Exit.DONE
    assert sum(stage.world.counters.calls.values()) >= 3 * 15


def test_a_manifest_that_breaks_meanwhile_ends_the_command(stage: Stage) -> None:
    """With 2, and with the place of the mistake."""
    stage.life.actions = [(MINUTE, partial(stage.manifest.write_text, "version: 1\njbos: []\n"))]
    code, said = stage.until_complete()
    assert code == Exit.USAGE
    assert "jobs.yaml:2:1" in said
    assert (stage.summary["outcome"], stage.summary["exit_code"]) == ("invalid", 2)


def test_another_run_is_waited_for(stage: Stage) -> None:
    """A minute at a time, each told with the owner."""
    held = locks.hold(tree_at(stage.folder / "out"), [0], claim("other"))
    (stage.folder / "out").mkdir()
    held.__enter__()
    stage.life.actions = [(4 * MINUTE, partial(held.__exit__, None, None, None))]
    code, said = stage.until_complete("--wait", "72h")
    assert code == Exit.DONE
    busy = [line for line in waits(said) if "another run" in line]
    assert 2 <= len(busy) <= 4
    assert "other" in busy[0]
    # A run that got no bucket leaves no record in the output.
    assert [record["exit_code"] for record in stage.records()] == [75, 75, 0]


def test_another_run_may_outlast_the_wait(stage: Stage) -> None:
    """The last outcome is that of a run that got no bucket."""
    (stage.folder / "out").mkdir()
    with locks.hold(tree_at(stage.folder / "out"), [0], claim("other")):
        code, said = stage.until_complete("--wait", "5m")
    # The other run holds it for months.
    assert code == Exit.ATTENTION
    assert stage.summary["reasons"] == ["locked"]
    assert [item["key"] for item in stage.summary["attention"]] == ["locked"]
    assert 2 <= len(waits(said)) <= 5
    assert stage.life.waited <= 5 * MINUTE


def test_a_wait_that_would_be_too_long_is_not_begun(stage: Stage) -> None:
    """The command ends with 75 at once, because nothing comes within the time that it has."""
    code, said = stage.until_complete("--wait", "12h")
    assert (code, waits(said), stage.life.waited) == (Exit.AGAIN, [], 0)
    assert re.search(
        "unfinished: quota; a run at 2026-05-20T16:05:..Z would be beyond --wait", said
    )
    assert "unfinished: run again from" in said
    assert len(stage.records()) == 1


def test_the_wait_is_a_day_if_none_is_given(stage: Stage) -> None:
    """The third run would begin after it."""
    code, said = stage.until_complete()
    assert (code, len(waits(said))) == (Exit.AGAIN, 1)
    assert stage.life.elapsed() < DAY


@pytest.mark.long
def test_max_duration_bounds_each_run_and_wait_all_of_them(stage: Stage) -> None:
    """A run that is cut short is followed by another one, until the wait ends."""
    stage.write(quota=1000)
    slow = stage.manifest.read_text().replace("rate: 100000/s, burst: 1000", "rate: 1/s, burst: 1")
    stage.manifest.write_text(slow)
    code, said = stage.until_complete("--wait", "80s", "--max-duration", "300ms")
    assert (code, len(waits(said))) == (Exit.AGAIN, 2)
    assert {*map(str, (record["reasons"] for record in stage.records()))} == {"['time_budget']"}
    assert stage.life.waited == pytest.approx(MINUTE)
    # The wait bounds a run that is at work as well, however long that one may take.
    for options in ((), ("--max-duration", "1h")):
        code, said = stage.until_complete("--wait", "300ms", *options)
        assert (code, waits(said), stage.summary["reasons"]) == (Exit.AGAIN, [], ["time_budget"])


def test_the_variables_of_the_options(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for every option."""
    monkeypatch.setenv("HARVESTER_UNTIL_COMPLETE", "1")
    monkeypatch.setenv("HARVESTER_WAIT", "72h")
    assert stage.run()[0] == Exit.DONE
    assert len(stage.records()) == 3


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--wait", "12h"), "--wait works only with --until-complete"),
        (("--until-complete", "--wait", "soon"), "--wait `soon` is not a duration"),
        (("--wait", "12h", "--dry-run"), "--wait works only with --until-complete"),
    ],
)
def test_a_wrong_wait_is_refused(stage: Stage, options: tuple[str, ...], words: str) -> None:
    """Before anything is requested."""
    code, said = stage.run(*options)
    assert code == Exit.USAGE
    assert words in " ".join(said.split())
    assert not stage.world.counters.requests


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_wait_at_once(tmp_path: Path, number: signal.Signals) -> None:
    """With the code of the signal; the outputs of the step are those of the last run.

    Before, SIGUSR1 says what it waits for.
    """
    manifest, outputs = write_manifest(tmp_path, "http://127.0.0.1:9", 1), tmp_path / "outputs"
    command = [*PYTHON, "harvester", "run", str(manifest), "--until-complete"]
    runner = {"GITHUB_ACTIONS": "true", "GITHUB_OUTPUT": str(outputs)}
    (tmp_path / "output").mkdir()
    with locks.hold(tree_at(tmp_path / "output"), [0], claim("other")):
        process = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, env={**ENVIRONMENT, **runner}
        )
        try:
            said = process.stderr
            assert said is not None
            assert any("; waits " in line for line in said)
            process.send_signal(signal.SIGUSR1)
            assert "; waits " in said.readline()
            process.send_signal(number)
            assert process.wait() == 128 + number
            assert said.read() == ""
        finally:
            process.kill()
            process.communicate()
    assert "locked" in outputs.read_text()


def test_a_program_that_is_cancelled_waits_no_longer(stage: Stage) -> None:
    """`run_async` ends in order before the cancellation goes on."""
    waiting = threading.Event()

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "; waits " in record.getMessage():
                waiting.set()

    handler = Listener()
    logger = logging.getLogger("harvester.run")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)

    async def cancelled() -> None:
        with pytest.MonkeyPatch.context() as patch:
            # For ever, but for the cancellation.
            patch.setattr(running, "Waits", lambda: Waits(sleep=lambda event, _: event.wait()))
            call = harvester.run_async(stage.manifest, until_complete=True)
            # The host's own task.
            task = asyncio.create_task(call)  # noqa: TID251
            await asyncio.to_thread(waiting.wait)
            task.cancel()
            await task

    try:
        with pytest.raises(asyncio.CancelledError):
            asyncio.run(cancelled())
    finally:
        logger.removeHandler(handler)
    assert len(stage.records()) == 1


def test_a_program_gets_the_last_result(stage: Stage) -> None:
    """And an event of the end of each run."""
    ended: list[harvester.RunEnded] = []

    def listen(event: harvester.Event) -> None:
        if isinstance(event, harvester.RunEnded):
            ended.append(event)

    done = harvester.run(stage.manifest, until_complete=True, wait="72h", on_event=listen)
    assert [event.exit_code for event in ended] == [75, 75, 0]
    assert (done.outcome, done.run_id) == ("complete", ended[-1].run_id)
    with pytest.raises(harvester.UsageError, match="wait works only with until_complete"):
        harvester.run(stage.manifest, wait="72h")


def test_a_wait_counts_the_time_of_a_suspended_machine() -> None:
    """A sleep that takes longer by the clock than it should ends the wait."""
    now, slept = [100.0], list[float]()

    def sleep(_: threading.Event, seconds: float) -> None:
        slept.append(seconds)
        now[0] += 3_600

    waits = Waits(lambda: now[0], sleep, lambda low, high: (low + high) / 2)
    assert waits.pause(5_000)
    assert slept == [60, 60]
    waits.cancel()
    assert not waits.pause(5_000)


def test_a_run_that_is_due_begins_within_a_minute() -> None:
    """So that it is not repeated at once, and many machines do not begin together."""
    waits = Waits(jitter=lambda _, high: high)
    assert waits.before_next(-5) == JITTER_SECONDS
    assert waits.before_next(70) == 70 + JITTER_SECONDS

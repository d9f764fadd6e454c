"""Processes of a run that die, are told to stop, or lose the one that shares out the work."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import psutil
import pytest

import harvester
from harvester.runs.facts import Counted
from harvester.runs.processes import supervisor
from harvester.runs.record.record import Record
from harvester.sandbox import Rules
from harvester.scheduling.standing import Standing
from tests.support.run_harness import DAILY
from tests.support.shared_runs import (
    Workplace,
    has_ended,
    process_of_shard,
    shard_processes,
    wait_until,
    workplace,
)

LONG = ("2024-09-01", "2026-03-20")
"""So many days that a run under these rules takes some seconds."""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Workplace]:
    """Return a manifest of which each shard has several seconds of work."""
    with workplace(tmp_path, Rules(latency=0.1)) as found:
        found.days = LONG
        found.options = {
            "limits": {"per_token": {"rate": "1000/s", "burst": 100}, "connections": 4}
        }
        yield found


def kill_once_at_work(place: Workplace, times: int, killed: list[int]) -> Callable[[], None]:
    """Return a function that kills the process of the second shard so often, each at its work."""

    def kill() -> None:
        for _ in range(times):
            before = place.calls_of(1)
            wait_until(lambda before=before: place.calls_of(1) > before + 15)  # type: ignore[misc]
            process = process_of_shard("2/2")
            killed.append(process.pid)
            process.kill()

    return kill


def run_with_deaths(
    place: Workplace, times: int, events: list[harvester.Event]
) -> tuple[harvester.Result, list[int]]:
    """Run in two processes, and kill that of the second shard so often."""
    killed: list[int] = []
    killer = threading.Thread(target=kill_once_at_work(place, times, killed))
    killer.start()
    found = harvester.run(place.manifest(), processes=2, on_event=events.append)
    killer.join()
    return found, killed


def ended_at(place: Workplace) -> datetime:
    """Return when the run ended, by its record."""
    return datetime.fromisoformat(place.record()["ended_at"])


@pytest.mark.long
def test_a_process_that_dies_is_started_again(
    place: Workplace, caplog: pytest.LogCaptureFixture
) -> None:
    """Every row is there, the death is told, and the calls of both processes are counted."""
    found, [pid] = run_with_deaths(place, 1, [])
    assert found.outcome == "complete"
    assert found.rows == harvester.open(place.output).arrow(DAILY).count_rows()
    assert found.rows == place.expected_rows()
    [told] = [line for line in caplog.messages if "another one goes on" in line]
    assert told.startswith(f"shard 2/2: its process {pid} was ended by SIGKILL at ")
    shards = place.record()["shards"]
    assert [(shard["deaths"], shard["signal"]) for shard in shards] == [(0, None), (1, "SIGKILL")]
    assert shards[0]["peak_memory"] is None
    assert 10 << 20 < shards[1]["peak_memory"] < 1 << 30
    # Those of the last half second before the death are not known.
    assert 0.8 * place.calls() <= found.requests <= place.calls()
    assert sum(shard["requests"] for shard in shards) == found.requests
    assert not shard_processes()


@pytest.mark.long
def test_a_shard_whose_process_dies_twice_is_reported(place: Workplace) -> None:
    """The other shard is harvested, it is no bug, what to set is said, and a run goes on."""
    events: list[harvester.Event] = []
    found, killed = run_with_deaths(place, 2, events)
    assert (found.exit_code, found.outcome, found.error) == (75, "unfinished", None)
    assert found.reasons == ("died",)
    assert found.retry_at is not None
    assert found.retry_at.replace(microsecond=0) == ended_at(place) + timedelta(minutes=10)
    [problem] = [event for event in events if isinstance(event, harvester.Problem)]
    assert (problem.cause, problem.shard, problem.level) == ("died", "2/2", "error")
    assert f"process {killed[1]} was ended by SIGKILL at " in problem.message
    assert "set --processes 1 or give this run more than " in problem.advice
    shards = place.record()["shards"]
    assert [(shard["outcome"], shard["deaths"]) for shard in shards] == [
        ("complete", 0),
        ("unfinished", 2),
    ]
    assert shards[1]["signal"] == "SIGKILL"
    assert shards[1]["peak_memory"] > 10 << 20
    assert "its process" in shards[1]["error"]
    [row] = found.datasets
    assert row.accounts == 12
    assert 0 < row.days.missing < row.days.wanted / 2
    with pytest.raises(harvester.Unfinished, match="died"):
        found.raise_for_outcome()
    place.world.rules = Rules()
    again = harvester.run(place.manifest(), processes=2)
    assert again.outcome == "complete"
    assert harvester.open(place.output).arrow(DAILY).count_rows() == place.expected_rows()


def stop_at_work(place: Workplace, stopped: list[psutil.Process]) -> threading.Thread:
    """Stop the process of the second shard at its work, in a thread."""

    def stop() -> None:
        wait_until(lambda: place.calls_of(1) > 15)
        stopped.append(process_of_shard("2/2"))
        stopped[0].suspend()

    thread = threading.Thread(target=stop)
    thread.start()
    return thread


@pytest.fixture
def stopped() -> Iterator[list[psutil.Process]]:
    """Processes that the test stops; those that are left end with it."""
    found: list[psutil.Process] = []
    yield found
    for process in found:
        if process.is_running():
            process.kill()


@pytest.fixture
def quick_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ten ticks pass in a second, of which each process still gives one sign of life."""
    monkeypatch.setattr(supervisor, "TICK_SECONDS", 0.1)


@pytest.mark.long
@pytest.mark.usefixtures("quick_ticks")
def test_a_process_that_is_stopped_is_killed_and_another_one_goes_on(
    place: Workplace, stopped: list[psutil.Process], caplog: pytest.LogCaptureFixture
) -> None:
    """It would have kept the run waiting for ever."""
    thread = stop_at_work(place, stopped)
    found = harvester.run(place.manifest(), processes=2)
    thread.join()
    assert found.outcome == "complete"
    assert place.rows() == place.expected_rows()
    whose = f"shard 2/2: its process {stopped[0].pid} gave no sign of life for 60 seconds"
    told = [line for line in caplog.messages if line.startswith(whose)]
    assert told[0] == f"{whose}; it is killed"
    assert told[1].startswith(f"{whose} and was ended by SIGKILL at ")
    assert [shard["deaths"] for shard in place.record()["shards"]] == [0, 1]
    assert not shard_processes()


@pytest.mark.long
@pytest.mark.usefixtures("quick_ticks")
def test_a_process_that_cannot_even_be_killed_is_not_waited_for(
    place: Workplace, stopped: list[psutil.Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that hangs in the kernel: it keeps its locks, so the run ends with 75."""
    killed, kill = list[int](), os.kill

    def spare(pid: int, number: int) -> None:
        """Kill all but the process that was stopped."""
        if number == signal.SIGKILL and pid == stopped[0].pid:
            killed.append(pid)
        else:
            kill(pid, number)

    monkeypatch.setattr(os, "kill", spare)
    thread = stop_at_work(place, stopped)
    found = harvester.run(place.manifest(), processes=2)
    thread.join()
    assert killed == [stopped[0].pid]
    assert (found.exit_code, found.reasons) == (75, ("locked",))
    assert found.retry_at is not None
    assert found.retry_at.replace(microsecond=0) == ended_at(place) + timedelta(minutes=1)
    shards = place.record()["shards"]
    assert [(shard["deaths"], shard["peak_memory"]) for shard in shards] == [(0, None), (1, None)]


@pytest.mark.usefixtures("quick_ticks")
def test_a_run_that_is_to_stop_waits_for_no_stopped_process(
    place: Workplace, stopped: list[psutil.Process]
) -> None:
    """It is killed after a quarter of the time, and none takes its place."""

    async def cancel() -> None:
        # The host's own task.
        task = asyncio.create_task(  # noqa: TID251
            harvester.run_async(place.manifest(), processes=2)
        )
        await asyncio.to_thread(stop_at_work(place, stopped).join)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancel())
    assert not shard_processes()
    record = place.record()
    assert (record["outcome"], record["reasons"]) == ("stopped", ["stopped"])


PROGRAM = """
import json, sys
import harvester
from harvester.runs.processes import supervisor
supervisor.TICK_SECONDS = 0.05
print(harvester.run(json.loads(sys.argv[1]), processes=2).outcome)
"""


@pytest.mark.slow
def test_a_machine_that_is_suspended_kills_no_process(place: Workplace) -> None:
    """All of a run stops for more than the time of so many ticks, and goes on."""
    command = [sys.executable, "-c", PROGRAM, json.dumps(place.manifest())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as run:
        place.wait_for_calls(15)
        tree = [psutil.Process(run.pid), *psutil.Process(run.pid).children(recursive=True)]
        for each in tree:
            each.suspend()
        time.sleep(1.5 * supervisor.SILENT_TICKS * 0.05)
        for each in tree:
            each.resume()
        out, _ = run.communicate()
    assert out == "complete\n"
    assert [shard["deaths"] for shard in place.record()["shards"]] == [0, 0]
    assert place.rows() == place.expected_rows()


def test_the_accounts_of_a_dead_process_are_not_counted_beside_those_of_the_next() -> None:
    """Until its queues are made, and for good if the successor has nothing left to ask."""
    record = Record.begun(Path("jobs.yaml"), 0.0)
    record.take(Counted(standing=Standing(done=1, waiting=2, windows_left=3)))
    record.go_on()
    assert record.standing == Standing()


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGTERM,
        pytest.param(signal.SIGINT, marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, marks=pytest.mark.slow),
    ],
)
def test_a_signal_ends_all_processes_in_order(place: Workplace, number: signal.Signals) -> None:
    """Answers that came are published and recorded, and no process is left."""
    with place.start("--log-format", "json") as run:
        place.wait_for_calls(15)
        children = shard_processes(run.pid)
        run.send_signal(signal.SIGUSR1)
        run.send_signal(number)
        _, err = run.communicate()
    assert run.returncode == 128 + number, err
    assert len(children) == 2
    wait_until(lambda: all(map(has_ended, children)))
    record = place.record()
    assert (record["outcome"], record["state"]) == ("stopped", "finished")
    assert record["rows"] == harvester.open(place.output).arrow(DAILY).count_rows() > 0
    lines = [json.loads(line) for line in err.splitlines()]
    assert (lines[-1]["event"], lines[-1]["shard"]) == ("run_ended", None)
    [told] = [line["message"] for line in lines if line.get("logger") == "harvester.signals"]
    assert all(f"process {child.pid}: " in told for child in children), told
    assert {line["shard"] for line in lines if line["event"] == "published"} == {"1/2", "2/2"}


@pytest.mark.long
def test_no_process_is_left_when_the_first_one_is_killed(place: Workplace) -> None:
    """They publish what they have and end; the next run goes on and records their files."""
    with place.start() as run:
        place.wait_for_calls(15)
        children = shard_processes(run.pid)
        run.kill()
        _, err = run.communicate()
    assert "Traceback" not in err
    assert len(children) == 2
    wait_until(lambda: all(map(has_ended, children)))
    calls = place.calls()
    rows = harvester.open(place.output).arrow(DAILY).count_rows()
    assert rows > 0
    assert not list((place.output / "_harvester/raw").rglob("*.group"))
    place.world.rules = Rules()
    found = harvester.run(place.manifest(), processes=2)
    assert found.outcome == "complete"
    assert found.rows + rows == place.expected_rows()
    assert place.calls() == found.requests + calls
    records = [
        json.loads(path.read_bytes()) for path in (place.output / "_harvester/runs").glob("*.json")
    ]
    assert sorted(record["state"] for record in records) == ["finished", "running"]
    assert place.publishers() == {record["run_id"] for record in records}


def test_a_cancelled_run_ends_all_processes_in_order(place: Workplace) -> None:
    """As one in a single process does."""

    async def cancel() -> None:
        # The host's own task.
        task = asyncio.create_task(  # noqa: TID251
            harvester.run_async(place.manifest(), processes=2)
        )
        await asyncio.to_thread(place.wait_for_calls, 10)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancel())
    assert not shard_processes()
    assert place.record()["outcome"] == "stopped"
    assert [*(place.output / DAILY).iterdir()]


def test_a_process_without_descriptors_says_what_to_raise_or_lower(place: Workplace) -> None:
    """It is no bug, and the next run goes on."""
    place.options = {}

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))

    command = [sys.executable, "-m", "harvester", "run", str(place.path())]
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=limit, check=False)
    assert done.returncode == 75, done.stderr
    assert "ulimit -n, now 32), or lower limits.connections" in done.stderr
    assert "bug" not in done.stderr
    assert place.record()["reasons"] == ["died"]

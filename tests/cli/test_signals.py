"""Signals at every moment: how the process ends, its exit code and its files.

No test measures a time. A call that hangs does so for ever, so a process that ends has not waited
for it; and a process whose grace period is endless, and that ends, has not waited that long.
"""

from __future__ import annotations

import json
import os
import random
import re
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from harvester.core.exit_codes import Exit
from tests.end_to_end.test_kills import (
    ENVIRONMENT,
    PYTHON,
    ends_within,
    rows_told,
    sandbox_process,
    start,
    write_manifest,
)
from tests.support.nights import by_night
from tests.support.run_harness import BOTH, appid, days_between, expected, files_of, published_rows

FOR_EVER = "1000000"
"""A grace period that no test waits for."""

SOON = "1"
"""A grace period that a test waits for, in seconds; of the real one see test_signal_thread.py."""

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def silent_server() -> Iterator[socket.socket]:
    """Serve an address that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as server:
        yield server


def address_of(server: socket.socket) -> str:
    """Return the address of a server."""
    return f"http://127.0.0.1:{server.getsockname()[1]}"


def await_request(server: socket.socket) -> None:
    """Wait until a client has sent something to a silent server."""
    connection, _ = server.accept()
    assert connection.recv(1)
    # Closed, it would be an answer.
    connection.detach()


def hanging(what: str, mark: Path, *arguments: str, grace: str = SOON) -> subprocess.Popen[str]:
    """Start a command that hangs in a given call, and wait until it does."""
    command = [*PYTHON, "tests.support.hanging_call", what, grace, str(mark), *arguments]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT
    )
    await_mark(process, mark)
    return process


def await_mark(process: subprocess.Popen[Any], mark: Path) -> None:
    """Wait until a file exists."""
    while not mark.exists():
        try:
            process.wait(0.02)
        except subprocess.TimeoutExpired:
            continue
        pytest.fail(f"ended with {process.returncode} before {mark.name}")


def stop(process: subprocess.Popen[Any], number: signal.Signals) -> int:
    """Send a signal; return the exit code."""
    process.send_signal(number)
    return process.wait()


def record_of(path: Path) -> dict[str, Any]:
    """Read a run record."""
    found: dict[str, Any] = json.loads(path.read_bytes())
    return found


@pytest.mark.parametrize(
    ("what", "number"),
    [
        ("import:pyarrow", signal.SIGHUP),
        ("harvester.storage.publish:recover", signal.SIGINT),
        *by_night(
            [
                ("import:cyclopts", signal.SIGINT),
                ("harvester.verbs.arguments:read", signal.SIGTERM),
                ("harvester.storage.coverage_scan:read", signal.SIGTERM),
            ]
        ),
    ],
)
def test_before_the_first_request_a_signal_ends_the_run_at_once(
    tmp_path: Path, what: str, number: signal.Signals
) -> None:
    """While it imports, recovers or plans, a run ends at once and without a traceback."""
    manifest = write_manifest(tmp_path, "http://127.0.0.1:9", 1)
    summary = tmp_path / "summary.json"
    options = ("run", str(manifest), "--summary", str(summary))
    with hanging(what, tmp_path / "mark", *options, grace=FOR_EVER) as process:
        code = stop(process, number)
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert code == 128 + number
    if not what.startswith("import:"):
        record = record_of(summary)
        assert (record["exit_code"], record["reasons"]) == (code, ["stopped"])


def test_a_signal_is_told_to_the_runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The outputs of the step are set although the process ends at once."""
    outputs = tmp_path / "outputs"
    runner = {"GITHUB_ACTIONS": "true", "GITHUB_OUTPUT": str(outputs)}
    for name, value in runner.items():
        monkeypatch.setitem(ENVIRONMENT, name, value)
    manifest = write_manifest(tmp_path, "http://127.0.0.1:9", 1)
    what = "harvester.verbs.arguments:read"
    with hanging(what, tmp_path / "mark", "run", str(manifest), grace=FOR_EVER) as process:
        assert stop(process, signal.SIGTERM) == Exit.SIGTERM
    lines = outputs.read_text().splitlines()
    assert "stopped" in lines
    assert "143" in lines


@pytest.mark.parametrize("verb", ["status", *by_night(["plan"])])
def test_other_verbs_end_at_once(tmp_path: Path, verb: str) -> None:
    """The exit code is the signal's, and nothing is printed."""
    manifest = write_manifest(tmp_path, "http://127.0.0.1:9", 1)
    what = "harvester.verbs.arguments:read"
    with hanging(what, tmp_path / "mark", verb, str(manifest), grace=FOR_EVER) as process:
        assert stop(process, signal.SIGINT) == Exit.SIGINT
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_a_hanging_resolver_does_not_delay_the_end(tmp_path: Path) -> None:
    """Requests in flight get their seconds, and the process does not wait for threads."""
    manifest = write_manifest(tmp_path, "https://wechat.invalid", 2)
    with hanging("socket:getaddrinfo", tmp_path / "mark", "run", str(manifest)) as process:
        assert stop(process, signal.SIGINT) == Exit.SIGINT


@pytest.mark.long
@pytest.mark.parametrize(
    "what",
    [
        "harvester.storage.publish:publish",
        *by_night(
            [
                "harvester.storage.coverage_scan:read",
                "harvester.storage.backends.atomic_files:sync",
            ]
        ),
    ],
)
def test_a_hanging_disk_does_not_delay_the_end(
    tmp_path: Path, what: str, duck: duckdb.DuckDBPyConnection
) -> None:
    """The run ends in time while it publishes or scans coverage, and the next run is exact."""
    with sandbox_process() as address:
        manifest = write_manifest(tmp_path, address, 1)
        options = ("run", str(manifest), "--end-date", "2026-02-10")
        with hanging(what, tmp_path / "mark", *options) as process:
            code = stop(process, signal.SIGTERM)
        assert code == Exit.SIGTERM
        records = list((tmp_path / "output/_harvester/runs").glob("*.json"))
        assert [record_of(path)["exit_code"] for path in records] == [code] * len(records)
        assert len(records) == (what != "harvester.storage.backends.atomic_files:sync")
        assert start(manifest).wait() == Exit.DONE
    check_exact(tmp_path / "output", 1, duck)


def check_exact(
    output: Path, accounts: int, duck: duckdb.DuckDBPyConnection, begin: str = "2026-02-01"
) -> None:
    """Compare the files with the expected rows, and the change feed with the files."""
    appids = [appid(number) for number in range(1, accounts + 1)]
    for dataset in BOTH:
        truth = expected(dataset, appids, days_between(begin, "2026-04-01"))
        assert published_rows(duck, output, dataset) == truth
    told = rows_told(output)
    for path in files_of(output):
        assert told[path.relative_to(output).as_posix()] == pq.read_metadata(path).num_rows


def test_ok_exit_covers_signals(tmp_path: Path) -> None:
    """`--ok-exit` covers the codes of signals."""
    manifest = write_manifest(tmp_path, "http://127.0.0.1:9", 1)
    options = ("run", str(manifest), "--ok-exit", "143")
    with hanging("harvester.storage.publish:recover", tmp_path / "mark", *options) as process:
        assert stop(process, signal.SIGTERM) == Exit.DONE


def test_a_second_signal_ends_the_process_at_once(tmp_path: Path) -> None:
    """Requests in flight are dropped, and the code is the second signal's."""
    with silent_server() as server:
        manifest = write_manifest(tmp_path, address_of(server), 2)
        what = ["tests.support.hanging_call", "nothing", FOR_EVER, "none", "run", str(manifest)]
        with subprocess.Popen(
            [*PYTHON, *what], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ENVIRONMENT
        ) as run:
            await_request(server)
            run.send_signal(signal.SIGINT)
            assert not ends_within(run, 0.3)
            assert stop(run, signal.SIGTERM) == Exit.SIGTERM


def test_the_summary_after_ctrl_c_names_what_was_pending(tmp_path: Path) -> None:
    """By datasets with their days and accounts, as many days as are in the record."""
    command = [*PYTHON, "harvester", "run", str(tmp_path / "jobs.yaml"), "--progress", "log"]
    with sandbox_process("--latency", "0.05") as address:
        write_manifest(tmp_path, address, 2, "2025-09-01")
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT) as run:
            raw = tmp_path / "output/_harvester/raw"
            while not list(raw.glob("*/*")):
                assert not ends_within(run, 0.02)
            run.send_signal(signal.SIGINT)
            said = run.communicate()[1]
    assert run.returncode == Exit.SIGINT
    [path] = (tmp_path / "output/_harvester/runs").glob("*.json")
    days = sum(each["account_days"] for each in record_of(path)["pending"])
    assert days > 100
    one_line = " ".join(said.split())
    told = rf"pending: {days:,} days .*\binterface_summary_hour 2025-09-01\.\.\S+ [\d,]+ days of "
    assert re.search(f"{told}{appid(1)}, {appid(2)} ", one_line), said


def test_signals_as_a_ci_runner_sends_them(tmp_path: Path) -> None:
    """A step of a CI runner that uses `exec` ends in order after SIGINT, without the SIGTERM.

    The server never answers.
    """
    script = tmp_path / "step.sh"
    with silent_server() as server:
        manifest = write_manifest(tmp_path, address_of(server), 2)
        run = f"tests.support.hanging_call nothing {FOR_EVER} none run {manifest} --progress log"
        script.write_text(f"exec {sys.executable} -m {run}\n")
        shell = ["/bin/bash", "--noprofile", "--norc", "-e", "-o", "pipefail", str(script)]
        with subprocess.Popen(shell, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT) as step:
            await_request(server)
            step.send_signal(signal.SIGINT)
            said = step.communicate()[1]
    assert step.returncode == Exit.SIGINT
    assert "stopped: what was harvested is safe; run again now" in said
    assert "Traceback" not in said


def test_child_processes_receive_signals(tmp_path: Path) -> None:
    """A child process neither blocks nor ignores the signals."""
    told = tmp_path / "status"
    helper = tmp_path / "helper.sh"
    lines = ("#!/bin/sh", f"cat /proc/self/status > {told}.new", f"mv {told}.new {told}")
    helper.write_text("\n".join((*lines, "echo secret\n")))
    helper.chmod(0o755)
    with sandbox_process() as address:
        manifest = write_manifest(tmp_path, address, 1)
        text = manifest.read_text()
        command = f"{{token_command: [{helper}]}}"
        manifest.write_text(text.replace('{secret: "${SECRET}"}', command))
        run = start(manifest)
        await_mark(run, told)
        run.kill()
        run.wait()
    status = dict(line.split(":\t", 1) for line in told.read_text().splitlines() if ":\t" in line)
    ours = sum(1 << number - 1 for number in SIGNALS)
    assert int(status["SigBlk"], 16) & ours == 0
    assert int(status["SigIgn"], 16) & ours == 0


def test_sighup_is_ignored_under_nohup(tmp_path: Path) -> None:
    """SIGHUP stays ignored under `nohup`, and SIGTERM still ends the run."""
    with silent_server() as server:
        manifest = write_manifest(tmp_path, address_of(server), 1)
        command = ["nohup", *PYTHON, "harvester", "run", str(manifest), "--progress", "none"]
        with subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ENVIRONMENT
        ) as run:
            await_mark(run, tmp_path / "output/_harvester/locks/0000-of-0001.lock")
            run.send_signal(signal.SIGHUP)
            assert not ends_within(run, 0.5)
            run.send_signal(signal.SIGTERM)
            run.send_signal(signal.SIGINT)
            assert run.wait() in {Exit.SIGTERM, Exit.SIGINT}


def stop_at_random(tmp_path: Path, duck: duckdb.DuckDBPyConnection, times: int, begin: str) -> None:
    """Send signals at random moments of a long run; the last run must end exactly."""
    seed = random.randrange(2**32)
    dice = random.Random(seed)
    with sandbox_process("--latency", "0.02", "--fault-rate", "0.05") as address:
        manifest = write_manifest(tmp_path, address, 4)
        manifest.write_text(manifest.read_text().replace("2026-02-01", begin))
        for _ in range(times):
            number = dice.choice(SIGNALS)
            run = start(manifest)
            assert not ends_within(run, dice.uniform(0.3, 4.0)), f"seed {seed}"
            assert stop(run, number) == 128 + number, f"seed {seed}"
        assert start(manifest).wait() == Exit.DONE
    check_exact(tmp_path / "output", 4, duck, begin)


@pytest.mark.long
def test_a_signal_at_a_random_moment(tmp_path: Path, duck: duckdb.DuckDBPyConnection) -> None:
    """At any moment the code is the signal's, and the next run is exact."""
    stop_at_random(tmp_path, duck, 1, "2025-09-01")


@pytest.mark.slow
def test_signals_at_twenty_random_moments(tmp_path: Path, duck: duckdb.DuckDBPyConnection) -> None:
    """Twenty signals at random moments leave the output exact."""
    stop_at_random(tmp_path, duck, 20, "2024-08-01")


@pytest.mark.long
@pytest.mark.parametrize("style", ["bar", *by_night(["log"])])
def test_a_terminal_that_goes_away_ends_the_run_in_order(tmp_path: Path, style: str) -> None:
    """After SIGHUP every write to the terminal fails; the answers are published and recorded."""
    with sandbox_process("--latency", "0.05") as address:
        manifest = write_manifest(tmp_path, address, 2)
        ours, theirs = os.openpty()
        command = [*PYTHON, "harvester", "run", str(manifest), "--progress", style]
        with subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, env=ENVIRONMENT
        ) as run:
            os.close(theirs)
            raw = tmp_path / "output/_harvester/raw"
            while not list(raw.glob("*/*")):
                assert not ends_within(run, 0.02)
                drain(ours)
            os.close(ours)
            assert stop(run, signal.SIGHUP) == Exit.SIGHUP
    assert list(files_of(tmp_path / "output"))
    [record] = (tmp_path / "output/_harvester/runs").glob("*.json")
    found = record_of(record)
    assert (found["exit_code"], found["reasons"]) == (Exit.SIGHUP, ["stopped"])
    assert found["published"]


def drain(terminal: int) -> None:
    """Read the output of a terminal, so that its buffer never fills up."""
    if select.select([terminal], [], [], 0.02)[0]:
        os.read(terminal, 4096)

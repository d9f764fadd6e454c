"""Several runs at once in the same buckets of an object store: processes, signals, real seconds."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import duckdb
import pytest

from harvester.cli import invoke
from harvester.core.config.settings import Output
from harvester.core.exit_codes import Exit
from harvester.storage.backends.base import read_bytes
from harvester.storage.layout import Tree, open_tree
from tests.end_to_end.test_kills import ENVIRONMENT, PYTHON
from tests.support.counting_wechat import StrictRules
from tests.support.faulty_wechat import FaultyWeChat
from tests.support.run_harness import BOTH, appid, days_between, expected, published_rows
from tests.support.sandboxes import serve_in_thread
from tests.support.store_backends import CREDENTIALS, conditions_sent, download

ACCOUNTS = 3
CONCURRENCY = 2
BEGIN, END = "2026-02-01", "2026-04-01"
"""Sixty days: six seconds of work, so that a run is at it when another one has started."""

MANIFEST = """
version: 1
api: {{base_url: "{address}"}}
defaults: {{credential: {{secret: "${{SECRET}}"}}}}
accounts: [{accounts}]
jobs:
  - datasets: [interface_summary, interface_summary_hour]
    begin_date: {begin}
    end_date: {end}
limits: {{per_token: {{rate: 10/s, concurrency: {concurrency}}}}}
output: {{path: "{path}", endpoint: "{endpoint}", buckets: 2, lease: {lease}s}}
"""
UNDURABLE = 2.0 * 10 * ACCOUNTS
"""Calls whose answers a run may lose when it dies: those of the seconds between two raw groups."""


@dataclass
class Laboratory:
    """A manifest, an emulator that counts the calls, and the runs that were started."""

    folder: Path
    wechat: FaultyWeChat
    output: Output
    lease: int
    end: str
    runs: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def tree(self) -> Tree:
        """The tree of the output."""
        return open_tree(self.output)

    @property
    def calls(self) -> int:
        """The number of data calls so far."""
        return sum(self.wechat.counters.calls.values())

    @property
    def windows(self) -> int:
        """The number of calls that one clean run makes."""
        days = len(days_between(BEGIN, self.end))
        return ACCOUNTS * (days + days // 30)

    def start(self, name: str) -> subprocess.Popen[str]:
        """Start a run that waits for others, with a summary of this name."""
        command = [*PYTHON, "harvester", "run", "jobs.yaml", "--progress", "none"]
        run = subprocess.Popen(
            [*command, "--lock-timeout", "2m", "--summary", f"{name}.json"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder,
            env={**ENVIRONMENT, **CREDENTIALS, "TMPDIR": str(self.folder)},
        )
        self.runs.append(run)
        return run

    def start_waiting(self, name: str) -> subprocess.Popen[str]:
        """Start a run, and return once it waits for the run that holds the buckets."""
        run = self.start(name)
        lines: IO[str] = run.stderr  # type: ignore[assignment]
        assert any("waiting until" in line for line in lines)
        return run

    def record(self, name: str) -> dict[str, Any]:
        """Return the record of a run."""
        found: dict[str, Any] = json.loads((self.folder / f"{name}.json").read_bytes())
        return found

    def holder(self) -> str:
        """Return the run that holds the first bucket."""
        data = read_bytes(self.tree.store, "_harvester/locks/0000-of-0002.lease") or b"{}"
        return str(json.loads(data).get("run"))

    def assert_exact(self, duck: duckdb.DuckDBPyConnection) -> None:
        """Check that the files hold every row once and are undamaged."""
        download(self.tree.store, self.folder / "copy")
        for dataset in BOTH:
            appids = [appid(number) for number in range(1, ACCOUNTS + 1)]
            truth = expected(dataset, appids, days_between(BEGIN, self.end))
            assert published_rows(duck, self.folder / "copy", dataset) == truth
        assert invoke(["verify", str(self.folder / "jobs.yaml")]) == Exit.DONE


@contextmanager
def laboratory(folder: Path, output: Output, lease: int, end: str = END) -> Iterator[Laboratory]:
    """Serve an emulator whose limit is that of the manifest; end what was started."""
    wechat = FaultyWeChat(StrictRules(window_limit=(10, 1.0)), time.time)
    accounts = ", ".join(f"{{appid: {appid(number)}}}" for number in range(1, ACCOUNTS + 1))
    with serve_in_thread(wechat) as address:
        text = MANIFEST.format(
            address=address,
            accounts=accounts,
            begin=BEGIN,
            end=end,
            concurrency=CONCURRENCY,
            path=output.path,
            endpoint=output.endpoint,
            lease=lease,
        )
        (folder / "jobs.yaml").write_text(text)
        found = Laboratory(folder, wechat, output, lease, end)
        try:
            yield found
        finally:
            for run in found.runs:
                run.kill()
                run.communicate()


def until(is_so: Callable[[], bool]) -> None:
    """Wait until something is so."""
    end = time.monotonic() + 300
    while not is_so():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


@pytest.mark.long
def test_two_full_attempts_at_once(
    tmp_path: Path, s3_output: Output, duck: duckdb.DuckDBPyConnection
) -> None:
    """The calls equal the windows: the second attempt waits, and finds everything covered."""
    with laboratory(tmp_path, s3_output, 8, end="2026-03-02") as lab:
        runs = [lab.start(name) for name in ("one", "two")]
        assert [run.wait() for run in runs] == [Exit.DONE, Exit.DONE]
        assert lab.calls == lab.windows
        assert set(lab.wechat.windows.values()) == {1}
        assert lab.wechat.counters.errcodes[45011] == 0
        requests = sorted(lab.record(name)["requests"] for name in ("one", "two"))
        assert requests == [0, lab.windows]
        lab.assert_exact(duck)
        puts = conditions_sent(s3_output)
        leases = [each for name in puts if name.endswith(".lease") for each in puts[name]]
        assert leases
        assert all(leases), "a lease was put without a condition"


@pytest.mark.long
def test_a_holder_that_is_killed(
    tmp_path: Path, s3_output: Output, duck: duckdb.DuckDBPyConnection
) -> None:
    """A waiting run takes over, and completes the files; test_lease.py says after how long."""
    with laboratory(tmp_path, s3_output, 4) as lab:
        dead = lab.start("dead")
        until(lambda: lab.calls > 0)
        heir = lab.start_waiting("heir")
        until(lambda: lab.calls >= 20)
        first = lab.holder()
        dead.kill()
        until(lambda: lab.holder() != first)
        assert heir.wait() == Exit.DONE
        assert lab.windows <= lab.calls <= lab.windows + UNDURABLE
        assert lab.wechat.counters.errcodes[45011] == 0
        lab.assert_exact(duck)


@pytest.mark.slow
def test_a_holder_that_is_stopped_for_longer_than_its_lease(
    tmp_path: Path, s3_output: Output, duck: duckdb.DuckDBPyConnection
) -> None:
    """It starts no request when it wakes, publishes what it has, and ends with 75."""
    with laboratory(tmp_path, s3_output, 4) as lab:
        sleeper = lab.start("sleeper")
        until(lambda: lab.calls > 0)
        heir = lab.start_waiting("heir")
        until(lambda: lab.calls >= 20)
        first, calls = lab.holder(), lab.calls
        sleeper.send_signal(signal.SIGSTOP)
        until(lambda: lab.holder() != first)
        # The other run is at work when this one wakes.
        until(lambda: lab.calls > calls + 20)
        sleeper.send_signal(signal.SIGCONT)
        assert sleeper.wait() == Exit.AGAIN
        assert lab.record("sleeper")["reasons"] == ["lease"]
        assert heir.wait() == Exit.DONE
        in_flight = CONCURRENCY * ACCOUNTS
        assert lab.wechat.counters.errcodes[45011] <= in_flight
        assert max(lab.wechat.peak_load().values()) <= 10 + CONCURRENCY
        assert lab.calls <= lab.windows + UNDURABLE + in_flight
        lab.assert_exact(duck)

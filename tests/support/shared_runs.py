"""Runs in several processes over real HTTP, against an emulator whose counters tests can check."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

import harvester
from harvester.core.calendar import parse_day
from harvester.core.config.settings import Output
from harvester.core.model import bucket_of
from harvester.sandbox import Rules
from harvester.sandbox.calls import Reply, Request
from harvester.sandbox.data import expected_rows
from harvester.storage.layout import open_tree
from tests.support.faulty_wechat import FaultyWeChat
from tests.support.output_helpers import entries_of_logs
from tests.support.run_harness import DAILY, appid
from tests.support.sandboxes import serve_in_thread

BUCKETS = 4
BEGIN, END = "2026-03-01", "2026-03-20"
SECRET = "c4n4rySecretOfShards"


class RecordingWeChat(FaultyWeChat):
    """An emulator that notes from when to when each data call is in flight."""

    def __init__(self, rules: Rules, clock: Callable[[], float]) -> None:
        super().__init__(rules, clock)
        self.flights: list[tuple[float, float]] = []

    def answer(self, request: Request) -> Reply:
        """Answer, and note how long that takes."""
        reply = super().answer(request)
        if request.path.startswith("/datacube/"):
            now = time.monotonic()
            self.flights.append((now, now + reply.delay))
        return reply

    def most_in_flight(self) -> int:
        """Return the most data calls that were in flight at once."""
        moments = [(begin, 1) for begin, _ in self.flights] + [(end, -1) for _, end in self.flights]
        most = now = 0
        for _, change in sorted(moments):
            now += change
            most = max(most, now)
        return most


@dataclass
class Workplace:
    """A manifest of twelve accounts in four buckets, and the emulator that it is about.

    ``options`` replaces members of the manifest.
    """

    folder: Path
    world: RecordingWeChat
    address: str
    days: tuple[str, str] = (BEGIN, END)
    accounts: int = 12
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def output(self) -> Path:
        """The folder of the output."""
        return self.folder / "out"

    @property
    def appids(self) -> list[str]:
        """The accounts."""
        return [appid(number) for number in range(1, self.accounts + 1)]

    def manifest(self) -> dict[str, Any]:
        """Return the manifest as a mapping; each account has a secret of its own in a file."""
        self.folder.joinpath("secret").write_text(SECRET)
        self.folder.joinpath("secret").chmod(0o600)
        return {
            "version": 1,
            "api": {"base_url": self.address},
            "defaults": {"credential": {"secret": f"${{file:{self.folder}/secret}}"}},
            "accounts": [{"appid": each} for each in self.appids],
            "jobs": [{"datasets": [DAILY], "begin_date": self.days[0], "end_date": self.days[1]}],
            "limits": {"per_token": {"rate": "10000/s", "burst": 1000}},
            "output": {"path": str(self.output), "buckets": BUCKETS},
            **self.options,
        }

    def path(self) -> Path:
        """Write the manifest to a file."""
        path = self.folder / "jobs.yaml"
        path.write_text(json.dumps(self.manifest()))
        return path

    def expected_rows(self) -> int:
        """Return the number of rows that a harvest must find."""
        days = range(parse_day(self.days[0]), parse_day(self.days[1]) + 1)
        return sum(len(expected_rows(DAILY, each, day)) for each in self.appids for day in days)

    def rows(self) -> int:
        """Return the number of rows in the output."""
        found = (self.output / DAILY).is_dir()
        return harvester.open(self.output).arrow(DAILY).count_rows() if found else 0

    def record(self) -> Any:
        """Return the only run record."""
        [path] = (self.output / "_harvester/runs").glob("*.json")
        return json.loads(path.read_bytes())

    def publishers(self) -> set[str]:
        """Return the ids of the runs that have replaced files, by the change logs."""
        return {entry.run_id for entry in entries_of_logs(open_tree(Output(self.output)).store)}

    def start(self, *options: str, **environ: str) -> subprocess.Popen[str]:
        """Start a run in two processes, as a scheduler does."""
        command = [sys.executable, "-m", "harvester", "run", str(self.path()), "--processes", "2"]
        return subprocess.Popen(
            [*command, *options],
            env={**os.environ, **environ, "PYTHONPATH": str(Path.cwd())},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def calls(self) -> int:
        """Return the number of data calls so far."""
        return sum(self.world.counters.calls.values())

    def wait_for_calls(self, count: int) -> None:
        """Wait until the accounts of both shards have had so many calls each."""
        until = time.monotonic() + 300
        while min(self.calls_of(shard) for shard in (0, 1)) < count:
            assert time.monotonic() < until, self.world.counters.calls
            time.sleep(0.01)

    def calls_of(self, shard: int) -> int:
        """Return the number of data calls of one of two shards."""
        calls = self.world.counters.calls
        mine = (each for each in self.appids if bucket_of(each, BUCKETS) % 2 == shard)
        return sum(calls[each] for each in mine)


@contextmanager
def workplace(
    folder: Path, rules: Rules | None = None, *, clock: Callable[[], float] = time.time
) -> Iterator[Workplace]:
    """Serve an emulator while the block runs, and yield a manifest that it answers."""
    world = RecordingWeChat(rules or Rules(), clock)
    with serve_in_thread(world) as address:
        yield Workplace(folder, world, address)


def shard_processes(pid: int | None = None) -> list[psutil.Process]:
    """Return the processes that harvest shards of a run: forked by its forkserver."""
    servers = [
        each
        for each in psutil.Process(pid).children()
        if any("forkserver" in word for word in each.cmdline())
    ]
    return [child for server in servers for child in server.children()]


def process_of_shard(name: str, pid: int | None = None) -> psutil.Process:
    """Return the process of a shard, by the bucket that it has locked: shard 2/2 locks 1 and 3."""
    lock = {"1/2": "0000-of-0004.lock", "2/2": "0001-of-0004.lock"}[name]
    for process in shard_processes(pid):
        if any(Path(file.path).name == lock for file in process.open_files()):
            return process
    raise LookupError(name)


def has_ended(process: psutil.Process) -> bool:
    """Return whether a process is gone, or waits for nothing but to be noticed."""
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def wait_until(condition: Callable[[], bool], seconds: float = 300) -> None:
    """Wait until a condition is met."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def without_times(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members of a record that do not depend on when and by how many it was made."""
    times = {"started_at", "ended_at", "seconds", "bound_seconds", "waits"}
    others = {"run_id", "manifest", "shards", "published"}
    plain = json.loads(json.dumps(record))
    return {name: value for name, value in plain.items() if name not in times | others}

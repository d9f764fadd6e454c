"""The command line on a manifest whose WeChat is an emulator that tests can check."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from harvester.cli import invoke
from tests.support.faulty_wechat import FaultyWeChat
from tests.support.run_harness import appid
from tests.support.sandboxes import serve_in_thread

CONCURRENCY = 8
"""Requests of one account in flight."""

MANIFEST = """
version: 1
api: {{base_url: "{address}"}}
defaults: {{credential: {{secret: "${{COMMANDS_SECRET}}"}}}}
accounts: [{accounts}]
jobs:
  - datasets: [{datasets}]
    begin_date: {begin}
    end_date: {end}
limits: {{per_token: {{rate: 100000/s, burst: 1000, concurrency: {concurrency}}}}}
retry: {{max_attempts: 2, initial_delay: 1ms, max_delay: 2ms}}
output: out
"""


class CommandResult(NamedTuple):
    """The exit code and the output of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The standard output, decoded as JSON."""
        return json.loads(self.out)


@dataclass
class CommandLine:
    """Commands on one manifest; ``world`` is the emulator that they call."""

    manifest: Path
    world: FaultyWeChat
    capsys: pytest.CaptureFixture[str]

    @property
    def output(self) -> Path:
        """The output tree."""
        return self.manifest.parent / "out"

    def __call__(self, verb: str, *options: str) -> CommandResult:
        self.capsys.readouterr()
        code = invoke([verb, str(self.manifest), *options])
        return CommandResult(code, *self.capsys.readouterr())

    def record(self) -> Any:
        """Return the newest run record."""
        folder = self.output / "_harvester" / "runs"
        # Not by name: two runs may begin in the same second.
        newest = max(folder.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
        return json.loads(newest.read_text())

    def calls(self) -> int:
        """Return the number of data calls since the start."""
        return sum(self.world.counters.calls.values())


@dataclass(frozen=True, slots=True)
class JobScope:
    """The datasets, days and number of accounts of a manifest."""

    datasets: Sequence[str]
    begin: str
    end: str
    accounts: int = 2


@contextmanager
def command_line(
    folder: Path,
    scope: JobScope,
    world: FaultyWeChat,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[CommandLine]:
    """Serve an emulator, write a manifest of the scope, and yield the command line on it."""
    names = ", ".join(f"{{appid: {appid(number)}}}" for number in range(1, scope.accounts + 1))
    with serve_in_thread(world) as address:
        manifest = folder / "jobs.yaml"
        manifest.write_text(
            MANIFEST.format(
                address=address,
                accounts=names,
                datasets=", ".join(scope.datasets),
                begin=scope.begin,
                end=scope.end,
                concurrency=CONCURRENCY,
            )
        )
        yield CommandLine(manifest, world, capsys)

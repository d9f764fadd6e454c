"""The command line, typed at a manifest whose WeChat is a sandbox that tests can question."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from harvester.cli import invoke
from harvester.sandbox import FakeWeChat
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
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, as JSON."""
        return json.loads(self.out)


@dataclass
class CommandLine:
    """Verbs over one manifest. ``world`` is its WeChat."""

    manifest: Path
    world: FakeWeChat
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
        """The newest run record."""
        folder = self.output / "_harvester" / "runs"
        # Not by name: two runs may begin in the same second.
        newest = max(folder.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
        return json.loads(newest.read_text())

    def calls(self) -> int:
        """How many data calls were ever made."""
        return sum(self.world.counters.calls.values())


@dataclass(frozen=True, slots=True)
class JobScope:
    """What a manifest asks for."""

    datasets: Sequence[str]
    begin: str
    end: str
    accounts: int = 2


@contextmanager
def command_line(
    folder: Path,
    wanted: JobScope,
    world: FakeWeChat,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[CommandLine]:
    """Serve the world, and write a manifest that asks it for what is wanted."""
    names = ", ".join(f"{{appid: {appid(number)}}}" for number in range(1, wanted.accounts + 1))
    with serve_in_thread(world) as address:
        manifest = folder / "jobs.yaml"
        manifest.write_text(
            MANIFEST.format(
                address=address,
                accounts=names,
                datasets=", ".join(wanted.datasets),
                begin=wanted.begin,
                end=wanted.end,
                concurrency=CONCURRENCY,
            )
        )
        yield CommandLine(manifest, world, capsys)

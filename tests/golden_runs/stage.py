"""A stage for golden runs: a folder, a manifest, an emulator, and commands that are written down.

Each scene but those on Spark is played twice, because the text of a run and its JSON events are
never on stderr at the same time.
"""

from __future__ import annotations

import io
import json
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias

import anyio
import pytest

from harvester.cli import invoke
from harvester.core.calendar import instant, parse_day
from harvester.sandbox import Rules
from tests.golden_runs import virtual_clock
from tests.support.fast_loop import FastLoop
from tests.support.faulty_wechat import FaultyWeChat
from tests.support.sandboxes import serve_in_thread

TODAY = "2026-05-20"
SECRET = "g0ldenSecretOfTheRuns"
DAILY = "interface_summary"
HOURLY = "interface_summary_hour"

Form: TypeAlias = Literal["json", "text"]

_ENVIRONMENT = {"GOLDEN_SECRET": SECRET, "GOLDEN_TOKEN": "another", "TZ": "UTC", "COLUMNS": "160"}
_REMOVED = ("CI", "GITHUB_", "HARVESTER_", "KUBERNETES_", "NO_COLOR", "FORCE_COLOR")
_PATIENCE = 300.0


def appid(number: int) -> str:
    """Return the appid of the account with this number."""
    return f"wx{number:016x}"


@dataclass(frozen=True, slots=True)
class Ended:
    """A command that has ended: its words, its exit code, what it said and wrote."""

    words: tuple[str, ...]
    code: int
    err: str
    summary: dict[str, Any] | None
    record: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Harvest:
    """A harvest on Spark that has ended: its options, its rows or its error, the new records."""

    options: Mapping[str, Any]
    rows: list[dict[str, Any]] | None
    error: dict[str, Any] | None
    records: list[dict[str, Any]]


@dataclass
class Stage:
    """A folder with a manifest, an emulator, and the commands and harvests on Spark so far.

    ``manifest`` is written before each command. ``hidden`` are texts of this machine, with what
    stands for them in a golden file.
    """

    form: Form
    folder: Path
    address: str
    world: FaultyWeChat
    manifest: dict[str, Any]
    ended: list[Ended] = field(default_factory=list)
    harvests: list[Harvest] = field(default_factory=list)
    hidden: dict[str, str] = field(default_factory=dict)

    def days(self, begin: str, end: str) -> None:
        """Let the only job want other days."""
        self.manifest["jobs"][0] |= {"begin_date": begin, "end_date": end}

    def accounts(self, count: int) -> None:
        """Let the manifest have so many accounts."""
        self.manifest["accounts"] = [{"appid": appid(each)} for each in range(1, count + 1)]

    def at(self, day: str, minute: float = 12 * 60, *, factor: float = 1.0) -> None:
        """Set the clock of WeChat and of this machine to a minute of a Beijing day."""
        virtual_clock.set_clock(instant(parse_day(day)) + minute * 60.0, factor)

    def run(self, *options: str) -> None:
        """Carry out ``harvester run``, and write down what became of it."""
        words, before = self._words(options), self.records()
        out, err = _Stream(), _Stream()
        with redirect_stdout(out), redirect_stderr(err), _loops(virtual_clock.factor()):
            code = invoke(words)
        self._write_down(options, before, code, err.text)

    def start(self, *options: str) -> subprocess.Popen[str]:
        """Start a run as a process of its own, for `finish`."""
        return subprocess.Popen(
            [sys.executable, "-m", "harvester", *self._words(options)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def finish(self, process: subprocess.Popen[str], *options: str) -> None:
        """Wait for the end of a process with these options, and write down what became of it."""
        _, err = process.communicate(timeout=_PATIENCE)
        self.hide(process.pid)
        self._write_down(options, set(), process.returncode, err)

    def hide(self, pid: int) -> None:
        """Leave the id of a process out of the golden file."""
        self.hidden[str(pid)] = "<pid>"

    def run_in_processes(self, *options: str) -> None:
        """Carry out a run as a process, which starts others."""
        before = self.records()
        process = self.start("--processes", "2", *options)
        _, err = process.communicate(timeout=_PATIENCE)
        self._write_down(("--processes", "2", *options), before, process.returncode, err)

    def calls(self) -> int:
        """Return the number of data calls that the emulator has had."""
        return sum(self.world.counters.calls.values())

    def wait_for_calls(self, count: int) -> None:
        """Wait until the emulator has had so many data calls."""
        until = time.monotonic() + _PATIENCE
        while self.calls() < count:
            if time.monotonic() > until:
                raise TimeoutError(self.world.counters.calls)
            time.sleep(0.01)

    def write_manifest(self) -> None:
        """Write the manifest to its file."""
        text = json.dumps(self.manifest, ensure_ascii=False, indent=1)
        (self.folder / "jobs.yaml").write_text(text)

    def records(self) -> set[Path]:
        """Return the files of the run records."""
        return set((self.folder / "out/_harvester/runs").glob("*.json"))

    def _words(self, options: tuple[str, ...]) -> list[str]:
        self.write_manifest()
        self._summary.unlink(missing_ok=True)
        form = ("--log-format", "json") if self.form == "json" else ("--progress", "none")
        return ["run", "jobs.yaml", *form, "--summary", "summary.json", *options]

    @property
    def _summary(self) -> Path:
        return self.folder / "summary.json"

    def _write_down(self, options: tuple[str, ...], before: set[Path], code: int, err: str) -> None:
        summary = json.loads(self._summary.read_bytes()) if self._summary.exists() else None
        new = self.records() - before
        named = [path for path in new if summary and summary["run_id"] in path.name]
        record = json.loads(named[0].read_bytes()) if named else None
        self.ended.append(Ended(options, code, err, summary, record))


class _Stream(io.TextIOWrapper):
    """A stream that keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", newline="", write_through=True)

    @property
    def text(self) -> str:
        """The text so far."""
        buffer = self.buffer
        assert isinstance(buffer, io.BytesIO)
        return buffer.getvalue().decode()


@contextmanager
def _loops(factor: float) -> Iterator[None]:
    """Let event loops go as fast as the clock while the block runs."""
    with pytest.MonkeyPatch.context() as patch:
        if factor != 1.0:
            options = {"loop_factory": partial(FastLoop, factor)}
            patch.setattr(anyio, "run", partial(anyio.run, backend_options=options))
        yield


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Give the commands of the block an environment that does not depend on where they run."""
    before = dict(os.environ)
    for name in before:
        if name.startswith(_REMOVED):
            del os.environ[name]
    os.environ |= {**_ENVIRONMENT, **variables}
    time.tzset()
    try:
        yield
    finally:
        os.environ.clear()
        os.environ |= before
        time.tzset()


@contextmanager
def stage(form: Form, folder: Path, rules: Rules) -> Iterator[Stage]:
    """Serve an emulator with these rules, and yield a stage on which three accounts stand."""
    virtual_clock.set_clock(float(instant(parse_day(TODAY), 12 * 60)))
    random.seed(0)
    world = FaultyWeChat(rules, time.time)
    here = Path.cwd()
    os.chdir(folder)
    try:
        with environment({}), serve_in_thread(world) as address:
            manifest = {
                "version": 1,
                "api": {"base_url": address, "timeout": "120s"},
                "defaults": {"credential": {"secret": "${GOLDEN_SECRET}"}},
                "accounts": [],
                "jobs": [{"datasets": [DAILY], "begin_date": "", "end_date": ""}],
                "limits": {
                    "per_token": {"rate": "100000/s", "burst": 1000, "concurrency": 1},
                    "connections": 1,
                },
                "retry": {"max_attempts": 2, "initial_delay": "1ms", "max_delay": "2ms"},
                "output": {"path": "out"},
            }
            made = Stage(form, folder, address, world, manifest)
            made.hidden |= {
                address.removeprefix("http://"): "<address>",
                str(folder): "<folder>",
                socket.gethostname(): "<host>",
                str(os.getpid()): "<pid>",
            }
            made.accounts(3)
            made.days("2026-05-01", "2026-05-03")
            yield made
    finally:
        os.chdir(here)

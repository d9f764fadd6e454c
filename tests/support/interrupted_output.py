"""An output in the middle of its work: killed runs, a killed check and rewrite, damage, repairs.

``python -m tests.support.interrupted_output FOLDER`` makes it, with `jobs.yaml` and
`platform.yaml`, out of commands on three days:

- 2026-05-08: a run, killed before its first data file; a raw group is damaged; a run, which ends
  with a quarantined day.
- 2026-05-09: a data file is damaged; a verification with repair.
- 2026-05-10: a rewrite into ``fresh``, killed before its fourth data file; checks of both
  manifests; a run of three datasets, killed before its third data file; twenty forced refreshes of
  an account; a check, killed before it noted its calls.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from harvester.cli import invoke
from harvester.core.calendar import Day, instant, parse_day
from harvester.sandbox import Rules
from harvester.sandbox.data import Row, expected_rows
from harvester.storage.backends.local import LocalStore
from harvester.storage.layout import Tree
from harvester.storage.state import forced_refreshes
from tests.support.cli import CommandResult
from tests.support.faulty_wechat import AskedWindow, FaultyWeChat
from tests.support.sandboxes import serve_in_thread

DATASETS = ("interface_summary", "user_summary", "interface_summary_hour", "article_total_detail")
ACCOUNTS = [f"wx00000000000000{number}" for number in ("01", "03", "05", "06", "25")]
BUSY, SPOILT, *_, QUIET = ACCOUNTS
UNFIT = ("user_summary", SPOILT, parse_day("2026-04-29"))
"""The day that is in quarantine."""

UNASKED = "interface_summary_hour"
"""The dataset that the run did not ask for that was killed last."""

QUOTA = 24
PLATFORM = "wx00000000000000ff"
DIED = 9

JOBS = """version: 1
api: {base_url: "${WECHAT}"}
defaults: {credential: {secret: "${SECRET}"}}
accounts:
  - {appid: wx0000000000000001, name: Busy}
  - {appid: wx0000000000000003, name: Quarantined}
  - {appid: wx0000000000000005, name: Small}
  - {appid: wx0000000000000006, name: Ordinary}
  - {appid: wx0000000000000025, name: Quiet}
jobs:
  - {datasets: [interface_summary, user_summary], begin_date: 2026-03-30}
  - {datasets: [interface_summary_hour], begin_date: 2026-05-02}
  - {datasets: [article_total_detail], begin_date: 2026-05-05}
limits:
  per_token: {rate: 100000/s, burst: 1000, concurrency: 1}
  connections: 1
retry: {max_attempts: 2, initial_delay: 1ms, max_delay: 2ms}
output: {path: output, buckets: 2}
"""
PLATFORM_JOBS = """version: 1
api: {base_url: "${WECHAT}"}
platform:
  appid: wx00000000000000ff
  secret: "${SECRET}"
  verify_ticket: "${TICKET}"
  sink: {file: "refresh/{appid}"}
accounts_from: platform
defaults: {owns_tokens: true}
jobs:
  - {datasets: [interface_summary], begin_date: 2026-05-01}
output: {path: output, buckets: 2}
"""

Setting = Callable[[FaultyWeChat], Any]


class InterruptedOutput:
    """A copy of the output with its manifests, and command lines at a fixed time over it."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.capsys = capsys
        self.at("2026-05-10", 18)
        self.world = FaultyWeChat(Rules(), self.now)

    def at(self, day: str, hour: int) -> None:
        """Set the time in Beijing; it goes on from there."""
        self._shift = instant(parse_day(day), hour * 60) - time.monotonic()

    def now(self) -> float:
        """Return the time of everything in the test."""
        return time.monotonic() + self._shift

    def __call__(self, *words: str) -> CommandResult:
        self.capsys.readouterr()
        return CommandResult(invoke(words), *self.capsys.readouterr())

    @property
    def output(self) -> Path:
        """The output tree."""
        return self.folder / "output"

    def files(self, pattern: str) -> list[Path]:
        """Return the files below ``_harvester`` that match."""
        return sorted(self.output.glob(f"_harvester/{pattern}"))

    def asked(self) -> set[AskedWindow]:
        """Return the windows that the sandbox was asked for."""
        return set(self.world.windows)

    def record(self) -> Any:
        """Return the run record of the newest run."""
        return json.loads(self.files("runs/*.json")[-1].read_text())

    def edit(self, old: str, new: str) -> None:
        """Change a line of the manifest."""
        path = self.folder / "jobs.yaml"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))


def clean_run(interrupted: InterruptedOutput) -> Path:
    """Make a new output by one run over the same days at the same time."""
    assert interrupted("run", "jobs.yaml", "--output", "clean").code == 0
    return interrupted.folder / "clean"


def source(dataset: str, appid: str, day: Day) -> list[Row]:
    """Return the sandbox's rows, one of them with a text where a count belongs."""
    rows = expected_rows(dataset, appid, day)
    return [{**row, "new_user": "many"} for row in rows] if (dataset, appid, day) == UNFIT else rows


def act(moment: str, *words: str, kill: tuple[str, int] = ("", 0), before: Setting = id) -> int:
    """Run one command line at a moment in Beijing in a child, and return its exit code.

    ``kill`` ends the child as ``kill -9`` does, before the Nth rename to a matching name.
    ``before`` prepares the sandbox.
    """
    child = os.fork()
    if not child:
        _set_clock(moment)
        _die_before(*kill)
        world = FaultyWeChat(Rules(daily_quota=QUOTA), time.time, source=source)
        with serve_in_thread(world) as address:
            before(world)
            os.environ.update(WECHAT=address, SECRET="interrupted")
            os._exit(invoke(words))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _set_clock(moment: str) -> None:
    day, _, hour = moment.partition(" ")
    shift = instant(parse_day(day), 60 * int(hour)) - time.time()
    real = time.time
    time.time = lambda: real() + shift


def _die_before(pattern: str, count: int) -> None:
    real = Path.replace
    left = count

    def mortal(self: Path, target: Path) -> Path:
        nonlocal left
        if count and re.search(pattern, str(target)):
            left -= 1
            if not left:
                os._exit(DIED)
        return real(self, target)

    Path.replace = mortal  # type: ignore[method-assign,assignment] # of a child that dies


def damage(path: Path) -> None:
    """Flip the bits of a byte in the middle."""
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 0xFF
    path.write_bytes(data)


def authorise(world: FaultyWeChat) -> None:
    """Let three accounts authorise the platform, two of them unknown to jobs.yaml."""
    world.platforms.register(PLATFORM, "interrupted")
    for number in (1, 0xA1, 0xA2):
        world.platforms.authorise(PLATFORM, f"wx{number:016x}")
    os.environ["TICKET"] = world.platforms.push_ticket(PLATFORM)


def reject(world: FaultyWeChat) -> None:
    """Reject two tokens in a row: the third is asked for by force."""
    world.fail(BUSY, 40001, times=2)


def make(output: Path) -> None:
    """Let commands work, be killed and find damage for three days."""
    Path("jobs.yaml").write_text(JOBS)
    Path("platform.yaml").write_text(PLATFORM_JOBS)
    assert act("2026-05-08 12", "run", kill=(r"\.parquet", 1)) == DIED
    damage(max(output.glob("_harvester/raw/*/0001-*.group")))
    assert act("2026-05-08 13", "run") == 3
    damage(output / "user_summary/ref_month=2026-03/part-0000-of-0002.parquet")
    assert act("2026-05-09 12", "verify", "--repair") == 3
    fresh = ("--to", "fresh", "--buckets", "3")
    assert act("2026-05-10 12", "rewrite", *fresh, kill=(r"fresh/.*\.parquet", 4)) == DIED
    assert act("2026-05-10 13", "check") == 0
    act("2026-05-10 14", "check", "platform.yaml", before=authorise)
    shutil.rmtree("refresh", ignore_errors=True)
    most = ",".join(name for name in DATASETS if name != UNASKED)
    run = ("run", "--datasets", most)
    assert act("2026-05-10 15", *run, kill=(r"\.parquet", 3), before=reject) == DIED
    now = instant(parse_day("2026-05-10"), 16 * 60)
    while forced_refreshes.spend(Tree(LocalStore(output), 2), BUSY, now):
        now += forced_refreshes.MIN_SECONDS_APART
    assert act("2026-05-10 17", "check", kill=(r"quota/0", 1)) == DIED


if __name__ == "__main__":
    os.chdir(sys.argv[1])
    # Loaded once, and not by each child.
    for verb in ("run", "check", "verify", "rewrite"):
        import_module(f"harvester.cli.commands.{verb}")
    make(Path("output"))

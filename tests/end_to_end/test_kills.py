"""Kill it anywhere, run it again, and the files are right."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from harvester.cli import invoke
from harvester.core.exit_codes import Exit
from harvester.verbs.changes import changes
from tests.support import kill_at
from tests.support.nights import by_night
from tests.support.run_harness import BOTH, appid, days_between, expected, files_of, published_rows

PYTHON = (sys.executable, "-m")
ENVIRONMENT = {
    # As a person's, wherever the tests run.
    **{name: value for name, value in os.environ.items() if name not in {"CI", "GITHUB_ACTIONS"}},
    "SECRET": "kill-test",
    "PYTHONPATH": str(Path.cwd()),
}

BEGIN = "2026-02-01"
MANIFEST = """
version: 1
api: {{base_url: "{address}"}}
defaults: {{credential: {{secret: "${{SECRET}}"}}}}
accounts:
{accounts}
jobs:
  - datasets: [interface_summary, interface_summary_hour]
    begin_date: {begin}
    end_date: 2026-04-01
limits: {{per_token: {{rate: 20/s, burst: 5, concurrency: 4}}}}
output: {{path: "{output}", buckets: {buckets}}}
"""


@contextmanager
def sandbox_process(*options: str) -> Iterator[str]:
    """`harvester sandbox` in a process of its own; gives its address."""
    command = [*PYTHON, "harvester", "sandbox", "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split()[-1]
        finally:
            process.terminate()


def write_manifest(
    folder: Path, address: str, accounts: int, begin: str = BEGIN, buckets: int = 1
) -> Path:
    """Sixty days or more of two datasets, slow enough to be hit under way."""
    lines = "\n".join(f"  - appid: {appid(number)}" for number in range(1, accounts + 1))
    path = folder / "jobs.yaml"
    output = folder / "output"
    path.write_text(
        MANIFEST.format(
            address=address, accounts=lines, begin=begin, output=output, buckets=buckets
        )
    )
    return path


def start(manifest: Path, processes: int = 1) -> subprocess.Popen[bytes]:
    """A run as a scheduler starts it."""
    command = [*PYTHON, "harvester", "run", str(manifest), "--progress", "none"]
    command += ["--processes", str(processes)]
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ENVIRONMENT
    )


def ends_within(run: subprocess.Popen[Any], seconds: float) -> bool:
    """Give a run so long; returns whether it ended by itself."""
    try:
        run.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


KILLS = [
    (2, BEGIN, 1),
    pytest.param(200, "2025-04-01", 1, marks=pytest.mark.slow),
    pytest.param(100, "2025-04-01", 2, marks=pytest.mark.slow),
]


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("kills", "begin", "processes"), KILLS)
def test_many_kills_in_a_row_then_one_run_is_exact(
    tmp_path: Path, duck: duckdb.DuckDBPyConnection, kills: int, begin: str, processes: int
) -> None:
    """`kill -9` at random moments, also while the next run recovers: nothing lost or doubled."""
    seed = random.randrange(2**32)
    dice = random.Random(seed)
    with sandbox_process("--latency", "0.01") as address:
        manifest = write_manifest(tmp_path, address, 12, begin, buckets=processes)
        # What a killed run was allocated counts as made: many of them use up the 1,000 of a day.
        enough = manifest.read_text().replace("limits: {", "limits: {daily_quota: 1000000, ")
        manifest.write_text(enough)
        told, at = follow(tmp_path / "output", None)
        for _ in range(kills):
            run = start(manifest, processes)
            ends_within(run, dice.uniform(0.5, 1.6))
            run.send_signal(signal.SIGKILL)
            run.wait()
            # What is published is sound at every moment, and so is the run's own record of it.
            if (tmp_path / "output/_harvester").exists():
                assert invoke(["verify", str(manifest)]) == Exit.DONE, f"seed {seed}"
            heard, at = follow(tmp_path / "output", at)
            told |= heard
        assert start(manifest, processes).wait() == Exit.DONE
    appids = [appid(number) for number in range(1, 13)]
    for dataset in BOTH:
        truth = expected(dataset, appids, days_between(begin, "2026-04-01"))
        assert published_rows(duck, tmp_path / "output", dataset) == truth, f"seed {seed}"
    assert not list((tmp_path / "output/_harvester/tmp").iterdir())
    assert not list((tmp_path / "output/_harvester/raw").glob("*/*"))
    told |= follow(tmp_path / "output", at)[0]
    for path in files_of(tmp_path / "output"):
        name = path.relative_to(tmp_path / "output").as_posix()
        assert told.get(name) == pq.read_metadata(path).num_rows, f"seed {seed}"


def follow(output: Path, at: str | None) -> tuple[dict[str, int], str]:
    """The rows of the files that the change feed names since a cursor, and the next cursor."""
    found, behind = changes(None, since=at, output=output)
    return {item.path: item.rows_after for item in found}, behind


def rows_told(output: Path) -> dict[str, int]:
    """The rows of each file as the records of runs name them."""
    return {
        item["path"]: item["rows_after"]
        for path in sorted((output / "_harvester/runs").glob("*.json"))
        for item in json.loads(path.read_bytes())["published"]
    }


@contextmanager
def lives(**environ: str) -> Iterator[Callable[[Path | str, int], bool]]:
    """A function that lives a run until its Nth change of the disk or store; whether it died."""
    pipe, environ = subprocess.PIPE, {**ENVIRONMENT, **environ}
    command = [*PYTHON, "tests.support.kill_at"]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environ) as runs:

        def die(root: Path | str, count: int) -> bool:
            assert runs.stdin is not None
            assert runs.stdout is not None
            print(count, root, file=runs.stdin, flush=True)
            code = int(runs.stdout.readline())
            assert code in {0, kill_at.DIED}
            return code == kill_at.DIED

        yield die


@pytest.fixture
def die() -> Iterator[Callable[[Path | str, int], bool]]:
    """One life of a run that dies before its Nth change of the disk; whether it died."""
    with lives() as die:
        yield die


@pytest.mark.parametrize("step", [15, *by_night([1])])
def test_a_run_that_dies_at_any_change_of_the_disk_is_mended_by_the_next(
    tmp_path: Path,
    die: Callable[[Path | str, int], bool],
    duck: duckdb.DuckDBPyConnection,
    step: int,
) -> None:
    """A life dies before its Nth flush, rename or removal, by night for every N there is.

    The next one dies while it recovers; the third ends exact, and no reader ever met half a file.
    """
    count = 1 - step
    died = True
    while died:
        count += step
        root = tmp_path / str(count)
        died = die(root, count)
        die(root, 1 + count % 4)
        for path in files_of(root):
            assert duck.sql(f"select count(*) from '{path}'").fetchall()
        lab = kill_at.harness_for(root)
        assert lab.run().exit_code is Exit.DONE
        for dataset in BOTH:
            truth = expected(dataset, lab.appids, days_between(lab.begin, "2026-04-02"))
            assert published_rows(duck, root, dataset) == truth
        assert not list((root / "_harvester/raw").glob("*/*"))
    assert count > 10


def test_a_second_run_on_the_same_buckets_names_the_holder(tmp_path: Path) -> None:
    """Exit 75, nothing touched, and the sentence says which host and process works there."""
    with sandbox_process("--latency", "0.3") as address:
        manifest = write_manifest(tmp_path, address, 2)
        first = start(manifest)
        lock = tmp_path / "output/_harvester/locks/0000-of-0001.lock"
        while not (lock.is_file() and lock.read_bytes()):
            assert not ends_within(first, 0.02)
        second = subprocess.run(
            [*PYTHON, "harvester", "run", str(manifest)],
            check=False,
            capture_output=True,
            text=True,
            env=ENVIRONMENT,
        )
        first.kill()
        first.wait()
    assert second.returncode == Exit.AGAIN
    assert f"pid {first.pid}" in second.stderr
    assert json.loads(lock.read_bytes())["pid"] == first.pid


@pytest.mark.parametrize("number", [signal.SIGTERM, *by_night([signal.SIGINT, signal.SIGHUP])])
def test_a_signal_ends_the_run_in_order(
    tmp_path: Path, number: signal.Signals, duck: duckdb.DuckDBPyConnection
) -> None:
    """With 128 plus its number, everything that was answered published."""
    with sandbox_process("--latency", "0.05") as address:
        manifest = write_manifest(tmp_path, address, 4)
        run = start(manifest)
        raw = tmp_path / "output/_harvester/raw"
        while not list(raw.glob("*/*")):
            assert not ends_within(run, 0.02)
        run.send_signal(number)
        assert run.wait() == 128 + number
        assert list(files_of(tmp_path / "output"))
        assert start(manifest).wait() == Exit.DONE
    appids = [appid(number) for number in range(1, 5)]
    for dataset in BOTH:
        truth = expected(dataset, appids, days_between("2026-02-01", "2026-04-01"))
        assert published_rows(duck, tmp_path / "output", dataset) == truth

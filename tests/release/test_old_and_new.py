"""Two builds at one output: an older one and this, in turns and at once."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import duckdb
import pytest

from harvester.sandbox import Rules
from tests.release.test_package import build
from tests.support.cli import CommandLine, JobScope, command_line
from tests.support.doc_pages import ROOT
from tests.support.faulty_wechat import FaultyWeChat
from tests.support.run_harness import BOTH, appid, days_between, expected, published_rows

OLDER = "afb79aec7526b23e8b73e66e5a8dc7942996f736"
"""The commit from which on files name the version of their format, and of a newer one are left."""

SECRET = "s" * 32
BEGIN, END = "2026-03-20", "2026-04-10"
ACCOUNTS = 4


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package of the older commit, unpacked from its wheel."""
    folder = tmp_path_factory.mktemp("older")
    archive = subprocess.run(["git", "archive", OLDER], cwd=ROOT, capture_output=True, check=False)
    if archive.returncode:
        pytest.skip("the older commit is not at hand; test_newer_formats has its files")
    subprocess.run(["tar", "-x"], cwd=folder, input=archive.stdout, check=True)
    with zipfile.ZipFile(build(folder, folder / "dist").wheel) as wheel:
        wheel.extractall(folder / "package")
    return folder / "package"


def started(package: Path, line: CommandLine, *options: str) -> subprocess.Popen[bytes]:
    """Start a run of the build that is in a folder."""
    command = [sys.executable, "-m", "harvester", "run", str(line.manifest), *options]
    given = {**os.environ, "PYTHONPATH": str(package), "COMMANDS_SECRET": SECRET}
    return subprocess.Popen(
        command, cwd=line.manifest.parent, env=given, stderr=subprocess.PIPE, stdout=subprocess.PIPE
    )


def ended(run: subprocess.Popen[bytes], line: CommandLine, calls: int) -> int:
    """Wait for a run; return its exit code. A build that refuses the output asks nothing."""
    _, said = run.communicate(timeout=120)
    if run.returncode == 2:
        assert b"newer" in said
        assert line.calls() == calls
    else:
        assert run.returncode == 0, said.decode()
    return run.returncode


@pytest.mark.long
def test_runs_of_two_builds_in_turns_and_at_once_are_exact(
    older: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    duck: duckdb.DuckDBPyConnection,
) -> None:
    """Or the older one refuses before its first request."""
    scope = JobScope(BOTH, BEGIN, END, ACCOUNTS)
    with command_line(tmp_path, scope, FaultyWeChat(Rules(), time.time), capsys) as line:
        text = line.manifest.read_text("utf-8")
        line.manifest.write_text(text.replace("output: out", "output: {path: out, buckets: 2}"))
        for number, day in enumerate(("2026-03-25", "2026-03-31", "2026-04-02", "2026-04-05")):
            package = (older, ROOT)[number % 2]
            ended(started(package, line, "--end-date", day), line, line.calls())
            again = started(package, line, "--refetch", "all", "--begin-date", day)
            ended(again, line, line.calls())
        both = [started(older, line, "--shard", "1/2"), started(ROOT, line, "--shard", "2/2")]
        codes = [ended(run, line, line.calls()) for run in both]
        if any(codes):
            assert ended(started(ROOT, line), line, line.calls()) == 0
        assert line("verify").code == 0
        appids = [appid(number) for number in range(1, ACCOUNTS + 1)]
        for name in BOTH:
            truth = expected(name, appids, days_between(BEGIN, END))
            assert published_rows(duck, line.output, name) == truth

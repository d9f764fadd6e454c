"""Fixtures of the tests over an output in the middle of its work."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.interrupted_output import InterruptedOutput
from tests.support.sandboxes import serve_in_thread

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the output, made once."""
    folder = tmp_path_factory.mktemp("interrupted")
    command = [sys.executable, "-m", "tests.support.interrupted_output", str(folder)]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    return folder


@pytest.fixture
def interrupted(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[InterruptedOutput]:
    """A copy of the output, on the day on which the last command over it was killed."""
    folder = tmp_path / "interrupted"
    shutil.copytree(made, folder)
    journal = folder / "fresh" / "_harvester" / "rewrite.json"
    journal.write_text(journal.read_text().replace(str(made), str(folder)))
    output = InterruptedOutput(folder, capsys)
    monkeypatch.setattr(time, "time", output.now)
    monkeypatch.chdir(folder)
    with serve_in_thread(output.world) as address:
        for name, value in {"WECHAT": address, "SECRET": "s", "TICKET": "t"}.items():
            monkeypatch.setenv(name, value)
        yield output

"""A fixture that tests of several options share."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harvester.sandbox import Rules
from tests.support.cli import CommandLine, JobScope, command_line
from tests.support.faulty_wechat import FaultyWeChat
from tests.support.run_harness import DAILY


@pytest.fixture
def here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[CommandLine]:
    """A manifest of two days, of which nothing was harvested yet."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret").write_text("s")
    scope = JobScope([DAILY], "2026-03-01", "2026-03-02")
    with command_line(tmp_path, scope, FaultyWeChat(Rules(), time.time), capsys) as cli:
        text = cli.manifest.read_text()
        cli.manifest.write_text(text.replace("${COMMANDS_SECRET}", "${file:secret}"))
        yield cli

"""Runs of every outcome say, record and return what their golden files have."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harvester.core.exit_codes import Exit
from tests.golden_runs import golden_files
from tests.golden_runs.registry import SCENES

ROOT = Path(__file__).parents[2]

Player = Callable[[str], Any]


@pytest.fixture(scope="module")
def play() -> Iterator[Player]:
    """Plays a scene in a process with a clock of its own, one for all scenes."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.golden_runs", "--serve"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:

        def played(name: str) -> Any:
            assert process.stdin is not None
            assert process.stdout is not None
            print(name, file=process.stdin, flush=True)
            answer = json.loads(process.stdout.readline())
            assert "error" not in answer, answer["error"]
            return answer["played"]

        yield played
        assert process.stdin is not None
        process.stdin.close()


MARKS = {"long": pytest.mark.long, "slow": pytest.mark.slow}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=MARKS.get(scene.when, ())) for name, scene in SCENES.items()],
)
def test_a_run_is_as_its_golden_file(
    name: str, play: Player, request: pytest.FixtureRequest
) -> None:
    """Exit code, record, events and text; `python -m tests.golden_runs --write` writes them."""
    if SCENES[name].is_on_spark:
        request.getfixturevalue("java")
    differs = golden_files.differences(golden_files.read(name), play(name))
    assert not differs, "\n".join(differs)


def test_each_exit_code_has_a_golden_run() -> None:
    """So no outcome is left out."""
    found = {
        command["exit_code"]
        for name in SCENES
        for command in golden_files.read(name).get("commands", ())
    }
    assert found == {int(code) for code in Exit}


def test_each_golden_file_has_a_scene() -> None:
    """And no file is left of one that is gone."""
    names = {path.stem for path in golden_files.FOLDER.glob("*.json")}
    assert names == {*SCENES, "_empty_record"}

"""CONTRIBUTING.md and the justfile: the commands, files and tests that they name exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.doc_pages import ROOT

PAGE = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
JUST = Path(sys.executable).with_name("just")


def just(*arguments: str) -> str:
    """Run just on the project's justfile and return what it prints."""
    command = [str(JUST), "--justfile", str(ROOT / "justfile"), *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    return ended.stdout + ended.stderr


def test_every_recipe_that_the_page_names_is_one() -> None:
    """`just NAME` is in the justfile, and the page's commands without just are those of recipes."""
    named = set(re.findall(r"`just (\w+)`", PAGE))
    assert named
    assert named <= set(just("--summary").split())


@pytest.mark.parametrize(
    "recipe", ["setup", "test", "slow", "sabotage", "lint", "format", "bench", "ci"]
)
def test_every_recipe_can_be_read(recipe: str) -> None:
    """A dry run of each recipe prints its commands, all of the project's own environment."""
    for line in just("--dry-run", recipe).splitlines():
        assert line.split()[0] in {"python3", ".venv/bin/python", ".venv/bin/ruff", ".ci/run"}


def test_just_alone_lists_the_recipes_where_no_just_is_in_the_path() -> None:
    """As the page has it typed: `.venv/bin/just`, in an environment that is not activated."""
    command = [str(JUST), "--justfile", str(ROOT / "justfile")]
    environ = {"PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    assert "lint " in done.stdout


def test_every_path_that_the_page_names_exists() -> None:
    """Files and folders in backquotes or commands are where the page says."""
    words = re.findall(r"(?:harvester|tests|docs|benchmarks|scheduling|cli)/[\w/.-]*", PAGE)
    assert len(words) > 10
    for word in words:
        path = word.rstrip(".").replace("VERB", "check")
        assert any((base / path).exists() for base in (ROOT, ROOT / "harvester")), path

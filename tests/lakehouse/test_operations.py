"""Tables of a lakehouse through random operations: they hold what the output holds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harvester.storage.backends import atomic_files
from tests.support.lake_stories import FORMATS, Story, seeds
from tests.support.nights import few_by_day

OPERATIONS = 200
SEEDS = [*seeds(os.environ.get("TESTS_LAKE_SEEDS", "1,2,3"))]


@pytest.fixture(autouse=True)
def _no_flushes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed processes lose nothing of what was written, so flushing would only take time."""
    monkeypatch.setattr(atomic_files, "sync", lambda _: None)


@pytest.fixture(autouse=True)
def _installed(request: pytest.FixtureRequest) -> None:
    """Skip DuckLake without DuckDB's extensions."""
    if request.getfixturevalue("to") == "ducklake":
        request.getfixturevalue("extensions")


@pytest.mark.parametrize("to", few_by_day(FORMATS, ["delta"]))
def test_a_short_story(tmp_path: Path, to: str) -> None:
    """Some operations of each kind."""
    Story(tmp_path, to, seed=0).play(15)


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("to", FORMATS)
def test_two_hundred_operations(tmp_path: Path, to: str, seed: int) -> None:
    """Each snapshot stays what was published then."""
    Story(tmp_path, to, seed).play(OPERATIONS)

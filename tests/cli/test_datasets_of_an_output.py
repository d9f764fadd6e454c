"""``harvester datasets --output``: the datasets that an output has, without its manifest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harvester.catalogue import CATALOGUE
from harvester.cli import invoke
from tests.support.run_harness import DAILY, HOURLY, RunHarness

OTHER = next(name for name in CATALOGUE if name not in {DAILY, HOURLY})


@pytest.fixture
def output(tmp_path: Path) -> str:
    """The output of a run of two datasets."""
    lab = RunHarness(tmp_path, accounts=1, datasets=(DAILY, HOURLY))
    lab.run()
    return str(lab.root)


def test_only_what_was_harvested_is_listed(
    output: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variable for runs does not narrow the catalogue."""
    assert invoke(["datasets", "--output", output, "--format", "json"]) == 0
    assert {each["name"] for each in json.loads(capsys.readouterr().out)} == {DAILY, HOURLY}
    monkeypatch.setenv("HARVESTER_OUTPUT", output)
    assert invoke(["datasets", "--format", "json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == len(CATALOGUE)


def test_what_was_not_harvested_is_a_mistake(
    output: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the datasets that are there; so is a place without an output."""
    assert invoke(["datasets", OTHER, "--output", output]) == 2
    told = capsys.readouterr().err
    assert f"`{OTHER}` was not harvested here" in told
    assert DAILY in told
    assert invoke(["datasets", "--output", str(tmp_path / "none")]) == 2
    assert "nothing was harvested" in capsys.readouterr().err

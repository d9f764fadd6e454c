"""Warnings about an output in a folder of an ephemeral CI runner."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from harvester.cli import invoke
from harvester.core.config.settings import Output
from harvester.core.exit_codes import Exit

MANIFEST = """
api: {base_url: sandbox}
accounts: [{appid: wx0000000000000001}]
jobs: [{datasets: [interface_summary], begin_date: -3d}]
"""

WARNING = "is a folder of this CI runner"


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Restore logging, which a run sets up for its whole process."""
    root = logging.getLogger()
    handlers = root.handlers[:]
    yield
    root.handlers[:] = handlers


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """A manifest whose output is a folder beside it."""
    path = tmp_path / "jobs.yaml"
    path.write_text(MANIFEST)
    return path


@pytest.mark.parametrize("variable", ["CI", "GITHUB_ACTIONS"])
def test_a_folder_of_a_runner_is_warned_about(
    manifest: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variable: str,
) -> None:
    """The warning names the folder and the remedy once, and the run continues."""
    monkeypatch.setenv(variable, "true")
    assert invoke(["run", str(manifest)]) == Exit.DONE
    shown = capsys.readouterr().err
    assert shown.count(WARNING) == 1
    assert str(manifest.parent / "output") in shown
    assert "must_exist: true" in shown


@pytest.mark.parametrize("said", [None, "", "false", "0"])
def test_other_machines_are_not_warned_about(
    manifest: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    said: str | None,
) -> None:
    """Without a runner's variable there is no warning."""
    if said is not None:
        monkeypatch.setenv("CI", said)
    assert invoke(["run", str(manifest)]) == Exit.DONE
    assert WARNING not in capsys.readouterr().err


def test_an_output_that_outlives_the_runner_is_not_warned_about(
    manifest: Path,
    s3_output: Output,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Neither `must_exist` nor an object store gives a warning, because both outlive a runner."""
    assert invoke(["run", str(manifest)]) == Exit.DONE
    monkeypatch.setenv("CI", "true")
    manifest.write_text(MANIFEST + "output: {path: output, must_exist: true}\n")
    assert invoke(["run", str(manifest)]) == Exit.DONE
    place = f'{{path: "{s3_output.path}", endpoint: "{s3_output.endpoint}"}}'
    manifest.write_text(MANIFEST + f"output: {place}\n")
    assert invoke(["run", str(manifest)]) == Exit.DONE
    assert WARNING not in capsys.readouterr().err


def test_an_object_store_that_must_hold_something(
    manifest: Path, s3_output: Output, capsys: pytest.CaptureFixture[str]
) -> None:
    """A store without an output ends with 2 before any request; with an output it is used."""
    place = f'path: "{s3_output.path}", endpoint: "{s3_output.endpoint}"'
    manifest.write_text(MANIFEST + f"output: {{{place}, must_exist: true}}\n")
    assert invoke(["run", str(manifest)]) == Exit.USAGE
    assert f"{s3_output.path}: nothing was harvested here" in capsys.readouterr().err
    manifest.write_text(MANIFEST + f"output: {{{place}}}\n")
    assert invoke(["run", str(manifest)]) == Exit.DONE
    manifest.write_text(MANIFEST + f"output: {{{place}, must_exist: true}}\n")
    assert invoke(["run", str(manifest)]) == Exit.DONE

"""``harvester sql``: what it prints, where, and how it refuses."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from harvester.cli import invoke
from harvester.core.exit_codes import Exit
from harvester.verbs.sql.script import ENGINES, sql
from tests.support.views import loaded, manifest_of


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a manifest, whose output is empty."""
    monkeypatch.chdir(tmp_path)
    text = yaml.safe_dump(manifest_of(tmp_path / "output"), allow_unicode=True)
    (tmp_path / "jobs.yaml").write_text(text, "utf-8")
    return tmp_path


@pytest.mark.parametrize("engine", ENGINES)
def test_the_script_is_all_that_is_printed(
    here: Path, capsys: pytest.CaptureFixture[str], engine: str
) -> None:
    """For each engine, and loaded as it is."""
    assert invoke(["sql", "--engine", engine]) == Exit.DONE
    printed = capsys.readouterr()
    assert printed.out == sql(here / "jobs.yaml", engine=engine)  # type: ignore[arg-type]
    if engine == "duckdb":
        assert not loaded(printed.out).sql('select * from wechat."关注日报"').fetchall()


def test_variables_set_its_options(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As options do."""
    for name, value in (("ENGINE", "duckdb"), ("SCHEMA", "brand"), ("BASE", "/data/out")):
        monkeypatch.setenv(f"HARVESTER_{name}", value)
    assert invoke(["sql"]) == Exit.DONE
    assert capsys.readouterr().out == sql(
        here / "jobs.yaml", engine="duckdb", schema="brand", base="/data/out"
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "--engine"),
        (["--engine", "sqlite"], "no such choice `sqlite`"),
        (["--engine", "duckdb", "--base", "out"], "--base out: relative path"),
        (["--engine", "duckdb", "--schema", ""], "--schema"),
        (["--engine", "duckdb", "--datasets", "nothing"], "nothing"),
        (["--engine", "duckdb", "--output", "gone", "none.yaml"], "none.yaml"),
    ],
)
def test_a_mistake_is_named(
    here: Path, capsys: pytest.CaptureFixture[str], options: list[str], words: str
) -> None:
    """And nothing is printed that an engine would load."""
    assert invoke(["sql", *options]) == Exit.USAGE
    printed = capsys.readouterr()
    assert words in printed.err
    assert not printed.out
    assert not (here / "output").exists()


def test_a_script_is_utf_8_whatever_a_terminal_takes(here: Path) -> None:
    """In ASCII a Chinese name would be another name, without an error."""
    command = [sys.executable, "-m", "harvester", "sql", "--engine", "duckdb"]
    environ = {**os.environ, "PYTHONIOENCODING": "ascii"}
    printed = subprocess.run(command, env=environ, capture_output=True, check=True)
    assert printed.stdout.decode("utf-8") == sql(here / "jobs.yaml", engine="duckdb")
    assert printed.stderr.endswith(b": nothing was harvested here, so every view is empty\n")

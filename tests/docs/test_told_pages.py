"""Pages whose commands run from top to bottom, and tables that are computed."""

from __future__ import annotations

import importlib.metadata
import re
import shlex
from pathlib import Path

import duckdb
import pytest

import harvester
from harvester.cli import invoke
from harvester.core.exit_codes import Exit
from tests.support import sizing, told_page
from tests.support.doc_pages import ROOT, blocks

LICENCES = {"Apache", "BSD", "MIT", "MPL", "PSF", "Python"}


def test_the_tutorial_is_what_is_printed() -> None:
    """`python -m tests.support.told_page` writes the answers anew."""
    page = told_page.PAGE
    assert told_page.told(page) == page.read_text("utf-8")


def test_the_minute_with_the_emulator_runs_from_top_to_bottom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then the same command asks nothing, and after a file is deleted for its days alone."""
    page = ROOT / "docs/emulator.md"
    monkeypatch.chdir(tmp_path)
    for block in blocks(page, "sh"):
        for line in block.text.splitlines():
            assert invoke(shlex.split(line)[1:]) == Exit.DONE, line
    [query] = blocks(page, "sql")
    with duckdb.connect() as con:
        assert con.execute(query.text).fetchall()
    assert harvester.run("jobs.yaml").requests == 0
    [file, *_] = sorted(tmp_path.glob("output/interface_summary/*/*.parquet"))
    file.unlink()
    again = harvester.run("jobs.yaml")
    assert 0 < again.requests <= 10
    assert file.exists()


def test_the_sizing_table_is_what_plan_says() -> None:
    """`python -m tests.support.sizing` prints it."""
    assert sizing.table() in (ROOT / "docs/backfill.md").read_text("utf-8")


def test_the_page_about_installing_names_files_that_there_are() -> None:
    """tests/release runs its commands."""
    text = (ROOT / "docs/install.md").read_text("utf-8")
    wheels = set(re.findall(r"wechat_harvester-[\w.-]+whl", text))
    assert wheels == {f"wechat_harvester-{harvester.__version__}-py3-none-any.whl"}
    for name in re.findall(r"-r ([\w.]+\.txt)", text):
        assert (ROOT / name).exists()


def test_the_licences_of_the_review_page_are_all() -> None:
    """Each dependency of an installation is under one of them."""
    [line] = re.findall(r"dependencies are under (.*?) licences", _review())
    assert line == "Apache-2.0, MIT, BSD, PSF and MPL-2.0"
    pins = re.findall(r"^([\w.-]+)==", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    for name in pins:
        data = importlib.metadata.metadata(name)
        keys = ("License-Expression", "License", "Classifier")
        licence = " ".join(text for key in keys for text in data.get_all(key) or ())
        assert any(known in licence for known in LICENCES), (name, licence)


def test_the_review_page_names_the_calls_that_are_made() -> None:
    """Paths of WeChat's API that the client has."""
    code = "".join(path.read_text("utf-8") for path in ROOT.glob("harvester/wechat/**/*.py"))
    for path in re.findall(r"`POST (/[\w/]+)", _review()):
        assert path.removesuffix("/…") in code or path == "/datacube/", path
    assert "clear_quota" not in code


def _review() -> str:
    return (ROOT / "docs/security-review.md").read_text("utf-8")

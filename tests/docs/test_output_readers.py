"""The examples of docs/python.md that read an output, run from top to bottom."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import harvester
from harvester.core.config.settings import Output
from tests.docs.test_docs import ShippedLab
from tests.support.doc_pages import API, blocks, section, table_rows
from tests.support.store_backends import CREDENTIALS

HEADING = "## Reading an output"
READERS = section(API, HEADING)
EXAMPLES = [block for block in blocks(API, "python") if block.text in READERS]


def test_the_examples_run_from_top_to_bottom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each example finds something, after the page's first run."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in (*blocks(API, "python")[:2], *EXAMPLES):
        exec(compile(block.text, block.name, "exec"), names)
    assert names["rows"].count_rows() == names["won"].num_rows > 0
    for found in ("callbacks", "slowest", "days", "sources", "asked_by"):
        assert len(names[found]) > 0, found
    assert names["own"].sql("select count(*) > 0 from days").fetchall() == [(True,)]
    names["own"].close()


def test_the_example_of_an_object_store_runs(
    tmp_path: Path, s3_output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The example needs no variable of the environment."""
    ShippedLab(tmp_path, output=s3_output, end="2026-04-30").run()
    for name in CREDENTIALS:
        monkeypatch.delenv(name)
    [block] = blocks(API, "python store")
    text = block.text.replace("s3://acme-statistics/output", str(s3_output.path))
    text = text.replace("https://s3.example.com", str(s3_output.endpoint))
    names = {"harvester": harvester, "key": CREDENTIALS["AWS_SECRET_ACCESS_KEY"]}
    exec(compile(text, block.name, "exec"), names)


def test_the_table_has_every_member() -> None:
    """Properties and methods of an output, and no other."""
    named = {re.split(r"\W", name)[1] for name in table_rows(READERS) if name.startswith(".")}
    assert named == {name for name in dir(harvester.Output) if not name.startswith("_")} - {"place"}


@pytest.mark.parametrize(
    ("table", "heading"), [("coverage", "### Coverage"), ("codes", "`codes`"), ("runs", "`runs`")]
)
def test_the_columns_of_the_tables_are_named(tmp_path: Path, table: str, heading: str) -> None:
    """Each column is on the page, behind the name of its table."""
    found = getattr(harvester.open(tmp_path, must_exist=False), table)()
    text = READERS.partition(f"{heading}")[2]
    for name in found.schema.names:
        assert f"`{name}`" in text

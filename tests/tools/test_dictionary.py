"""The data dictionary as a page: docs/datasets.md."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from harvester.catalogue import CATALOGUE
from harvester.catalogue.descriptions import members, queries
from harvester.core.dataset import Dataset
from tools.catalogue.dictionary import COMMAND, page

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "datasets.md"


def test_the_page_is_the_catalogue() -> None:
    """docs/datasets.md is what the command in its first lines prints."""
    text = PAGE.read_text("utf-8")
    assert COMMAND in text.partition("-->")[0]
    assert text == page()
    command = [sys.executable, *COMMAND.partition(" > ")[0].split()[1:]]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
    assert printed.decode() == text


@pytest.mark.parametrize("dataset", CATALOGUE.values(), ids=CATALOGUE)
def test_the_page_tells_all(dataset: Dataset) -> None:
    """A dataset's section has its columns, codes, notes, source and query."""
    section = page().partition(f"### {dataset.name}\n")[2].partition("\n### ")[0]
    for name, column in members(dataset.columns):
        assert f"| `{name}` | `{column.kind.value}` | {column.meaning} |" in section
        assert all(f"| {code} | {label} |" in section for code, label in column.labels.items())
    assert all(f"- {note}\n" in section for note in dataset.notes)
    assert dataset.source in section
    assert all(f"```sql\n{query}\n```" in section for query in queries(dataset))

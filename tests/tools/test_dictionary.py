"""The data dictionary as a page in English and Chinese: docs/datasets.md, datasets.zh.md."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from harvester.catalogue import CATALOGUE
from harvester.catalogue.descriptions import members, queries
from harvester.catalogue.languages import Language, dataset_in
from tools.catalogue.dictionary import COMMANDS, page

ROOT = Path(__file__).parents[2]
LANGUAGES: tuple[Language, ...] = ("en", "zh")


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_is_the_catalogue(language: Language) -> None:
    """A page is what the command in its first lines prints."""
    command, _, file = COMMANDS[language].partition(" > ")
    text = (ROOT / file).read_text("utf-8")
    assert COMMANDS[language] in text.partition("-->")[0]
    assert text == page(language)
    words = [sys.executable, *command.split()[1:]]
    printed = subprocess.run(words, cwd=ROOT, capture_output=True, check=True).stdout
    assert printed.decode() == text


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", CATALOGUE)
def test_the_page_tells_all(name: str, language: Language) -> None:
    """A dataset's section has its columns, codes, notes, source and query."""
    dataset = dataset_in(CATALOGUE[name], language)
    section = page(language).partition(f"### {name}\n")[2].partition("\n### ")[0]
    for member, column in members(dataset.columns):
        assert f"| `{member}` | `{column.kind.value}` | {column.meaning} |" in section
        assert all(f"| {code} | {label} |" in section for code, label in column.labels.items())
    assert all(f"- {note}\n" in section for note in dataset.notes)
    assert dataset.source in section
    assert all(f"```sql\n{query}\n```" in section for query in queries(dataset))

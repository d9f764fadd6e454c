"""The Chinese pages say what the English ones say: the same sections, snippets, rows and names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.doc_pages import FENCED, ROOT, blocks

CHINESE = [ROOT / "README.zh-CN.md", *sorted(ROOT.glob("docs/**/*.zh.md"))]

# The one option that Chinese pages have to themselves.
IN_CHINESE = {"--lang zh"}


def english(page: Path) -> Path:
    """Return the page that this one is a translation of."""
    return page.with_name(re.sub(r"\.zh(-CN)?\.md$", ".md", page.name))


def shape(page: Path) -> list[str]:
    """Return the headings by their level and the rows of tables, in their order."""
    return re.findall(r"^(#+ |\|)", FENCED.sub("", page.read_text()), flags=re.MULTILINE)


def code(page: Path) -> set[str]:
    """Return the words in backticks: names, options, values."""
    return set(re.findall(r"`([^`\n]+)`", FENCED.sub("", page.read_text())))


@pytest.mark.parametrize("page", CHINESE, ids=[page.name for page in CHINESE])
def test_a_translation_has_the_parts_of_its_page(page: Path) -> None:
    """A snippet is run where it stands in English, so here it must be the same."""
    snippets = [[block.text for block in blocks(each)] for each in (page, english(page))]
    assert snippets[0] == snippets[1]
    assert shape(page) == shape(english(page))
    assert code(page) - code(english(page)) <= IN_CHINESE
    assert code(english(page)) <= code(page)


@pytest.mark.parametrize("page", CHINESE, ids=[page.name for page in CHINESE])
def test_a_translation_says_that_no_native_editor_has_read_it(page: Path) -> None:
    """With a link to where a correction is sent."""
    assert re.search("尚未经中文母语编辑审校.*CONTRIBUTING.md", page.read_text())


@pytest.mark.parametrize("page", CHINESE, ids=[page.name for page in CHINESE])
def test_a_paragraph_is_one_line(page: Path) -> None:
    """A browser draws a line break as a space, which does not belong between Chinese words."""
    text = re.sub(r"<!--.*?-->", "", FENCED.sub("", page.read_text()), flags=re.DOTALL)
    broken = re.findall(r"^(?![|#!]).+\n(?![-|#!\d]|    ).+$", text, flags=re.MULTILINE)
    assert not broken, "\n".join(broken)

"""The guides as tests read them: fenced blocks, sections, rows of tables, headings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
CLI = ROOT / "docs/cli.md"
MANIFEST = ROOT / "docs/manifest.md"
CREDENTIALS = ROOT / "docs/credentials.md"
READING = ROOT / "docs/reading.md"
OPERATIONS = ROOT / "docs/operations.md"
GUIDES = (README, CLI, MANIFEST, CREDENTIALS, READING, OPERATIONS)
PAGES = (README, *sorted(ROOT.glob("docs/**/*.md")))


class Block(NamedTuple):
    """A fenced block: where it begins, what stands behind the fence, and its text."""

    page: Path
    line: int
    info: str
    text: str

    @property
    def name(self) -> str:
        """How a failing test calls it."""
        return f"{self.page.name}:{self.line}"


FENCED = re.compile(r"^```([^\n`]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path, *infos: str) -> list[Block]:
    """The fenced blocks of a page, those of some languages or all."""
    text = page.read_text()
    found = [
        Block(page, text.count("\n", 0, match.start()) + 1, match[1].strip(), match[2])
        for match in FENCED.finditer(text)
    ]
    return [block for block in found if not infos or block.info in infos]


def each_block(found: list[Block]) -> pytest.MarkDecorator:
    """A test for each block, called by its place."""
    assert found
    return pytest.mark.parametrize("block", found, ids=[block.name for block in found])


def section(page: Path, heading: str) -> str:
    """What stands under a heading, up to the next one of its level or above."""
    level = heading.count("#")
    _, found, rest = page.read_text().partition(f"\n{heading}\n")
    assert found, f"{page.name} has no {heading}"
    return re.split(rf"^#{{1,{level}}} ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def table_rows(text: str) -> dict[str, str]:
    """The rows of the tables in a text, by the words in backticks in their first cell."""
    found: dict[str, str] = {}
    for row in re.findall(r"^\| .*$", text, flags=re.MULTILINE):
        for name in re.findall(r"`([^`]+)`", row.split(" | ")[0]):
            found.setdefault(name.split()[0], row)
    return found


def anchors(page: Path) -> set[str]:
    """The headings of a page as GitHub links to them."""
    text = FENCED.sub("", page.read_text())
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}

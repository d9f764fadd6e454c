"""Parts of the guides: fenced blocks, sections, rows of tables, headings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
CLI = ROOT / "docs/cli.md"
EXIT_CODES = ROOT / "docs/exit-codes.md"
RUN_RECORD = ROOT / "docs/run-record.md"
MANIFEST = ROOT / "docs/manifest.md"
CREDENTIALS = ROOT / "docs/credentials.md"
READING = ROOT / "docs/reading.md"
API = ROOT / "docs/python.md"
SCHEDULE = ROOT / "docs/schedule.md"
SCALING = ROOT / "docs/scaling.md"
TROUBLES = ROOT / "docs/troubles.md"
WAREHOUSES = ROOT / "docs/warehouses.md"
EVERY_DAY = (
    *(SCHEDULE, ROOT / "docs/alerts.md", TROUBLES, ROOT / "docs/backfill.md", SCALING),
    *(ROOT / "docs/clients.md", ROOT / "docs/days.md", ROOT / "docs/object-stores.md"),
    *(ROOT / "docs/moving.md", ROOT / "docs/pause.md", ROOT / "docs/security-review.md"),
)
GUIDES = (
    README,
    CLI,
    EXIT_CODES,
    RUN_RECORD,
    ROOT / "docs/logs.md",
    MANIFEST,
    CREDENTIALS,
    READING,
    *EVERY_DAY,
)
PAGES = (
    README,
    *(ROOT / name for name in ("README.zh-CN.md", "SECURITY.md", "tests/README.md")),
    *sorted(ROOT.glob("docs/**/*.md")),
)


class Block(NamedTuple):
    """A fenced block: its page and line, its info string, and its text."""

    page: Path
    line: int
    info: str
    text: str

    @property
    def name(self) -> str:
        """The page and line, for the id of a test."""
        return f"{self.page.name}:{self.line}"


FENCED = re.compile(r"^```([^\n`]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path, *infos: str) -> list[Block]:
    """Return the fenced blocks of a page with one of the info strings, or all."""
    text = page.read_text()
    found = [
        Block(page, text.count("\n", 0, match.start()) + 1, match[1].strip(), match[2])
        for match in FENCED.finditer(text)
    ]
    return [block for block in found if not infos or block.info in infos]


def each_block(found: list[Block]) -> pytest.MarkDecorator:
    """Parametrize a test by blocks."""
    assert found
    return pytest.mark.parametrize("block", found, ids=[block.name for block in found])


def section(page: Path, heading: str) -> str:
    """Return the text under a heading, up to the next one of its level or above."""
    level = heading.count("#")
    _, found, rest = page.read_text().partition(f"\n{heading}\n")
    assert found, f"{page.name} has no {heading}"
    return re.split(rf"^#{{1,{level}}} ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def table_rows(text: str) -> dict[str, str]:
    """Return the rows of tables by the words in backticks in their first cell."""
    found: dict[str, str] = {}
    for row in re.findall(r"^\| .*$", text, flags=re.MULTILINE):
        for name in re.findall(r"`([^`]+)`", row.split(" | ")[0]):
            found.setdefault(name.split()[0], row)
    return found


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a page."""
    text = FENCED.sub("", page.read_text())
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}

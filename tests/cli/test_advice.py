"""Commands in messages, comments and guides: no advice names an option that its verb lacks."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from harvester.cli import app
from tests.support.doc_pages import ROOT

VERBS = [name for name in app if not name.startswith("-")]
OPTIONS = {
    verb: {name for each in app[verb].assemble_argument_collection() for name in each.names}
    for verb in VERBS
}
_COMMAND = re.compile(rf"harvester ({'|'.join(VERBS)})\b([^`\n|;&>\"]*)")
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")


def texts(file: Path) -> Iterator[str]:
    """Yield the texts of a module, with a word in the place of each value that is filled in."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.JoinedStr):
            yield "".join(
                str(part.value) if isinstance(part, ast.Constant) else "x" for part in node.values
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_every_command_in_a_message_or_a_guide_has_its_options() -> None:
    """Each option behind a verb is one of that verb's."""
    sources = {file: [*texts(file)] for file in sorted((ROOT / "harvester").rglob("*.py"))}
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    sources |= {page: [page.read_text("utf-8")] for page in pages}
    found = [
        (file, verb, option)
        for file, lines in sources.items()
        for line in lines
        for verb, rest in _COMMAND.findall(line)
        for option in _OPTION.findall(rest)
    ]
    assert len(found) > 50
    astray = [each for each in found if each[2] not in OPTIONS[each[1]] | {"--help"}]
    assert not astray

"""The name under which the package is installed: ``harvester`` on the index is another program.

It would get onto machines that hold AppSecrets.
"""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Iterator

import pytest

from tests.support.doc_pages import ROOT

NAME = "wechat-harvester"


def installs(name: str) -> re.Pattern[str]:
    """Return the pattern of a command that installs a distribution from an index."""
    return re.compile(
        rf"""(?:\b(?:install|download|wheel)|\b(?:uv|poetry|pdm)\ add|\buvx|--with)\s
        (?:[^`&|;\#\n]*?[\s'"])??{name}(?![\w./-])""",
        re.VERBOSE,
    )


BARE = (
    installs("harvester"),
    # A requirement, with an extra, a version or an address.
    re.compile(r"(?<![\w./-])harvester(?:\[[a-z]|\s*[=~<>!]=|\s@\s)"),
    # A list of requirements, and a file of them.
    re.compile(r"""dependencies\b[^\]\n]*["']harvester["']"""),
    re.compile(r"^harvester[ \\]*(?:[;\#].*)?$"),
    # What is installed, asked by its name.
    re.compile(r"""\b(?:version|metadata|distribution|requires|files)\(["']harvester["']"""),
)


def commands(text: str) -> Iterator[str]:
    """Yield the lines of a text, continued ones as one, and its spans of code in one line each."""
    yield from text.replace("\\\n", " ").splitlines()
    for span in re.findall(r"`[^`]+`", text):
        if "\n" in span:
            yield " ".join(span.split())


def texts() -> Iterator[tuple[str, str]]:
    """Yield the name and the text of each file of the project, this one left out."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("no git checkout")
    for name in listed.stdout.splitlines():
        file = ROOT / name
        if file.is_file() and not file.samefile(__file__):
            yield name, file.read_text("utf-8", errors="replace")


@pytest.mark.parametrize(
    "text",
    [
        "pip install harvester",
        "pip install -U 'harvester[duckdb]'",
        "uv pip install --python .venv/bin/python dagster harvester",
        "the extra (`pip install\nharvester`)",
        "pip install dagster \\\n    harvester",
        "uv add harvester && harvester run",
        "uvx harvester run",
        'message = "needs harvester[spark]"',
        "harvester>=0.1",
        "harvester @ git+https://example.com/x",
        '# dependencies = ["duckdb", "harvester"]',
        "duckdb>=1\nharvester # pinned\n",
        'importlib.metadata.version("harvester")',
    ],
)
def test_the_bare_name_is_found(text: str) -> None:
    """The patterns know the ways in which a page, a file or a program names a distribution."""
    assert any(pattern.search(each) for each in commands(text) for pattern in BARE)


@pytest.mark.parametrize(
    "text",
    [
        "pip install wechat-harvester",
        "pip install '.[spark]' && harvester run jobs.yaml",
        "pip install -e /src/harvester/",
        "a checkout in which `harvester` is installed",
        "`harvester` == `python -m harvester`",
        '["harvester", "run"]',
        'importlib.metadata.version("wechat-harvester")',
    ],
)
def test_the_command_and_the_import_are_not_taken_for_it(text: str) -> None:
    """They keep the short name."""
    assert not any(pattern.search(each) for each in commands(text) for pattern in BARE)


def test_nothing_names_the_distribution_of_others() -> None:
    """Pages, examples, messages and workflows name ours, and no index before its first release."""
    assert tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["name"] == NAME
    is_released = re.search(
        r"^## \[[\d.]+\] - \d", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE
    )
    wrong = BARE if is_released else (*BARE, installs(NAME))
    found = [
        f"{name}: {each.strip()}"
        for name, text in texts()
        for each in commands(text)
        if "harvester" in each and any(pattern.search(each) for pattern in wrong)
    ]
    assert not found, "\n".join(found)

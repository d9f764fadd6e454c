"""The screens in docs and in the tests' data are what the verbs print today, whole at any width."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from rich.cells import cell_len

from tests.support import screens
from tests.support.nights import by_night

COPIED = re.compile(r"harvester .*|.*(?:SELECT|FROM|FILTER|read_parquet|--).*|\s*https?://\S+")
"""Commands, queries and addresses, which are copied and therefore never wrapped."""


FEW, MANY = screens.ACCOUNTS


@pytest.fixture(scope="module", params=[FEW, *by_night([MANY])])
def accounts(request: pytest.FixtureRequest) -> int:
    """A number of accounts that there are screens of."""
    return int(request.param)


@pytest.fixture(scope="module")
def files(accounts: int) -> dict[Path, str]:
    """Every file of screens of so many accounts, with the content that it should have."""
    return dict(screens.files(accounts))


def test_the_files_are_what_is_printed(files: dict[Path, str]) -> None:
    """`python -m tests.support.screens` writes them anew."""
    stale = [path.name for path, screen in files.items() if path.read_text("utf-8") != screen]
    assert not stale, "run `python -m tests.support.screens` and look at the difference"


def test_no_line_is_wider_than_its_terminal(files: dict[Path, str]) -> None:
    """Nothing is cut with an ellipsis, and what is wrapped is wrapped between words."""
    for path, screen in files.items():
        width = int(re.findall(r"\d+", path.stem)[-1])
        lines = screen.splitlines()
        wide = [line for line in lines if cell_len(line) > width and not COPIED.search(line)]
        assert not wide
        assert "…" not in screen


def test_appids_days_and_numbers_are_whole_at_every_width(
    files: dict[Path, str], accounts: int
) -> None:
    """A word with a digit at 60 columns is one of those at 200."""
    of_width = {
        int(path.stem.rpartition("-")[2]): {*re.findall(r"[\w.,:-]*\d[\w.,:-]*", screen)}
        for path, screen in files.items()
        if path.stem.startswith(f"{accounts}-")
    }
    for width in screens.WIDTHS[:-1]:
        strange = of_width[width] - of_width[screens.WIDTHS[-1]]
        assert not strange, (accounts, width)


def test_a_check_of_accounts_of_which_two_fail_is_short(files: dict[Path, str]) -> None:
    """At most sixty lines at any width, the failing accounts first."""
    for path, screen in files.items():
        [checked] = re.findall(r"^\$ harvester check .*\n((?:(?!\$ ).*\n)*)", screen, re.MULTILINE)
        lines = checked.splitlines()
        assert len(lines) <= 60, path.name
        assert "refused" in "".join(lines[1:3])

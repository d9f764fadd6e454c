"""The screens in docs and in the tests' data are what the verbs print today, whole at any width."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from rich.cells import cell_len

from harvester.catalogue import CATALOGUE
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


@pytest.fixture(scope="module")
def chinese() -> dict[int, str]:
    """The screens in Chinese: a run with refused accounts, and what status says of it."""
    return screens.chinese()


def test_the_files_are_what_is_printed(files: dict[Path, str]) -> None:
    """`python -m tests.support.screens` writes them anew."""
    stale = [path.name for path, screen in files.items() if path.read_text("utf-8") != screen]
    assert not stale, "run `python -m tests.support.screens` and look at the difference"


def test_the_chinese_screen_is_what_is_printed(chinese: dict[int, str]) -> None:
    """Its lines fit, and a mark that ends something begins no line."""
    screen = chinese[screens.CHINESE_WIDTH]
    assert screens.CHINESE.read_text("utf-8") == screen
    for line in screen.splitlines():
        assert cell_len(line) <= screens.CHINESE_WIDTH or COPIED.search(line)
        assert not re.match(r"\s*[\uff0c\uff1b\uff1a\u3001\u3002]", line), line


def test_nothing_in_a_chinese_screen_is_left_in_english(chinese: dict[int, str]) -> None:
    """But for commands, what WeChat or the user wrote, and what is about the manifest."""
    foreign = (
        r"^\s*(?:\$ )?harvester .*$|`[^`]*`|wx[0-9a-f]{16}|\d+-\d\d-\d\dT\S+",
        r"(?<=^注意：)\d+ accounts have the name .*$",
        r"invalid appsecret|api unauthorized|reach max api daily quota limit|\(rid \S+\)",
        r"new secret asked for|Acme Service|Café Zürich|Blue Mountain Coffee Roasters\D+onal",
        r"limits\.daily_quota|\bt[0-2]\b",
    )
    text = re.sub("|".join(foreign), "", chinese[screens.WIDTHS[-1]], flags=re.MULTILINE)
    words = {*re.findall(r"[A-Za-z]\w+", re.sub(r"[\u3000-\uffff]", " ", text))}
    assert words - {*CATALOGUE} == {"AppID", "AppSecret", "run", "all"}


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

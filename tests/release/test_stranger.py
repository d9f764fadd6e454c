"""The way of a stranger with the wheel: install, tutorial, schedule, refusal, in two languages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.release.test_package import build, released
from tests.support import stranger
from tests.support.doc_pages import ROOT
from tests.support.stranger import Typed
from tests.support.told_page import usual

pytestmark = pytest.mark.slow

LOGS = ROOT / "build/stranger"

TIME = re.compile(r"T[\d:]{8}Z")
NUMBER = re.compile(r"\d+(?:[.,-]\d+)*")
DURATION = re.compile(r"^(  (?:time|耗时) +).*$", re.MULTILINE)


def numbers(text: str) -> list[str]:
    """Return the numbers of a summary, in whatever order a language names them."""
    return sorted(NUMBER.findall(DURATION.sub("", TIME.sub("", usual(text)))))


def words(text: str) -> str:
    """Return the words of a text, which the width of a terminal wraps, without times."""
    return "".join(TIME.sub("", usual(text)).split())


def is_chinese(text: str) -> bool:
    """Return whether a text has Chinese words of harvester, and not only WeChat's names."""
    return "应采" in text or "采集任务" in text


def mails(typed: list[Typed]) -> list[str]:
    """Return what cron printed each time."""
    return [each.output for each in typed if " SHELL=/bin/sh " in each.command]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the release, built once."""
    return (released() or build(ROOT, tmp_path_factory.mktemp("dist"))).wheel


@pytest.mark.parametrize("language", stranger.LANGUAGES)
def test_a_stranger_gets_from_the_wheel_to_the_first_refusal(
    wheel: Path, tmp_path: Path, language: str
) -> None:
    """Each step does what its page says. The log stays in build/stranger."""
    LOGS.mkdir(parents=True, exist_ok=True)
    typed = stranger.walk_through(wheel, tmp_path, LOGS / f"{language}.log", language)
    failed = [(each.command.split(" --lang")[0], each.code) for each in typed if each.code]
    assert failed == [
        ("harvester check jobs.yaml", 4),
        ("harvester run jobs.yaml", 3),
        ("harvester check jobs.yaml --acknowledge", 3),
    ]
    shown = [each for each in typed if each.told is not None]
    assert len(shown) == 11
    for each in shown:
        assert each.told
        if each.command.endswith(" --lang zh"):
            assert is_chinese(each.output)
            assert numbers(each.output) == numbers(each.told), each.command
        else:
            assert words(each.output) == words(each.told), each.command
    silent, told, *later = mails(typed)
    assert (silent, *later) == ("", "")
    assert "needs a person: 1, 1 new" in told
    assert stranger.REFUSED in told

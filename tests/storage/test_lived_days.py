"""Mornings of accounts over a source that is silent at times: what is asked, and what it rests on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import pytest

from harvester.core.calendar import Day
from tests.support.answers import MARCH, appid
from tests.support.lived_days import Asked, LivedDays, every_day

DAILY = "interface_summary"
HOURLY = "interface_summary_hour"
FOLLOWERS = "user_cumulate"
GUIDED = (DAILY, HOURLY)
ONE = (appid(1),)


def lived(life: LivedDays, begin: Day, end: Day) -> LivedDays:
    """Run every morning from one day to another."""
    for on in range(begin, end + 1):
        life.run(on)
    return life


Said = Literal["nothing", "a row", "another row each day", "a row once, then nothing"]


def says(what: Said) -> Callable[[Asked], int | None]:
    """Return a source that says the same of each day, whenever it is asked."""

    def source(asked: Asked) -> int | None:
        if what == "nothing" or (what != "a row" and asked.day == MARCH + 4 and asked.on % 3 == 0):
            return None
        return asked.on if what == "another row each day" else 1

    return source


@pytest.mark.parametrize("delayed", [(), (DAILY, HOURLY, FOLLOWERS, "upstream_msg")], ids=len)
@pytest.mark.parametrize("what", ["nothing", "a row", "another row each day"])
@pytest.mark.parametrize("first_run", [1, 20, 100])
@pytest.mark.parametrize("names", [(DAILY,), GUIDED, (FOLLOWERS,), ("upstream_msg",)], ids=",".join)
def test_nothing_is_asked_for_ever(
    names: tuple[str, ...], first_run: int, what: Said, delayed: tuple[str, ...]
) -> None:
    """Over 500 mornings a day is asked nine times at most, and in the end all days are final.

    A late day whose rows differ in each answer is asked for five weeks.
    """
    want = every_day(*names, appids=ONE, begin=MARCH, end=MARCH + 9)
    life = LivedDays(want, says(what), frozenset(delayed))
    lived(life, MARCH + first_run, MARCH + 500)
    assert max(life.due.values()) <= (36 if what == "another row each day" else 9)
    for name in names:
        state = life.state(name, ONE[0], MARCH + 500)
        assert state.answered == want[name][ONE[0]]
        # Of days without rows that each answer calls preliminary nothing is final.
        assert not state.provisional or (delayed and what == "nothing")
        assert not state.answered & ~state.no_ask_today

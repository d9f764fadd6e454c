"""Rechecks: which accounts are asked again by lot, on which mornings, and for which days."""

from __future__ import annotations

from collections import Counter

from harvester.catalogue import CATALOGUE
from harvester.core.calendar import Day, DaySet, newest, oldest, parse_day
from harvester.planning.rechecks import MORNINGS, ONE_IN, recheck_days

FIRST = parse_day("2026-03-01")
APPIDS = [f"wx{number:016x}" for number in range(1, 201)]
MANY = 500
"""Mornings that are looked at."""


def drawn(name: str, day: Day) -> dict[str, DaySet]:
    """Return the days of the accounts that are drawn on a morning."""
    found = {appid: recheck_days(CATALOGUE[name], appid, day) for appid in APPIDS}
    return {appid: days for appid, days in found.items() if days}


def test_one_question_in_five_hundred_has_a_recheck_beside_it() -> None:
    """Over all datasets, accounts and mornings; the same lots are drawn each time."""
    found = Counter(
        appid
        for name in CATALOGUE
        for day in range(FIRST, FIRST + MANY)
        for appid in drawn(name, day)
    )
    due = len(CATALOGUE) * len(APPIDS) * MANY / ONE_IN
    assert 0.8 * due < sum(found.values()) < 1.2 * due
    assert len(found) == len(APPIDS)
    assert all(
        drawn("user_summary", day) == drawn("user_summary", day) for day in (FIRST, FIRST + 9)
    )


def test_all_accounts_of_a_morning_are_asked_for_one_window() -> None:
    """Each month of a dataset is a file, which is written for them: on few mornings, and one."""
    mornings = [
        found for day in range(FIRST, FIRST + MANY) if (found := drawn("user_summary", day))
    ]
    assert 0.5 < len(mornings) * MORNINGS / MANY < 2
    assert all(len({*found.values()}) == 1 for found in mornings)


def test_a_window_lies_in_the_year_before_the_newest_one() -> None:
    """It is one call, and the windows of the newest days reach none of its days."""
    for name, dataset in CATALOGUE.items():
        ages = []
        for day in range(FIRST, FIRST + MANY):
            for days in drawn(name, day).values():
                assert newest(days) - oldest(days) + 1 == dataset.span
                ages.append(day - newest(days))
        assert dataset.span < min(ages) <= max(ages) <= dataset.span + 365

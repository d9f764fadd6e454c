"""Answers without rows that the other days of their account contradict."""

from __future__ import annotations

import pytest

from harvester.catalogue import CATALOGUE
from harvester.core.calendar import NO_DAYS, DaySet, day_range, one_day, parse_day
from harvester.core.model import Window
from harvester.tables.evidence import History, expects_rows

DAY = parse_day("2026-03-20")
FORTNIGHT = day_range(DAY - 14, DAY - 1)
AROUND = day_range(DAY - 7, DAY + 7) & ~one_day(DAY)
ALL = day_range(DAY - 30, DAY + 30)


def expected(dataset: str, begin: int, answered: DaySet, with_rows: DaySet) -> bool:
    """Return whether rows are expected of a window from a day to the twentieth."""
    window = Window("wx0000000000000001", dataset, begin, DAY)
    return expects_rows(CATALOGUE[dataset], window, History(answered, with_rows))


@pytest.mark.parametrize(
    ("with_rows", "is_expected"),
    [
        pytest.param(one_day(DAY - 30) | one_day(DAY + 30), True, id="on both sides"),
        pytest.param(day_range(DAY - 30, DAY - 7), False, id="before it alone"),
        pytest.param(day_range(DAY + 1, DAY + 30), False, id="after it alone"),
        pytest.param(one_day(DAY - 6), True, id="inside of it"),
        pytest.param(NO_DAYS, False, id="nowhere"),
    ],
)
def test_a_window_of_several_days(with_rows: DaySet, *, is_expected: bool) -> None:
    """It is expected between days with rows, and where it lacks rows that are stored."""
    assert expected("user_summary", DAY - 6, ALL, with_rows) is is_expected


@pytest.mark.parametrize(
    ("with_rows", "is_expected"),
    [
        pytest.param(one_day(DAY - 400), True, id="long ago"),
        pytest.param(one_day(DAY + 1), False, id="later alone"),
        pytest.param(NO_DAYS, False, id="never"),
    ],
)
def test_a_dataset_without_gaps(with_rows: DaySet, *, is_expected: bool) -> None:
    """Once an account has a row, it has one for each day."""
    assert expected("user_cumulate", DAY - 6, ALL, with_rows) is is_expected


@pytest.mark.parametrize(
    ("answered", "with_rows", "is_expected"),
    [
        pytest.param(ALL, AROUND, True, id="all of a week on either side"),
        pytest.param(ALL, AROUND & ~one_day(DAY + 3), True, id="all but one"),
        pytest.param(ALL, AROUND & ~day_range(DAY + 3, DAY + 4), False, id="all but two"),
        pytest.param(FORTNIGHT, FORTNIGHT, True, id="the newest day"),
        pytest.param(FORTNIGHT, FORTNIGHT & ~one_day(DAY - 14), True, id="the newest, all but one"),
        pytest.param(
            FORTNIGHT, FORTNIGHT & ~day_range(DAY - 14, DAY - 13), False, id="the newest, but two"
        ),
        pytest.param(
            day_range(DAY - 14, DAY + 2), day_range(DAY - 12, DAY + 2), True, id="two days after it"
        ),
        pytest.param(ALL, FORTNIGHT, False, id="silent since then"),
        pytest.param(ALL, NO_DAYS, False, id="never a row"),
    ],
)
def test_a_single_day(answered: DaySet, with_rows: DaySet, *, is_expected: bool) -> None:
    """Thirteen of the fourteen days around it that were answered have rows."""
    assert expected("upstream_msg_hour", DAY, answered, with_rows) is is_expected


def test_the_first_days_that_there_are() -> None:
    """Nothing lies before them, so nothing is expected of them."""
    first = parse_day("2014-12-01")
    for dataset in ("upstream_msg_hour", "user_summary"):
        window = Window("wx0000000000000001", dataset, first, first)
        history = History(day_range(first, first + 30), day_range(first + 1, first + 30))
        assert not expects_rows(CATALOGUE[dataset], window, history)

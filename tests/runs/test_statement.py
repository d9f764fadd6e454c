"""The statements beside an outcome: what is not ready or wanted, and what days rest on."""

from __future__ import annotations

import pytest

from harvester.core.calendar import instant, parse_day
from harvester.runs.record.account_report import DayCounts
from harvester.runs.record.statement import ground, statement

TODAY = parse_day("2026-12-03")
TEN = 10 * 60


@pytest.mark.parametrize(
    ("minute", "ready", "text"),
    [
        (9 * 60, TEN, "2026-12-02 gets ready at 10:00 in Beijing, in 60 minutes"),
        (TEN - 1, TEN, "2026-12-02 gets ready at 10:00 in Beijing, in 1 minute"),
        (0, TEN, "2026-12-02 gets ready at 10:00 in Beijing, in 600 minutes"),
        # The run began before.
        (TEN, TEN, "2026-12-02 got ready at 10:00 in Beijing: run again"),
        (TEN + 5, TEN, "2026-12-02 got ready at 10:00 in Beijing: run again"),
        (TEN + 5, 24 * 60 + TEN, None),
        (TEN + 5, None, None),
    ],
)
def test_a_day_that_is_over_is_told_until_it_is_ready(
    minute: int, ready: int | None, text: str | None
) -> None:
    """After the ready hour the next day is not over, which is no news."""
    at = None if ready is None else instant(TODAY, ready)
    assert statement(instant(TODAY, minute), at, is_wanted=True, paused=0) == text


@pytest.mark.parametrize(
    ("ready", "paused", "text"),
    [
        (TEN, 3, "nothing is wanted yet: 2026-12-02 gets ready at 10:00 in Beijing, in 60 minutes"),
        (
            3 * 24 * 60 + TEN,
            0,
            "nothing is wanted yet: 2026-12-05 gets ready on 2026-12-06 in Beijing",
        ),
        (None, 1, "nothing is wanted: 1 account paused"),
        (None, 0, "nothing is wanted: no account here has a day in the range of its jobs"),
    ],
)
def test_nothing_that_is_wanted_is_told_in_any_case(
    ready: int | None, paused: int, text: str
) -> None:
    """With the day on which that ends, if there is one."""
    at = None if ready is None else instant(TODAY, ready)
    now = instant(TODAY, 9 * 60)
    assert statement(now, at, is_wanted=False, paused=paused) == text


@pytest.mark.parametrize(
    ("found", "text"),
    [
        ([], None),
        ([DayCounts(wanted=3, done=3, provisional=3)], None),
        ([DayCounts(rows=7), DayCounts(rows=2)], "final days rest on: 100% rows"),
        (
            [DayCounts(rows=1995, two_answers=1), DayCounts(stretch=3, contradicted=1)],
            "final days rest on: 99.7% rows, 0.05% two_answers, 0.1% stretch, 0.05% contradicted",
        ),
        ([DayCounts(rows=9999, guide=1)], "final days rest on: 99.9% rows, 0.01% guide"),
    ],
)
def test_final_days_are_told_by_what_they_rest_on(found: list[DayCounts], text: str | None) -> None:
    """Shares are rounded down, and none is so small that it is left out."""
    assert ground(found) == text

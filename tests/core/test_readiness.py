"""The days from which a period may be asked and is final: cases, and what holds for all."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.catalogue import CATALOGUE
from harvester.core import calendar, readiness
from harvester.core.calendar import day_text, instant, parse_day
from harvester.core.dataset import Dataset, Grain
from tests.support.answers import period_end

DAILY = CATALOGUE["interface_summary"]
READY = 10 * 60


def of_grain(grain: Grain, settle: int = 0) -> Dataset:
    """A dataset with this clock."""
    return dataclasses.replace(DAILY, grain=grain, settle=settle, ready_minutes=READY)


@pytest.mark.parametrize(
    ("grain", "now", "newest"),
    [
        (Grain.DAY, ("2026-05-20", READY), "2026-05-19"),
        (Grain.DAY, ("2026-05-20", READY - 1), "2026-05-18"),
        (Grain.HOUR, ("2026-05-20", READY), "2026-05-19"),
        # Monday the 11th begins a week that ends on Sunday the 17th.
        (Grain.WEEK, ("2026-05-18", READY), "2026-05-11"),
        (Grain.WEEK, ("2026-05-18", READY - 1), "2026-05-04"),
        (Grain.WEEK, ("2026-05-24", READY), "2026-05-11"),
        (Grain.MONTH, ("2026-06-01", READY), "2026-05-01"),
        (Grain.MONTH, ("2026-06-01", READY - 1), "2026-04-01"),
        (Grain.MONTH, ("2024-03-01", READY), "2024-02-01"),
    ],
)
def test_the_newest_period_that_may_be_asked(
    grain: Grain, now: tuple[str, int], newest: str
) -> None:
    """A period may be asked from the ready hour of the day after its last, not a minute before."""
    day, minutes = now
    at = instant(parse_day(day), minutes)
    assert day_text(readiness.newest_ready(of_grain(grain), at)) == newest


@pytest.mark.parametrize(
    ("grain", "settle", "day", "asked", "is_settled"),
    [
        # A span-1 dataset: rows are final at once.
        (Grain.DAY, 0, "2026-05-20", "2026-05-20", False),
        (Grain.DAY, 0, "2026-05-19", "2026-05-20", True),
        # Three days of settling, as where the span covers it for free.
        (Grain.DAY, 3, "2026-05-17", "2026-05-20", False),
        (Grain.DAY, 3, "2026-05-16", "2026-05-20", True),
        # Thirty days after publication.
        (Grain.DAY, 30, "2026-04-20", "2026-05-20", False),
        (Grain.DAY, 30, "2026-04-19", "2026-05-20", True),
        # A week counts its age from its Sunday, a month from its last day.
        (Grain.WEEK, 0, "2026-05-11", "2026-05-17", False),
        (Grain.WEEK, 0, "2026-05-11", "2026-05-18", True),
        (Grain.WEEK, 3, "2026-05-11", "2026-05-20", False),
        (Grain.WEEK, 3, "2026-05-11", "2026-05-21", True),
        (Grain.MONTH, 0, "2026-04-01", "2026-04-30", False),
        (Grain.MONTH, 0, "2026-04-01", "2026-05-01", True),
        (Grain.MONTH, 3, "2026-04-01", "2026-05-03", False),
        (Grain.MONTH, 3, "2026-04-01", "2026-05-04", True),
    ],
)
def test_when_rows_are_settled(
    grain: Grain, settle: int, day: str, asked: str, *, is_settled: bool
) -> None:
    """Once the period is older than the settling time; it counts from the period's last day."""
    dataset = of_grain(grain, settle)
    at = instant(parse_day(asked), READY)
    assert (parse_day(day) < readiness.settled_before(dataset, at)) is is_settled


grains = st.sampled_from(list(Grain))
some_days = st.integers(calendar.FIRST_DAY, calendar.FIRST_DAY + 5_000)


@given(grains, some_days)
def test_a_period_holds_its_days(grain: Grain, day: int) -> None:
    """From its first to its last, and every day of it tells the same period."""
    begin, end = readiness.period_begin(grain, day), period_end(grain, day)
    assert begin <= day <= end
    assert readiness.period_begin(grain, end) == begin
    assert period_end(grain, begin) == end


@given(grains, some_days, st.integers(0, 400))
def test_the_periods_of_a_range_are_those_that_begin_in_it(
    grain: Grain, begin: int, length: int
) -> None:
    """First days inside of the range, each once, no others."""
    found = set(calendar.each_day(readiness.periods(grain, begin, begin + length)))
    inside = range(begin, begin + length + 1)
    assert found == {day for day in inside if readiness.period_begin(grain, day) == day}


@given(grains, some_days, st.integers(0, 1439))
def test_the_next_period_gets_ready_at_its_moment_and_not_before(
    grain: Grain, day: int, minutes: int
) -> None:
    """It follows the newest ready one, which it replaces at that very moment."""
    dataset = of_grain(grain)
    now = instant(day, minutes)
    begin, at = readiness.next_ready(dataset, now)
    assert now < at
    assert readiness.newest_ready(dataset, at) == begin
    assert readiness.newest_ready(dataset, at - 1) == readiness.newest_ready(dataset, now) < begin


@given(grains, st.integers(0, 40), some_days, st.integers(0, 1439))
def test_what_is_ready_is_over_and_what_is_final_stays_so(
    grain: Grain, settle: int, day: int, minutes: int
) -> None:
    """Nothing is asked before its period has ended, and an answer never gets less final."""
    dataset = of_grain(grain, settle)
    now = instant(day, minutes)
    newest = readiness.newest_ready(dataset, now)
    assert period_end(grain, newest) < day
    settled = readiness.settled_before(dataset, now)
    assert settled <= readiness.settled_before(dataset, now + 86_400)
    assert readiness.settled_before(of_grain(grain, settle + 1), now) <= settled

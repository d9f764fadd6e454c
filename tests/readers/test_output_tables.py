"""Coverage as ranges of days, and the table of codes."""

from __future__ import annotations

import datetime as dt
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from harvester.core.calendar import date_of, month_begin, month_length, parse_month
from harvester.readers import output_tables
from harvester.storage.derived import derived_runs
from harvester.storage.footer import Footer
from harvester.tables import coverage
from harvester.tables.coverage import AccountDays, AskTimes

MONTHS = [parse_month(text) for text in ("2024-02", "2026-04", "2026-05")]
DAY = dt.timedelta(1)


@st.composite
def days_of_accounts(draw: st.DrawFn) -> tuple[int, dict[str, AccountDays]]:
    """Return a month, and accounts whose masks a merge can make."""
    month = draw(st.sampled_from(MONTHS))
    masks = st.integers(0, (1 << month_length(month)) - 1)
    accounts = {}
    for number in range(draw(st.integers(0, 4))):
        final, provisional, bad, rows = (draw(masks) for _ in range(4))
        provisional &= ~final
        asked = {bit: AskTimes(0, 0) for bit in range(31) if provisional >> bit & 1}
        known = AccountDays(final, provisional, bad, rows & (final | provisional), asked=asked)
        accounts[f"wx{number:016x}"] = known
    return month, accounts


def state_of(days: AccountDays, bit: int) -> tuple[str, bool | None] | None:
    """Return the state of one day, None if it was never answered."""
    answered = (days.final | days.provisional) >> bit & 1
    has_rows = bool(days.with_rows >> bit & 1) if answered else None
    if days.quarantined >> bit & 1:
        return "quarantined", has_rows
    if not answered:
        return None
    return ("final" if days.final >> bit & 1 else "provisional"), has_rows


@given(days_of_accounts())
def test_ranges_are_the_longest_of_equal_days(
    found: tuple[int, dict[str, AccountDays]],
) -> None:
    """Each day that was answered is in one range, no other day is, and no two ranges could join."""
    month, accounts = found
    footer = Footer(coverage.of_accounts(month, accounts), {})
    batch = output_tables.coverage_ranges("user_summary", footer)
    rows: list[dict[str, Any]] = batch.to_pylist()
    assert batch.schema == output_tables.COVERAGE
    assert [row["appid"] for row in rows] == sorted(row["appid"] for row in rows)
    first = date_of(month_begin(month))
    for appid, days in accounts.items():
        ranges = [row for row in rows if row["appid"] == appid]
        told = {
            row["begin_date"] + DAY * number: (row["state"], row["has_rows"])
            for row in ranges
            for number in range((row["end_date"] - row["begin_date"]).days + 1)
        }
        states = {first + DAY * bit: state_of(days, bit) for bit in range(month_length(month))}
        assert told == {day: state for day, state in states.items() if state is not None}
        for one, other in pairwise(ranges):
            assert one["end_date"] < other["begin_date"]
            touch = one["end_date"] + DAY == other["begin_date"]
            same = all(one[name] == other[name] for name in ("state", "has_rows"))
            assert not (touch and same)


def test_codes_are_text_and_where_they_can_be_numbers() -> None:
    """Each row has a code as text; its number is the same."""
    for row in derived_runs.codes().to_pylist():
        assert row["code"]
        assert row["label_en"]
        assert row["code_int"] is None or str(row["code_int"]) == row["code"]

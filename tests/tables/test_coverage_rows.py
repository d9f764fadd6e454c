"""Rows of the table `coverage`, against a loop over the days."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harvester.catalogue import CATALOGUE
from harvester.core.calendar import date_of, from_month_mask, month_of
from harvester.core.day_states import Cause, DaysBeside
from harvester.tables import coverage, coverage_rows
from harvester.tables.coverage import OLD_DAYS, AccountDays, AskTimes
from harvester.tables.coverage_rows import DatasetDays
from tests.support.answers import MARCH, appid

MONTH = month_of(MARCH)
ASKED = AccountDays(provisional=1, asked={0: AskTimes(1, 2, 1)})
MASKS = st.integers(0, 2**31 - 1) | st.sampled_from([0, 2**31 - 1])


@st.composite
def in_footer(draw: st.DrawFn) -> AccountDays:
    """A state of an account's month: a few times, so that days share some."""
    provisional = draw(MASKS)
    final = draw(MASKS) & ~provisional
    once = draw(MASKS) & provisional
    timed = [day for day in range(31) if (provisional & ~once) >> day & 1]
    times = st.integers(1, 3).map(lambda at: AskTimes(at, at + 1, at))
    asked = {day: draw(times) for day in (*timed, *([OLD_DAYS] if once else []))}
    rows = draw(MASKS) & (final | provisional)
    guide, contradicted = (draw(MASKS) & final & ~rows for _ in range(2))
    bad = draw(MASKS)
    return AccountDays(
        final, provisional, bad, rows, guide=guide, contradicted=contradicted & ~guide, asked=asked
    )


def beside() -> st.SearchStrategy[DaysBeside]:
    """Return what a run knows of an account; causes share no day, and may share their reason."""

    def made(masks: tuple[int, ...]) -> DaysBeside:
        wanted, stretch, silent, one, other, first = (
            from_month_mask(mask, MONTH) for mask in masks
        )
        first &= one
        refused = (Cause(days, "refused", 48001) for days in (first, one & ~first))
        causes = (*refused, Cause(other & ~one, "quota", None, 7))
        return DaysBeside(wanted, stretch, silent & ~stretch, causes)

    return st.tuples(*[MASKS] * 6).map(made)


@given(
    st.dictionaries(st.integers(0, 5).map(appid), in_footer()),
    st.dictionaries(st.integers(0, 5).map(appid), beside()),
    st.sampled_from([1, 40, coverage_rows.PIECE_ROWS]),
)
@example({appid(0): AccountDays(), appid(1): ASKED}, {}, 1)
def test_each_day_is_told_once_and_as_it_is(
    known: dict[str, AccountDays], others: dict[str, DaysBeside], most: int
) -> None:
    """By their key, as ranges that could not be longer, whatever the row groups are."""
    days = DatasetDays(CATALOGUE["user_summary"], others)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coverage_rows, "PIECE_ROWS", most)
        pieces = [*days.rows(coverage.of_accounts(MONTH, known))]
    assert all(len(piece) <= most or not piece["appid"].unique()[1:] for piece in pieces)
    rows = [row for piece in pieces for row in piece.to_pylist()]
    found = {}
    for row in rows:
        span = range((row["end_date"] - row["begin_date"]).days + 1)
        begin = (row["begin_date"] - date_of(MARCH)).days
        for bit in (begin + number for number in span):
            assert (row["appid"], bit) not in found
            found[row["appid"], bit] = told(row)
    expected = {
        (name, bit): day
        for name in known.keys() | others.keys()
        for bit in range(31)
        if (day := day_of(known.get(name, AccountDays()), others.get(name, DaysBeside()), bit))
    }
    assert found == expected
    keys = [(row["appid"], row["begin_date"]) for row in rows]
    assert keys == sorted(keys)
    for one, other in pairwise(rows):
        touch = one["appid"] == other["appid"] and (other["begin_date"] - one["end_date"]).days == 1
        assert not (touch and told(one) == told(other))


def told(row: dict[str, Any]) -> tuple[Any, ...]:
    """Return what a row says of its days."""
    names = ("state", "has_rows", "witness", "wanted", "reason", "errcode")
    at = row["asked_at"] and int(row["asked_at"].timestamp())
    return (*(row[name] for name in names), at)


def day_of(known: AccountDays, others: DaysBeside, bit: int) -> tuple[Any, ...] | None:
    """Return what is to be told of one day, None if nothing is known of it or wanted."""
    one = 1 << bit
    day = from_month_mask(one, MONTH)
    wanted, stretch, silent = (bool(each & day) for each in others[:3])
    answered, bad = (known.final | known.provisional) & one, known.quarantined & one
    if not answered and not bad:
        why = (cause for cause in others.causes if cause.days & day)
        cause = next(why, Cause(day, "not_asked"))
        missing = ("missing", None, None, True, cause.reason, cause.errcode, None)
        return missing if wanted else None
    is_open = known.provisional & one and not (stretch or silent or bad)
    state = "quarantined" if bad else "provisional" if is_open else "final"
    has_rows = bool(known.with_rows & one) if answered else None
    witness = None
    if state == "final":
        was_open = bool(known.provisional & one)
        rests_on = {
            "rows": has_rows,
            "guide": known.guide & one or (was_open and silent),
            "contradicted": known.contradicted & one,
            "stretch": was_open and stretch,
            "two_answers": True,
        }
        witness = next(name for name, is_so in rests_on.items() if is_so)
    times = known.asked.get(bit, known.asked.get(OLD_DAYS)) if is_open else None
    return (state, has_rows, witness, wanted, None, None, times and times.rests_on)


@pytest.mark.parametrize("place", [0, 1])
def test_a_mark_differs_where_a_day_does(place: int) -> None:
    """Accounts that change places change it too, and the mark of another month stays."""
    day = from_month_mask(1 << 5, MONTH + place)
    every = from_month_mask(2**28 - 1, MONTH) | from_month_mask(2**28 - 1, MONTH + 1)
    whole, part, refused = DaysBeside(every), DaysBeside(every & ~day), Cause(day, "refused")
    found = [(whole, part), (part, whole), (whole, whole), (whole, DaysBeside(every, day))]
    found += [(whole, DaysBeside(every, silent=day))]
    found += [(whole, DaysBeside(every, causes=(refused,)))]
    marks = [
        DatasetDays(CATALOGUE["user_summary"], {appid(1): one, appid(2): other}).marks()
        for one, other in found
    ]
    assert len({each[MONTH + place] for each in marks}) == len(found)
    assert len({each[MONTH + 1 - place] for each in marks}) == 1

from __future__ import annotations

from typing import Any

import pytest

from harvester.core.dataset import Column, Kind
from harvester.tables.columns import CHECKS, ValueMismatch, fast_check_of, nullable

BEYOND_64_BITS = 2**64
HALF_A_CHARACTER = "\ud800"

LISTED = Column(
    "parts",
    Kind.LIST,
    "a list",
    fields=(Column("part", Kind.COUNT, "which"), Column("share", Kind.RATE, "how much")),
)

FITS: list[tuple[Kind, list[Any], list[Any]]] = [
    (Kind.COUNT, [0, 1, 2**63 - 1], [0, 1, 2**63 - 1]),
    (Kind.COUNT, [2**62] * 4, [2**62] * 4),
    (Kind.COUNT, [99999999], [99999999]),
    (Kind.RATE, [0.5, 0, 1, -0.25], [0.5, 0, 1, -0.25]),
    (Kind.RATE, [2**53, -(2**53)], [2**53, -(2**53)]),
    (Kind.RATE, [5e-324, 1e30], [5e-324, 1e30]),
    (Kind.TEXT, ["", "全部", "a\x00b", "😀", "1"], ["", "全部", "a\x00b", "😀", "1"]),
    (Kind.HOUR, [0, 1200, 2300], [0, 12, 23]),
    (Kind.HOUR, [0, 12, 23], [0, 12, 23]),
    (Kind.DATE, ["1970-01-01", "2024-02-29"], [0, 19782]),
]

UNFIT: list[tuple[Kind, list[Any], str]] = [
    (Kind.COUNT, [1, 1.0], "a fraction where an integer belongs"),
    (Kind.COUNT, ["1"], "a text where an integer belongs"),
    (Kind.COUNT, [True], "true or false where an integer belongs"),
    (Kind.COUNT, [[1]], "a list where an integer belongs"),
    (Kind.COUNT, [{}], "an object where an integer belongs"),
    (Kind.COUNT, [5, -1], "a negative count"),
    (Kind.COUNT, [2**63], "a number beyond 64 bits"),
    (Kind.COUNT, [BEYOND_64_BITS, 1], "a number beyond 64 bits"),
    (Kind.RATE, [0.5, "0.5"], "a text where a number belongs"),
    (Kind.RATE, [False], "true or false where a number belongs"),
    (Kind.RATE, [float("nan")], "infinity or no number at all"),
    (Kind.RATE, [float("-inf"), 1], "infinity or no number at all"),
    (Kind.RATE, [2**53 + 1], "an integer beyond 2**53 where a fraction belongs"),
    (Kind.RATE, [-(10**400)], "an integer beyond 2**53 where a fraction belongs"),
    (Kind.TEXT, ["a", 1], "an integer where a text belongs"),
    (Kind.TEXT, ["a", None], "null where a text belongs"),
    (Kind.TEXT, ["a", HALF_A_CHARACTER], "a text with half a character"),
    (Kind.TEXT, ["\ud83d", "\ude00"], "a text with half a character"),
    (Kind.HOUR, [0, 100, 5], "an hour beyond 0 to 23"),
    (Kind.HOUR, [24], "an hour beyond 0 to 23"),
    (Kind.HOUR, ["100"], "a text where an hour belongs"),
    (Kind.DATE, ["2024-02-30"], "a date that is none"),
    (Kind.DATE, ["2024-2-3"], "a date that is none"),
    (Kind.DATE, [20240203], "a date that is none"),
    (Kind.DATE, [["2024-02-03"]], "a date that is none"),
]


@pytest.mark.parametrize(("kind", "values", "expected"), FITS)
def test_fitting_values_are_kept(kind: Kind, values: list[Any], expected: list[Any]) -> None:
    """Values that fit a column are stored unchanged, hours and days as numbers."""
    assert CHECKS[kind](values) == expected


@pytest.mark.parametrize(("kind", "values", "reason"), UNFIT)
def test_a_value_that_does_not_fit_its_column(kind: Kind, values: list[Any], reason: str) -> None:
    """One value that does not fit raises ValueMismatch, and the reason names its type."""
    with pytest.raises(ValueMismatch) as caught:
        CHECKS[kind](values)
    assert str(caught.value) == reason
    with pytest.raises(ValueMismatch):
        fast_check_of(Column("x", kind, "any"))(values)


@pytest.mark.parametrize("value", [float(2**64), -float(2**63), 1e30])
def test_a_float_that_may_have_been_an_integer(value: float) -> None:
    """The fast check rejects a float that orjson may have made of a long integer."""
    assert CHECKS[Kind.RATE]([value]) == [value]
    with pytest.raises(ValueMismatch):
        fast_check_of(Column("x", Kind.RATE, "any"))([value])


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.LIST])
def test_null_stays_null(kind: Kind) -> None:
    """A nullable check keeps nulls in their places and checks all other values."""
    fits = next(values for of, values, _ in FITS if of is kind)
    expected = CHECKS[kind](fits)
    check = nullable(CHECKS[kind])
    assert check([None, *fits, None]) == [None, *expected, None]
    assert check(fits) == expected
    assert check([None, None]) == [None, None]
    assert check([]) == []
    unfit = next(values for of, values, _ in UNFIT if of is kind)
    with pytest.raises(ValueMismatch):
        check([None, *(value for value in unfit if value is not None)])


@pytest.mark.parametrize(
    "value",
    [
        None,
        {},
        "part",
        [None],
        [[]],
        [{"part": 1}],
        [{"part": 1, "share": 0.5, "new": 1}],
        [{"part": 1, "new": 0.5}],
        [{"part": 1, "share": None}],
        [{"part": 1.0, "share": 0.5}],
        [{"part": 1, "share": "0.5"}],
        [{"part": 1, "share": 0.5}, {"part": True, "share": 0.5}],
    ],
    ids=repr,
)
def test_the_fast_check_rejects_irregular_lists(value: Any) -> None:
    """The fast check accepts only elements with exactly their fields, none of them null."""
    check = fast_check_of(LISTED)
    fine = [[], [{"part": 1, "share": 0.5}, {"part": 2, "share": 0}]]
    assert check(fine) == fine
    assert check([[]]) == [[]]
    with pytest.raises(ValueMismatch):
        check([*fine, value])

"""How rows come to be what they are in the end: lists that grow, and figures not yet settled."""

from __future__ import annotations

from typing import Any

from harvester.core.calendar import Day, day_text, parse_day
from harvester.sandbox.data.account import Row, words

_CODES = frozenset(
    {
        "ref_hour",
        "user_source",
        "msg_type",
        "count_interval",
        "publish_type",
        "position",
    }
)
"""Integers that count nothing."""

_YEAR = 371
"""Days of 53 weeks: a stray Monday stays a Monday."""


def grown_so_far(rows: list[Row], member: str, today: Day) -> list[Row]:
    """The rows with those entries of a list that tell of days before today."""
    return [
        {
            **row,
            member: [entry for entry in row[member] if parse_day(entry["stat_date"]) < today],
        }
        for row in rows
    ]


def preliminary(rows: list[Row], *, age: int, chance: str) -> list[Row]:
    """The rows as they may be told ``age`` days after their period.

    Every count that is not zero is smaller than in the end, by up to a half on the first day and
    less from day to day; what equals or adds up to something in a row still about does. Of several
    rows one may be missing.
    """
    missing, which, *lacking = words(f"unsettled {chance}", 2 + len(rows))
    young = [
        _scaled(row, 1023 - lack % (512 >> min(age - 1, 8)))
        for row, lack in zip(rows, lacking, strict=True)
    ]
    if len(young) > 1 and not missing % 3:
        del young[which % len(young)]
    return young


def stray(rows: list[Row], day: Day, years: int) -> list[Row]:
    """The same rows once more for each year, dated so many years ago."""
    return [
        {**row, "ref_date": day_text(day - _YEAR * year)}
        for year in range(1, years + 1)
        for row in rows
    ]


def _scaled(value: Any, share: int, name: str = "") -> Any:
    """All counts of a row, however deep, as so many 1024ths of themselves."""
    if isinstance(value, dict):
        return {key: _scaled(inner, share, key) for key, inner in value.items()}
    if isinstance(value, list):
        return [_scaled(inner, share, name) for inner in value]
    if isinstance(value, int) and name not in _CODES:
        return value * share >> 10
    return value

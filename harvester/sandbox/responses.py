"""Rows of the answers to valid windows, as they are at the moment of the call.

All figures are final, but the lists of articles still grow.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from harvester.core.calendar import Day, day_text, today
from harvester.core.dataset import Dataset, Nesting
from harvester.sandbox.data import Row, expected_rows, period_of

READY_MINUTES = 8 * 60
"""Minutes after midnight at which the rows of the day before appear."""


class Window(NamedTuple):
    """Days of an account's dataset, both included, asked for at ``now`` in Unix time."""

    dataset: Dataset
    appid: str
    begin: Day
    end: Day
    now: float


def rows_at(now: float, dataset: Dataset, appid: str, days: Iterable[Day]) -> list[Row]:
    """Return the rows that a call at ``now`` gets for these days of an account."""
    until = today(now - 60.0 * READY_MINUTES)
    rows: list[Row] = []
    for day in days:
        period = period_of(dataset.grain, day)
        if period and period[-1] < until:
            rows += expected_rows(dataset.name, appid, day)
    return grown_so_far(rows, dataset, until)


def grown_so_far(rows: list[Row], dataset: Dataset, until: Day) -> list[Row]:
    """Return the rows of a dataset. A list that grows has only its days before ``until``."""
    if dataset.nesting is not Nesting.ARRAY:
        return rows
    member, end = dataset.nested_field, day_text(until)
    return [
        {**row, member: [entry for entry in row[member] if entry["stat_date"] < end]}
        for row in rows
    ]

"""Rows of the answers to valid windows, as they are at the moment of the call.

All figures are final, but the lists of articles still grow.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from harvester.core.calendar import Day, parse_day, today
from harvester.core.dataset import Dataset
from harvester.sandbox.data import TABLES, Row, expected_rows

READY_MINUTES = 8 * 60
"""Minutes after midnight at which the rows of the day before appear."""


class Window(NamedTuple):
    """Days of an account's dataset, both included, asked for at ``now`` in Unix time."""

    dataset: Dataset
    appid: str
    begin: Day
    end: Day
    now: float


def rows_at(now: float, dataset: str, appid: str, days: Iterable[Day]) -> list[Row]:
    """Return the rows that a call at ``now`` gets for these days of an account."""
    table, until = TABLES[dataset], today(now - 60.0 * READY_MINUTES)
    rows: list[Row] = []
    for day in days:
        period = table.period(day)
        if period and period[-1] < until:
            rows += expected_rows(dataset, appid, day)
    return grown_so_far(rows, table.growing, until) if table.growing else rows


def grown_so_far(rows: list[Row], member: str, until: Day) -> list[Row]:
    """Return the rows with those entries of the list ``member`` whose days are before ``until``."""
    return [
        {**row, member: [entry for entry in row[member] if parse_day(entry["stat_date"]) < until]}
        for row in rows
    ]

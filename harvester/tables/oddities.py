"""Oddities: values that are stored as they came, and that readers of the numbers should know of.

The checks work on whole Arrow columns, so that an answer without oddities costs a few microseconds.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import TypeAlias

import pyarrow as pa

from harvester.core.dataset import Column, Dataset
from harvester.core.model import OddityKind
from harvester.tables import arrow_functions as pc
from harvester.tables.columns import neighbours
from harvester.tables.day_rows import Oddity

OddityCheck: TypeAlias = Callable[[pa.RecordBatch], tuple[Oddity, ...]]


def check_of(dataset: Dataset) -> OddityCheck:
    """Return the check of a dataset's rows, sorted by appid and key."""
    totals = tuple(column.name for column in dataset.columns if column.is_total)
    bounded = [
        (column, member, member.maximum)
        for column in dataset.columns
        for member in (column, *column.fields)
        if member.maximum is not None
    ]

    def check(rows: pa.RecordBatch) -> tuple[Oddity, ...]:
        return (*_falling(dataset, totals, rows), *_above(bounded, rows))

    return check


def _falling(dataset: Dataset, totals: tuple[str, ...], rows: pa.RecordBatch) -> Iterator[Oddity]:
    """Yield the totals that fall from one day to the next, which the last column of the key has."""
    if not totals or len(rows) < 2:
        return
    *series, day = ("appid", *dataset.key)
    pairs = {name: neighbours(rows.column(name)) for name in (day, *totals)}
    falls = {name: pc.and_(pc.less(*pairs[day]), pc.greater(*pairs[name])) for name in totals}
    # Rows of another article mostly begin with an earlier day, so few batches are compared whole.
    if not pc.any(functools.reduce(pc.or_kleene, falls.values()), min_count=0).as_py():
        return
    is_same = functools.reduce(
        pc.and_, (pc.equal(*neighbours(rows.column(name))) for name in series)
    )
    for name, fell in falls.items():
        at = pc.index(pc.and_(is_same, fell), pa.scalar(value=True)).as_py()
        if at >= 0:
            before, after = rows.column(name)[at].as_py(), rows.column(name)[at + 1].as_py()
            value = f"from {before:,} to {after:,} on {rows.column(day)[at + 1].as_py()}"
            yield Oddity(OddityKind.FALLING_TOTAL, name, value)


def _above(bounded: list[tuple[Column, Column, float]], rows: pa.RecordBatch) -> Iterator[Oddity]:
    """Yield the columns, or members of a LIST, with a value above their documented maximum."""
    for column, member, maximum in bounded:
        path, values = column.name, rows.column(column.name)
        if member is not column:
            path, values = f"{path}[].{member.name}", values.flatten().field(member.name)
        top = pc.max(values).as_py()
        if top is not None and top > maximum:
            yield Oddity(OddityKind.ABOVE_MAXIMUM, path, f"{top:g}")

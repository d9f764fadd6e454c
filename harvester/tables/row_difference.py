"""Comparison of an account's new rows with the old ones that they replace."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from harvester.core.calendar import Day
from harvester.core.plain import plain
from harvester.tables.columns import Slice

PROVENANCE = ("_fetched_at", "_run_id")
"""Columns that say how a row came, and nothing of what it says."""


def unchanged_days(old: Mapping[Day, list[Slice]], new: Mapping[Day, Slice]) -> set[Day]:
    """Return the days whose new rows say the same as their old ones, which are in key order."""
    contents: dict[int, pa.RecordBatch] = {}

    def content(piece: Slice) -> pa.RecordBatch:
        # Neighbouring days are in the same batches, which `old` and `new` keep alive.
        found = contents.get(id(piece.batch))
        if found is None:
            names = [name for name in piece.batch.schema.names if name not in PROVENANCE]
            found = contents[id(piece.batch)] = piece.batch.select(names)
        return found.slice(piece.offset, piece.length)

    def is_same(before: list[Slice], after: Slice) -> bool:
        offset = after.offset
        for piece in before:
            same_place = Slice(after.batch, offset, piece.length)
            if not content(piece).equals(content(same_place)):
                return False
            offset += piece.length
        return offset == after.offset + after.length

    return {day for day, before in old.items() if is_same(before, new[day])}


class ChangedValue(NamedTuple):
    """A value of a row that is published as another one. ``key`` tells which row."""

    key: Mapping[str, Any]
    column: str
    published: Any
    answered: Any


class Differences(NamedTuple):
    """Rows that only one side has, and values that differ in a row of both."""

    added: tuple[dict[str, Any], ...]
    removed: tuple[dict[str, Any], ...]
    changed: tuple[ChangedValue, ...]


def plain_rows(table: pa.Table | pa.RecordBatch, names: Iterable[str]) -> list[dict[str, Any]]:
    """Return the columns of these names as rows of values for JSON, without their provenance."""
    kept = [name for name in names if name not in PROVENANCE]
    rows: list[dict[str, Any]] = plain(table.select(kept).to_pylist())
    return rows


def differences(
    published: Iterable[dict[str, Any]], answered: Iterable[dict[str, Any]], key: Sequence[str]
) -> Differences:
    """Compare rows by the columns of their key."""
    old = {tuple(row[name] for name in key): row for row in published}
    new = {tuple(row[name] for name in key): row for row in answered}
    changed = [
        ChangedValue(dict(zip(key, at, strict=True)), name, old[at][name], value)
        for at, row in new.items()
        if at in old
        for name, value in row.items()
        if value != old[at][name]
    ]
    return Differences(
        tuple(row for at, row in new.items() if at not in old),
        tuple(row for at, row in old.items() if at not in new),
        tuple(changed),
    )

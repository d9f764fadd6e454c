"""Upgrade of rows with an older schema version to the current columns of their dataset.

A newer version of a dataset only adds columns. What WeChat sent for such a column before it was
declared is in ``_extra``, so it is moved from there. A value that does not fit its new column stays
in ``_extra``: no value is coerced or lost.
"""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa

from harvester.core.dataset import Column, Dataset, Kind
from harvester.tables.columns import CHECKS, ValueMismatch, arrow_schema
from harvester.tables.extra import extra_text
from harvester.tables.record_layout import Members

_EXTRA = "_extra"


def upgraded(batch: pa.RecordBatch, dataset: Dataset) -> pa.RecordBatch:
    """Return the same rows with all columns of the dataset."""
    schema = arrow_schema(dataset)
    old = {name: batch.column(name) for name in batch.schema.names}
    new = [column for column in dataset.columns if column.name not in old]
    extras = old[_EXTRA].to_pylist()
    found: dict[str, list[Any]] = {column.name: [None] * len(batch) for column in new}
    for row, text in enumerate(extras):
        if text is not None:
            extras[row] = _move_members(text, dataset.nested_field, new, found, row)
    columns = {**old, **found, _EXTRA: extras}
    arrays = [
        each if isinstance(each := columns[field.name], pa.Array) else pa.array(each, field.type)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _move_members(
    text: str, nested_field: str, new: list[Column], found: dict[str, list[Any]], row: int
) -> str | None:
    """Move members that have a column now into ``found``; returns the JSON of all others.

    Members of nested columns are read from the member ``nested_field``, where WeChat sent them.
    """
    members: Members = json.loads(text)
    moved = False
    for column in new:
        level = members.get(nested_field, {}) if column.nested else members
        if column.name in level and column.kind is not Kind.LIST:
            try:
                (found[column.name][row],) = CHECKS[column.kind]([level[column.name]])
            except ValueMismatch:
                continue
            del level[column.name]
            moved = True
    if not moved:
        return text
    # An object that is empty now would make a row without drift look as if it had some.
    if nested_field and not members.get(nested_field, True):
        del members[nested_field]
    return extra_text(members) if members else None

"""Rows of an older schema version in the columns of today's.

A newer version of a dataset's columns only adds some. What WeChat sent for them before anybody knew
them stands in ``_extra``, so it is moved from there. A value that does not fit its new column stays
where it is: nothing is coerced, and nothing is lost.
"""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa

from harvester.core.dataset import Column, Dataset, Kind
from harvester.tables.columns import ValueMismatch, arrow_schema, check_of
from harvester.tables.decode_strict import as_text
from harvester.tables.record_layout import Members

_EXTRA = "_extra"


def upgraded(batch: pa.RecordBatch, dataset: Dataset) -> pa.RecordBatch:
    """The same rows with all of the dataset's columns."""
    schema = arrow_schema(dataset)
    old = {name: batch.column(name) for name in batch.schema.names}
    new = [column for column in dataset.columns if column.name not in old]
    extras = old[_EXTRA].to_pylist()
    found: dict[str, list[Any]] = {column.name: [None] * len(batch) for column in new}
    for place, text in enumerate(extras):
        if text is not None:
            extras[place] = _moved(text, dataset.nested_field, new, found, place)
    columns = {**old, **found, _EXTRA: extras}
    arrays = [
        each if isinstance(each := columns[field.name], pa.Array) else pa.array(each, field.type)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _moved(
    text: str, inside: str, new: list[Column], found: dict[str, list[Any]], place: int
) -> str | None:
    """Put the members that have a column now where they belong; returns the text of the others.

    They stand where WeChat sent them: those of inner columns in the member ``inside``.
    """
    members: Members = json.loads(text)
    moved = False
    for column in new:
        level = members.get(inside, {}) if column.nested else members
        if column.name in level and column.kind is not Kind.LIST:
            try:
                (found[column.name][place],) = check_of(column.kind)([level[column.name]])
            except ValueMismatch:
                continue
            del level[column.name]
            moved = True
    if not moved:
        return text
    if inside and not members.get(inside, True):
        del members[inside]
    return as_text(members) if members else None

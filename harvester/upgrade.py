"""Rows of an older schema version in the columns of today's.

A newer version of a dataset's columns only adds some. What WeChat sent for them before anybody knew
them stands in ``_extra``, so it is moved from there. A value that does not fit its new column stays
where it is: nothing is coerced, and nothing is lost.
"""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa

from harvester.catalogue.dataset import Column, Dataset, Kind
from harvester.columns import Unfit, arrow_schema, check_of

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
            extras[place] = _moved(text, new, found, place)
    columns = {**old, **found, _EXTRA: extras}
    arrays = [
        each if isinstance(each := columns[field.name], pa.Array) else pa.array(each, field.type)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _moved(text: str, new: list[Column], found: dict[str, list[Any]], place: int) -> str | None:
    """Put the members that have a column now where they belong; returns the text of the others."""
    members = json.loads(text)
    before = len(members)
    for column in new:
        if column.name in members and column.kind is not Kind.LIST:
            try:
                (found[column.name][place],) = check_of(column.kind)([members[column.name]])
            except Unfit:
                continue
            del members[column.name]
    if len(members) == before:
        return text
    return json.dumps(members, ensure_ascii=False, separators=(",", ":")) if members else None

"""The types of columns: which values WeChat may send for them, and what Arrow makes of those.

Arrow itself must not judge: it turns 1.5 into 1 for an integer column without a word. So a value is
checked here, by its exact Python type, before Arrow ever sees it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import pyarrow as pa

from harvester.catalogue.dataset import Dataset, Kind
from harvester.days import parse_day

SCHEMA_VERSION = 1
"""Of the columns of every dataset. A file says which one it was written with."""

DATE_COLUMN = "ref_date"
"""The column every row is filed under. Each dataset's key begins with it."""

Check: TypeAlias = Callable[[list[Any]], list[Any]]
"""Turns the values of one day, none of them null, into those of the file, or raises Unfit."""

_LARGEST = 2**63 - 1
_HUNDREDS = {hour * 100: hour for hour in range(24)}
_PLAIN_HOURS = frozenset(range(24))


class Unfit(Exception):
    """A value that does not fit its column. The text is why its day is quarantined."""


def arrow_schema(dataset: Dataset) -> pa.Schema:
    """The columns of the dataset's files: appid, what WeChat sends, then where a row came from.

    Only the key is declared as never null. ``appid`` is plain text, since Arrow writes the whole
    dictionary with every slice of a dictionary column.
    """
    fields = [pa.field("appid", pa.string(), nullable=False)]
    for column in dataset.columns:
        nullable = column.name not in dataset.key
        fields.append(pa.field(column.name, _TYPES[column.kind], nullable=nullable))
    fields += [
        pa.field("_fetched_at", pa.timestamp("us", tz="UTC")),
        pa.field("_run_id", pa.string()),
        pa.field("_extra", pa.string()),
    ]
    return pa.schema(fields)


def check_of(kind: Kind) -> Check:
    """How values of this kind are checked."""
    return _CHECKS[kind]


def check_counts(values: list[Any]) -> list[Any]:
    """Integers from 0 to 2**63 - 1, as they are; of one day or of many. Raises Unfit."""
    if set(map(type, values)) != {int}:
        raise Unfit(f"{_first_other(values)} where an integer belongs")
    if min(values) < 0:
        raise Unfit("a negative count")
    if max(values) > _LARGEST:
        raise Unfit("a number beyond 64 bits")
    return values


def _check_hours(values: list[Any]) -> list[Any]:
    """``hour * 100`` as WeChat documents it, or plain hours, which some day may tell apart."""
    if set(map(type, values)) != {int}:
        raise Unfit(f"{_first_other(values)} where an hour belongs")
    try:
        return [_HUNDREDS[value] for value in values]
    except KeyError:
        if _PLAIN_HOURS.issuperset(values):
            return values
    raise Unfit("an hour beyond 0 to 23")


def _check_dates(values: list[Any]) -> list[Any]:
    try:
        return [parse_day(value) for value in values]
    except (TypeError, ValueError):
        raise Unfit("a date that is none") from None


_TYPES = {Kind.COUNT: pa.int64(), Kind.HOUR: pa.int32(), Kind.DATE: pa.date32()}
_CHECKS: dict[Kind, Check] = {
    Kind.COUNT: check_counts,
    Kind.HOUR: _check_hours,
    Kind.DATE: _check_dates,
}

_NAMES = {str: "a text", float: "a fraction", bool: "true or false", type(None): "null"}


def _first_other(values: list[Any]) -> str:
    """What the first value that is no integer is, for people."""
    other = next(type(value) for value in values if type(value) is not int)
    return _NAMES.get(other, "a list or an object")

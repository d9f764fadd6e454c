"""The types of columns: which values WeChat may send for them, and what Arrow makes of those.

Arrow itself must not judge: it turns 1.5 into 1 for an integer column without a word. So a value is
checked here, by its exact Python type, before Arrow ever sees it.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from math import isfinite
from typing import Any, NamedTuple, TypeAlias

import pyarrow as pa

from harvester.core.calendar import parse_day
from harvester.core.dataset import Column, Dataset, Kind

SCHEMA_VERSION = 1
"""Of the columns of every dataset. A file says which one it was written with."""


Check: TypeAlias = Callable[[list[Any]], list[Any]]
"""Turns the values of one day, none of them null, into those of the file, or raises Unfit."""

_LARGEST = 2**63 - 1
_LARGEST_EXACT = 2**53
_HUNDREDS = {hour * 100: hour for hour in range(24)}
_PLAIN_HOURS = frozenset(range(24))


class Slice(NamedTuple):
    """Rows that lie beside each other in a batch of the dataset's schema."""

    batch: pa.RecordBatch
    offset: int
    length: int


class ValueMismatch(Exception):
    """A value that does not fit its column. The text is why its day is quarantined."""


def arrow_schema(dataset: Dataset) -> pa.Schema:
    """The columns of the dataset's files: appid, what WeChat sends, then where a row came from.

    Only the key is declared as never null. ``appid`` is plain text, since Arrow writes the whole
    dictionary with every slice of a dictionary column.
    """
    fields = [
        pa.field("appid", pa.string(), nullable=False),
        *(
            pa.field(column.name, _type_of(column), nullable=column.name not in dataset.key)
            for column in dataset.columns
        ),
        pa.field("_fetched_at", pa.timestamp("us", tz="UTC")),
        pa.field("_run_id", pa.string()),
        pa.field("_extra", pa.string()),
    ]
    return pa.schema(fields)


def _type_of(column: Column) -> pa.DataType:
    if column.kind is not Kind.LIST:
        return _TYPES[column.kind]
    members = [pa.field(member.name, _type_of(member)) for member in column.fields]
    # Parquet's own name for it, so that a file reads back as the very same type.
    return pa.list_(pa.field("element", pa.struct(members)))


def check_of(kind: Kind) -> Check:
    """How values of this kind are checked, LIST excepted, as the standard library read them."""
    return _CHECKS[kind]


def fast_check_of(column: Column) -> Check:
    """The same for what orjson read, LIST included; Unfit may also mean that it cannot tell.

    A LIST fits if each element has exactly the fields of its column, none of them null.
    """
    match column.kind:
        case Kind.RATE:
            return _quick_check_rates
        case Kind.LIST:
            return _quick_check_of_lists(column.fields)
    return _CHECKS[column.kind]


def nullable(check: Check) -> Check:
    """The same check where values may be null, which they stay."""

    def check_present(values: list[Any]) -> list[Any]:
        present = [value for value in values if value is not None]
        if not present:
            return values
        checked = check(present)
        if len(present) == len(values):
            return checked
        rest = iter(checked)
        return [None if value is None else next(rest) for value in values]

    return check_present


def check_counts(values: list[Any]) -> list[Any]:
    """Integers from 0 to 2**63 - 1, as they are; of one day or of many. Raises Unfit."""
    if set(map(type, values)) != {int}:
        raise ValueMismatch(f"{_first_but(values, int)} where an integer belongs")
    if min(values) < 0:
        raise ValueMismatch("a negative count")
    # A sum takes half the time of a maximum.
    if sum(values) > _LARGEST and max(values) > _LARGEST:
        raise ValueMismatch("a number beyond 64 bits")
    return values


def _check_rates(values: list[Any]) -> list[Any]:
    """Finite numbers, as they are: integers among them are such that a double holds exactly."""
    if not {int, float}.issuperset(map(type, values)):
        raise ValueMismatch(f"{_first_but(values, int, float)} where a number belongs")
    if any(type(value) is int and abs(value) > _LARGEST_EXACT for value in values):
        raise ValueMismatch("an integer beyond 2**53 where a fraction belongs")
    if not all(map(isfinite, values)):
        raise ValueMismatch("infinity or no number at all")
    return values


def _quick_check_rates(values: list[Any]) -> list[Any]:
    # orjson makes floats of integers beyond 64 bits, so a float so large may have been either.
    _check_rates(values)
    if max(values) > _LARGEST_EXACT or min(values) < -_LARGEST_EXACT:
        raise ValueMismatch("a number too large to tell what it was")
    return values


def _check_texts(values: list[Any]) -> list[Any]:
    """Texts that UTF-8 can spell, which it cannot for lone surrogates."""
    if set(map(type, values)) != {str}:
        raise ValueMismatch(f"{_first_but(values, str)} where a text belongs")
    if not is_utf8_encodable("".join(values)):
        raise ValueMismatch("a text with half a character")
    return values


def is_utf8_encodable(text: str) -> bool:
    """Whether UTF-8 can spell it, which it cannot for lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_hours(values: list[Any]) -> list[Any]:
    """``hour * 100`` as WeChat documents it, or plain hours, which some day may tell apart."""
    if set(map(type, values)) != {int}:
        raise ValueMismatch(f"{_first_but(values, int)} where an hour belongs")
    try:
        return [_HUNDREDS[value] for value in values]
    except KeyError:
        if _PLAIN_HOURS.issuperset(values):
            return values
    raise ValueMismatch("an hour beyond 0 to 23")


def _check_dates(values: list[Any]) -> list[Any]:
    try:
        return list(map(parse_day, values))
    except (TypeError, ValueError):
        raise ValueMismatch("a date that is none") from None


def _quick_check_of_lists(fields: tuple[Column, ...]) -> Check:
    checks = [(field.name, fast_check_of(field)) for field in fields]

    def check_lists(values: list[Any]) -> list[Any]:
        if set(map(type, values)) != {list}:
            raise ValueMismatch("no list")
        elements = list(chain.from_iterable(values))
        if not elements:
            return values
        if set(map(type, elements)) != {dict} or set(map(len, elements)) != {len(checks)}:
            raise ValueMismatch("an element with other members")
        try:
            for name, check in checks:
                check([element[name] for element in elements])
        except KeyError:
            raise ValueMismatch("an element with other members") from None
        return values

    return check_lists


_TYPES = {
    Kind.COUNT: pa.int64(),
    Kind.RATE: pa.float64(),
    Kind.TEXT: pa.string(),
    Kind.HOUR: pa.int32(),
    Kind.DATE: pa.date32(),
}
_CHECKS: dict[Kind, Check] = {
    Kind.COUNT: check_counts,
    Kind.RATE: _check_rates,
    Kind.TEXT: _check_texts,
    Kind.HOUR: _check_hours,
    Kind.DATE: _check_dates,
}

_NAMES = {
    str: "a text",
    int: "an integer",
    float: "a fraction",
    bool: "true or false",
    type(None): "null",
    list: "a list",
    dict: "an object",
}


def json_type_of(value: object) -> str:
    """What a JSON value is, for people."""
    return _NAMES[type(value)]


def _first_but(values: list[Any], *kinds: type) -> str:
    """What the first value that is none of these is, for people."""
    return json_type_of(next(value for value in values if type(value) not in kinds))

"""Column types: the values that WeChat may send for each, and the Arrow type of each.

A value is checked here by its exact Python type before it is passed to Arrow, because Arrow
converts silently: it stores 1.5 as 1 in an integer column.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import chain
from math import isfinite
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar

import pyarrow as pa

from harvester.core.calendar import parse_day
from harvester.core.dataset import Column, Dataset, Kind

Check: TypeAlias = Callable[[list[Any]], list[Any]]
"""Function from the values of one day, none of them null, to those of the file.

Raises ValueMismatch for a value that does not fit.
"""

Values = TypeVar("Values", pa.Array, pa.ChunkedArray)

_FIELD_ID = b"PARQUET:field_id"
"""Key under which Arrow keeps the field id of a column of a Parquet file."""

_MAX_INT64 = 2**63 - 1
_MAX_EXACT_INTEGER = 2**53
_HOURS_BY_HUNDREDS = {hour * 100: hour for hour in range(24)}
_HOURS = frozenset(range(24))


class Slice(NamedTuple):
    """Consecutive rows of a batch that has the dataset's schema."""

    batch: pa.RecordBatch
    offset: int
    length: int


class ValueMismatch(Exception):
    """A value that does not fit its column. The text is the reason for the day's quarantine."""


def arrow_schema(dataset: Dataset) -> pa.Schema:
    """Return the schema of the dataset's files: appid, WeChat's columns, then the provenance.

    Only the columns of the key are declared as never null. ``appid`` is a plain string, because
    Arrow writes the whole dictionary with every slice of a dictionary column.
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


def described_schema(dataset: Dataset) -> pa.Schema:
    """Return the schema with the meaning and the unit of WeChat's columns, as fields' metadata.

    It equals `arrow_schema`, because metadata is not compared.
    """
    schema = arrow_schema(dataset)
    for place, column in enumerate(dataset.columns, 1):
        about = {"comment": column.meaning, "unit": column.unit}
        schema = schema.set(place, schema.field(place).with_metadata(about))
    return schema


def with_field_ids(schema: pa.Schema, ids: Mapping[str, int]) -> pa.Schema:
    """Return a schema with these field ids of columns and their members, and with no others.

    ``ids`` are by path, as Iceberg writes it: ``tags.element``, ``labels.key``, ``labels.value``.
    """
    return pa.schema([_with_ids(field, field.name, ids) for field in schema], schema.metadata)


def _with_ids(field: pa.Field, path: str, ids: Mapping[str, int]) -> pa.Field:
    kind, about = field.type, dict(field.metadata or {})
    if pa.types.is_struct(kind):
        kind = pa.struct([_with_ids(member, f"{path}.{member.name}", ids) for member in kind])
    elif pa.types.is_map(kind):
        key = _with_ids(kind.key_field, f"{path}.key", ids)
        kind = pa.map_(key, _with_ids(kind.item_field, f"{path}.value", ids))
    elif pa.types.is_list(kind):
        kind = pa.list_(_with_ids(kind.value_field, f"{path}.element", ids))
    about.pop(_FIELD_ID, None)
    if path in ids:
        about[_FIELD_ID] = str(ids[path])
    return field.with_type(kind).with_metadata(about)


def _type_of(column: Column) -> pa.DataType:
    if column.kind is not Kind.LIST:
        return _TYPES[column.kind]
    members = [pa.field(member.name, _type_of(member)) for member in column.fields]
    # "element" is Parquet's own name, so that a file is read back with exactly this type.
    return pa.list_(pa.field("element", pa.struct(members)))


def fast_check_of(column: Column) -> Check:
    """Return the check of a column, LIST included, for values that orjson parsed.

    Such a check also raises ValueMismatch where orjson's value may differ from what was sent. A
    LIST fits if each element has exactly the fields of its column, none of them null.
    """
    if column.kind is Kind.LIST:
        return _fast_check_of_lists(column.fields)
    return _fast_check_rates if column.kind is Kind.RATE else CHECKS[column.kind]


def neighbours(values: Values) -> tuple[Values, Values]:
    """Return a column without its last value, and without its first one."""
    return values[:-1], values[1:]


def numbers_of(values: pa.Array, form: Literal["i", "q"]) -> memoryview:
    """Return the integers of a column without nulls, without a copy; ``form`` is as in `array`."""
    whole = memoryview(values.buffers()[1]).cast("B").cast(form)
    return whole[values.offset : values.offset + len(values)]


def nullable(check: Check) -> Check:
    """Return a check that keeps nulls and applies ``check`` to all other values."""

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


def require_type(values: list[Any], expected: str, *types: type, path: str = "") -> None:
    """Raise ValueMismatch unless the exact type of each value is one of ``types``.

    ``expected`` names the types in the message, and ``path`` the member that has the values.
    """
    if not set(types).issuperset(map(type, values)):
        other = next(value for value in values if type(value) not in types)
        prefix = f"{path}: " if path else ""
        raise ValueMismatch(f"{prefix}{JSON_TYPES[type(other)]} where {expected} belongs")


def check_counts(values: list[Any]) -> list[Any]:
    """Return integers from 0 to 2**63 - 1 unchanged; they may be of one day or of many.

    Raises ValueMismatch for any other value.
    """
    require_type(values, "an integer", int)
    if min(values) < 0:
        raise ValueMismatch("a negative count")
    # The sum comes first because it takes half the time of a maximum.
    if sum(values) > _MAX_INT64 and max(values) > _MAX_INT64:
        raise ValueMismatch("a number beyond 64 bits")
    return values


def _check_rates(values: list[Any]) -> list[Any]:
    """Return finite numbers unchanged, integers only if a double holds them exactly."""
    require_type(values, "a number", int, float)
    if any(type(value) is int and abs(value) > _MAX_EXACT_INTEGER for value in values):
        raise ValueMismatch("an integer beyond 2**53 where a fraction belongs")
    if not all(map(isfinite, values)):
        raise ValueMismatch("infinity or no number at all")
    return values


def _fast_check_rates(values: list[Any]) -> list[Any]:
    _check_rates(values)
    # orjson turns integers beyond 64 bits into floats, so such a float may have been an integer.
    if max(values) > _MAX_EXACT_INTEGER or min(values) < -_MAX_EXACT_INTEGER:
        raise ValueMismatch("a number too large to tell what it was")
    return values


def _check_texts(values: list[Any]) -> list[Any]:
    require_type(values, "a text", str)
    try:
        # UTF-8 has no lone surrogates.
        "".join(values).encode()
    except UnicodeEncodeError:
        raise ValueMismatch("a text with half a character") from None
    return values


def _check_hours(values: list[Any]) -> list[Any]:
    """Accept ``hour * 100``, as WeChat documents it, or plain hours, but not both in one column."""
    require_type(values, "an hour", int)
    try:
        return [_HOURS_BY_HUNDREDS[value] for value in values]
    except KeyError:
        # Not value by value: hours beside hundreds in one column would be a guess.
        if _HOURS.issuperset(values):
            return values
    raise ValueMismatch("an hour beyond 0 to 23")


def _check_dates(values: list[Any]) -> list[Any]:
    try:
        return list(map(parse_day, values))
    except (TypeError, ValueError):
        raise ValueMismatch("a date that is none") from None


def _fast_check_of_lists(fields: tuple[Column, ...]) -> Check:
    checks = [(field.name, fast_check_of(field)) for field in fields]

    def check_lists(values: list[Any]) -> list[Any]:
        require_type(values, "a list", list)
        elements = list(chain.from_iterable(values))
        if not elements:
            return values
        require_type(elements, "an object", dict)
        if set(map(len, elements)) != {len(checks)}:
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
CHECKS: dict[Kind, Check] = {
    Kind.COUNT: check_counts,
    Kind.RATE: _check_rates,
    Kind.TEXT: _check_texts,
    Kind.HOUR: _check_hours,
    Kind.DATE: _check_dates,
}
"""The check of each kind but LIST, for values that the standard library parsed."""

JSON_TYPES = {
    str: "a text",
    int: "an integer",
    float: "a fraction",
    bool: "true or false",
    type(None): "null",
    list: "a list",
    dict: "an object",
}

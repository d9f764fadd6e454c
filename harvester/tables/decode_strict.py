"""Rows that need a second look: value by value, one day of one account at a time.

Here integers are of any size and texts may be such that UTF-8 cannot spell them: what comes in is
what the standard library reads, which is what the answer says.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, NamedTuple, TypeAlias

from harvester.core.dataset import Column, Kind
from harvester.core.safe_text import safe_text
from harvester.tables.columns import ValueMismatch, check_of, is_utf8_encodable, nullable
from harvester.tables.record_layout import (
    Level,
    Members,
    RecordLayout,
    flatten,
    level_of,
    require_type,
)

Columns: TypeAlias = tuple[list[Any], ...]

_ESCAPED = json.JSONEncoder(allow_nan=False, separators=(",", ":"), sort_keys=True)
_READABLE = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True
)

_LONGEST_NAME = 100


@dataclass(frozen=True, slots=True)
class SchemaDrift:
    """Members that nobody declared, and promised ones that had no value, as paths."""

    unknown: set[str] = field(default_factory=set)
    missing: set[str] = field(default_factory=set)


class _Rows(NamedTuple):
    """One level of a day's rows: the members of each, and those of them that nobody declared."""

    level: Level
    members: list[Members]
    rest: list[Members]


def exact_elements(body: bytes) -> list[Any] | None:
    """The answer's list as the standard library reads it; None if it cannot."""
    try:
        elements: list[Any] = json.loads(body.decode("utf-8-sig"), strict=False)["list"]
    except (ValueError, RecursionError):
        return None
    return elements


def read_day(
    shape: RecordLayout, elements: list[Members], odd: SchemaDrift
) -> tuple[Columns, list[str | None]]:
    """The columns of one day's rows, sorted by key, and their extra.

    A promised member that is null or left out is null. Raises Unfit with the reason for which the
    day cannot be used.
    """
    own, inner = _levels(shape, elements, odd)
    read = [
        _read_column(column, inner if column.nested else own, odd, is_key=place in shape.key)
        for place, column in enumerate(shape.columns)
    ]
    extras = [_extra(shape, *rest) for rest in zip(own.rest, inner.rest, strict=True)]
    kept: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    for values in zip(*read, extras, strict=True):
        key = tuple(values[place] for place in shape.key)
        if kept.setdefault(key, values) != values:
            raise ValueMismatch("two different rows for the same key")
    if not kept:
        return (), []
    *columns, extra = map(list, zip(*(kept[key] for key in sorted(kept)), strict=True))
    return tuple(columns), extra


def _levels(shape: RecordLayout, elements: list[Members], odd: SchemaDrift) -> tuple[_Rows, _Rows]:
    """The rows that the elements stand for. Raises Unfit for nested members of another type."""
    _note_unknown(shape.own, elements, odd)
    if shape.nested_field:
        _note_bare(shape, elements, odd)
    own, inner = flatten(shape, elements)
    return _rows(shape.own, own, odd), _rows(shape.nested, inner or [{} for _ in own], odd)


def _note_bare(shape: RecordLayout, elements: list[Members], odd: SchemaDrift) -> None:
    """Note elements without nested members. Raises Unfit where that may be a loss."""
    bare = [element for element in elements if element.get(shape.nested_field) is None]
    if not bare:
        return
    odd.missing.add(shape.nested_field)
    if shape.is_array and any(element.keys() - shape.own.declared for element in bare):
        # They may have another name now, and without rows there is no _extra to keep them in.
        raise ValueMismatch(
            f"{shape.nested_field}: a row without it, but with members that nobody declared"
        )


def _rows(level: Level, members: list[Members], odd: SchemaDrift) -> _Rows:
    _note_unknown(level, members, odd)
    return _Rows(level, members, [_others(each, level) for each in members])


def _note_unknown(level: Level, members: list[Members], odd: SchemaDrift) -> None:
    for name in set().union(*members) - level.declared:
        odd.unknown.add(level.prefix + safe_text(name, _LONGEST_NAME))


def _others(members: Members, level: Level) -> Members:
    """Those that nobody declared."""
    return {name: members[name] for name in members if name not in level.declared}


def _read_column(column: Column, rows: _Rows, odd: SchemaDrift, *, is_key: bool) -> list[Any]:
    """A column's values, checked; null where a row has none. Raises Unfit."""
    path = rows.level.prefix + column.name
    values = _values(column, path, rows.members, odd)
    if is_key and None in values:
        raise ValueMismatch(f"{path}: a row without it")
    if column.kind is Kind.LIST:
        return _read_lists(column, rows, values, odd)
    return _checked(column, path, values)


def _values(column: Column, path: str, members: list[Members], odd: SchemaDrift) -> list[Any]:
    values = [each.get(column.name) for each in members]
    if column.required and None in values:
        odd.missing.add(path)
    return values


def _checked(column: Column, path: str, values: list[Any]) -> list[Any]:
    try:
        return nullable(check_of(column.kind))(values)
    except ValueMismatch as error:
        raise ValueMismatch(f"{path}: {error}") from None


def _read_lists(column: Column, rows: _Rows, values: list[Any], odd: SchemaDrift) -> list[Any]:
    """Lists whose elements have exactly the column's fields; other members join the row's rest."""
    path = rows.level.prefix + column.name
    require_type(list, [value for value in values if value is not None], path)
    elements = list(chain.from_iterable(filter(None, values)))
    require_type(dict, elements, path)
    level = level_of(column.fields, prefix=f"{path}.")
    _note_unknown(level, elements, odd)
    for each in column.fields:
        below = level.prefix + each.name
        _checked(each, below, _values(each, below, elements, odd))
    for place, value in enumerate(values):
        others = [_others(element, level) for element in value or ()]
        if any(others):
            rows.rest[place][column.name] = others
    names = [each.name for each in column.fields]
    return [
        None if value is None else [{name: each.get(name) for name in names} for each in value]
        for value in values
    ]


def _extra(shape: RecordLayout, own: Members, inner: Members) -> str | None:
    """The members nobody declared, where they stood, as compact sorted JSON.

    Raises Unfit for NaN and infinity.
    """
    members = {**own, shape.nested_field: inner} if inner else own
    if not members:
        return None
    try:
        return as_text(members)
    except (ValueError, RecursionError):
        raise ValueMismatch("an undeclared member that cannot be kept exactly") from None


def as_text(members: Members) -> str:
    """Compact sorted JSON, escaped only if UTF-8 cannot spell it otherwise.

    Raises ValueError for NaN and infinity, RecursionError for what is too deep.
    """
    text = _READABLE.encode(members)
    return text if is_utf8_encodable(text) else _ESCAPED.encode(members)

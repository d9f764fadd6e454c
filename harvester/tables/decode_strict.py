"""Strict decoder: one day of one account at a time, value by value. `decode` says when it runs.

It works on what the standard library parses, which is exactly what the answer says: integers of any
size, and texts with lone surrogates.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from heapq import nsmallest
from itertools import chain
from typing import Any, NamedTuple

from harvester.core.dataset import Column, Kind
from harvester.core.text.safe_text import safe_text
from harvester.tables import columns
from harvester.tables.columns import ValueMismatch
from harvester.tables.extra import bounded_text
from harvester.tables.record_layout import Level, Members, RecordLayout, flatten, level_of

MAX_NAME_LENGTH = 100
_MAX_NAMES = 100
"""Maximum undeclared members of an answer that are named: there may be a million."""


@dataclass(frozen=True, slots=True)
class SchemaDrift:
    """Paths of members that differ from the dataset: undeclared ones, and required ones missing.

    ``lacking`` has the counts among those that are missing. ``too_long`` has the lengths in bytes
    of what a row has too much of to be kept whole.
    """

    unknown: set[str] = field(default_factory=set)
    missing: set[str] = field(default_factory=set)
    lacking: set[str] = field(default_factory=set)
    too_long: list[int] = field(default_factory=list)


class _Rows(NamedTuple):
    """One level of a day's rows: the members of each row, and the undeclared ones among them."""

    level: Level
    members: list[Members]
    undeclared: list[Members]


def exact_elements(body: bytes) -> tuple[list[Any], str] | None:
    """Parse the answer's list with the standard library. Returns None if that is impossible.

    Beside it stands a name that an object of the answer has twice, empty if none has.
    """
    repeated = ""

    def members(pairs: list[tuple[str, Any]]) -> Members:
        nonlocal repeated
        found = dict(pairs)
        if len(found) < len(pairs):
            repeated, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        return found

    try:
        text = body.decode("utf-8-sig")
        elements = json.loads(text, strict=False, object_pairs_hook=members)["list"]
    except (ValueError, RecursionError):
        return None
    return elements, repeated


def read_day(
    layout: RecordLayout, elements: list[Members], drift: SchemaDrift
) -> tuple[tuple[list[Any], ...], list[str | None]]:
    """Decode the elements of one day into columns, sorted by key, and the extra of each row.

    Null stands for a required member that is null or left out; ``drift`` gets its path. Raises
    ValueMismatch with the reason if the day is not usable.
    """
    own, nested = _levels(layout, elements, drift)
    decoded = [
        _decode_column(column, nested if column.nested else own, drift, is_key=i in layout.key)
        for i, column in enumerate(layout.columns)
    ]
    undeclared = zip(own.undeclared, nested.undeclared, strict=True)
    extras = [_extra(layout, *of_row, drift) for of_row in undeclared]
    kept: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    for values in zip(*decoded, extras, strict=True):
        # Equal rows count once; of different ones none can be told to be the right one.
        key = tuple(values[i] for i in layout.key)
        if kept.setdefault(key, values) != values:
            raise ValueMismatch("two different rows for the same key")
    if not kept:
        return (), []
    *by_column, extra = map(list, zip(*(kept[key] for key in sorted(kept)), strict=True))
    return tuple(by_column), extra


def without_rows(layout: RecordLayout, elements: list[Members]) -> list[str]:
    """Return the keys of elements that have no row, because their nested array has no entry."""
    if not layout.is_array:
        return []
    names = [layout.columns[i].name for i in layout.key if not layout.columns[i].nested]
    return [
        ", ".join(safe_text(str(element.get(name, "")), MAX_NAME_LENGTH) for name in names)
        for element in elements
        if not element.get(layout.nested_field)
    ]


def _levels(
    layout: RecordLayout, elements: list[Members], drift: SchemaDrift
) -> tuple[_Rows, _Rows]:
    """Flatten elements into rows. Raises ValueMismatch for nested members of another type."""
    # The elements are inspected too, because an element with an empty array gives no row.
    _note_unknown(layout.own, elements, drift)
    if layout.nested_field:
        _note_missing_nested(layout, elements, drift)
    own, nested = flatten(layout, elements)
    _note_unknown(layout.nested, nested, drift)
    return (
        _level_rows(layout.own, own),
        _level_rows(layout.nested, nested or [{} for _ in own]),
    )


def _note_missing_nested(layout: RecordLayout, elements: list[Members], drift: SchemaDrift) -> None:
    """Note elements without the nested field. Raises ValueMismatch if rows may be lost."""
    without = [element for element in elements if element.get(layout.nested_field) is None]
    if not without:
        return
    drift.missing.add(layout.nested_field)
    if layout.is_array and any(element.keys() - layout.own.declared for element in without):
        # The array may have been renamed, and without rows there is no _extra to keep it in.
        raise ValueMismatch(f"{layout.nested_field}: a row without it, but with undeclared members")


def _level_rows(level: Level, members: list[Members]) -> _Rows:
    return _Rows(level, members, [_undeclared(each, level) for each in members])


def _note_unknown(level: Level, members: list[Members], drift: SchemaDrift) -> None:
    room = _MAX_NAMES - len(drift.unknown)
    for name in nsmallest(room, set().union(*members) - level.declared):
        drift.unknown.add(level.prefix + safe_text(name, MAX_NAME_LENGTH))


def _undeclared(members: Members, level: Level) -> Members:
    return {name: members[name] for name in members if name not in level.declared}


def _decode_column(column: Column, rows: _Rows, drift: SchemaDrift, *, is_key: bool) -> list[Any]:
    """Return the checked values of a column, null where a row has none. Raises ValueMismatch."""
    path = rows.level.prefix + column.name
    values = _values(column, path, rows.members, drift)
    if is_key and None in values:
        raise ValueMismatch(f"{path}: a row without it")
    if column.kind is Kind.LIST:
        return _decode_lists(column, rows, values, drift)
    return _checked(column, path, values)


def _values(column: Column, path: str, members: list[Members], drift: SchemaDrift) -> list[Any]:
    values = [each.get(column.name) for each in members]
    if column.required and None in values:
        drift.missing.add(path)
        if column.kind is Kind.COUNT:
            drift.lacking.add(path)
    return values


def _checked(column: Column, path: str, values: list[Any]) -> list[Any]:
    try:
        return columns.nullable(columns.CHECKS[column.kind])(values)
    except ValueMismatch as error:
        raise ValueMismatch(f"{path}: {error}") from None


def _decode_lists(column: Column, rows: _Rows, values: list[Any], drift: SchemaDrift) -> list[Any]:
    """Return lists whose elements have exactly the column's fields.

    Other members of the elements are added to the undeclared ones of their row.
    """
    path = rows.level.prefix + column.name
    columns.require_type(
        [value for value in values if value is not None], "a list", list, path=path
    )
    elements = list(chain.from_iterable(filter(None, values)))
    columns.require_type(elements, "an object", dict, path=path)
    level = level_of(column.fields, prefix=f"{path}.")
    _note_unknown(level, elements, drift)
    for each in column.fields:
        field_path = level.prefix + each.name
        _checked(each, field_path, _values(each, field_path, elements, drift))
    for row, value in zip(rows.undeclared, values, strict=True):
        others = [_undeclared(element, level) for element in value or ()]
        if any(others):
            # As a list with empty entries, so that each stays at the place of its element.
            row[column.name] = others
    names = [each.name for each in column.fields]
    return [
        None if value is None else [{name: each.get(name) for name in names} for each in value]
        for value in values
    ]


def _extra(layout: RecordLayout, own: Members, nested: Members, drift: SchemaDrift) -> str | None:
    """Return a row's undeclared members, on their levels, as JSON; None if there are none.

    Raises ValueMismatch for NaN and infinity.
    """
    members = {**own, layout.nested_field: nested} if nested else own
    if not members:
        return None
    try:
        text, too_long = bounded_text(members)
    except (ValueError, RecursionError):
        raise ValueMismatch("an undeclared member that cannot be kept exactly") from None
    if too_long:
        drift.too_long.append(too_long)
    return text

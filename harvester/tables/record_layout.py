"""What reading a dataset needs to know, worked out once, and nested answers made flat.

An element of an answer's ``list`` has members of its *own*; in a nested dataset one of them holds
the *inner* ones, in an object or in an array of objects.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain, repeat
from typing import Any, NamedTuple, TypeAlias

from harvester.core.dataset import DATE_COLUMN, Column, Dataset, Kind, Nesting
from harvester.tables.columns import Check, ValueMismatch, fast_check_of, json_type_of, nullable

Members: TypeAlias = dict[str, Any]


class Level(NamedTuple):
    """The members that stand at one level of an element.

    ``required`` and ``optional`` are columns without ``ref_date``, ``width`` is how many members
    there are at least, ``declared`` are all of them, and ``prefix`` leads to them.
    """

    required: tuple[str, ...]
    optional: tuple[str, ...]
    width: int
    widths: frozenset[int]
    declared: frozenset[str]
    prefix: str


class RecordLayout(NamedTuple):
    """A dataset for those who read it: its columns without ``ref_date``, and places among them.

    ``own`` and ``inner`` are its levels, whose columns one after the other are in the dataset's
    order at the places of ``order``; empty if they are in order. Counts are checked all at once,
    ``spare_counts`` may be null, and ``others`` have a check each.
    """

    columns: tuple[Column, ...]
    own: Level
    nested: Level
    nested_field: str
    is_array: bool
    order: tuple[int, ...]
    key: tuple[int, ...]
    counts: tuple[int, ...]
    nullable_counts: tuple[int, ...]
    others: tuple[tuple[int, Check], ...]
    single_day_answers: bool


def layout_of(dataset: Dataset) -> RecordLayout:
    """Columns and their places, without ``ref_date``."""
    columns = tuple(column for column in dataset.columns if column.name != DATE_COLUMN)
    names = tuple(column.name for column in columns)
    nests = (dataset.nested_field,) if dataset.nested_field else ()
    own = level_of([c for c in columns if not c.nested], DATE_COLUMN, *nests)
    inner = level_of([c for c in columns if c.nested], prefix=f"{dataset.nested_field}.")
    found = (*own.required, *own.optional, *inner.required, *inner.optional)
    counts = [i for i, column in enumerate(columns) if column.kind is Kind.COUNT]
    return RecordLayout(
        columns=columns,
        own=own,
        nested=inner,
        nested_field=dataset.nested_field,
        is_array=dataset.nesting is Nesting.ARRAY,
        order=() if found == names and not nests else tuple(map(found.index, names)),
        key=tuple(names.index(name) for name in dataset.key if name != DATE_COLUMN),
        counts=tuple(i for i in counts if columns[i].required),
        nullable_counts=tuple(i for i in counts if not columns[i].required),
        others=tuple(
            (i, fast_check_of(column) if column.required else nullable(fast_check_of(column)))
            for i, column in enumerate(columns)
            if column.kind is not Kind.COUNT
        ),
        single_day_answers=any(column.kind is Kind.HOUR for column in columns),
    )


def level_of(columns: Iterable[Column], *structural: str, prefix: str = "") -> Level:
    """These columns as a level, which has ``structural`` members besides."""
    columns = tuple(columns)
    required = tuple(column.name for column in columns if column.required)
    optional = tuple(column.name for column in columns if not column.required)
    width = len(structural) + len(required)
    declared = frozenset((*structural, *required, *optional))
    return Level(required, optional, width, frozenset((width,)), declared, prefix)


def flatten(shape: RecordLayout, elements: list[Members]) -> tuple[list[Members], list[Members]]:
    """The rows that elements stand for: for each its own members, and its inner ones.

    Of a nested array each entry is a row; where there is none there is no row. A nested object that
    is missing is empty. Raises Unfit for nested members of another type.
    """
    if not shape.nested_field:
        return elements, []
    nested = [element.get(shape.nested_field) for element in elements]
    if not shape.is_array:
        inner = [{} if each is None else each for each in nested]
        require_type(dict, inner, shape.nested_field)
        return elements, inner
    entries = [[] if each is None else each for each in nested]
    require_type(list, entries, shape.nested_field)
    inner = list(chain.from_iterable(entries))
    require_type(dict, inner, shape.nested_field)
    return list(chain.from_iterable(map(repeat, elements, map(len, entries)))), inner


def require_type(kind: type, values: list[Any], name: str) -> None:
    """Raise Unfit with the member's name if a value is of another type."""
    if not {kind}.issuperset(map(type, values)):
        other = next(value for value in values if type(value) is not kind)
        raise ValueMismatch(f"{name}: {json_type_of(other)} where {json_type_of(kind())} belongs")

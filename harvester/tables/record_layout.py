"""Record layout: what the decoders need to know of a dataset, computed once per dataset.

An element of an answer's ``list`` has *own* members. In a nested dataset one of them holds the
*nested* members, in an object or in an array of objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, repeat
from typing import Any, NamedTuple, TypeAlias

from harvester.core.dataset import DATE_COLUMN, Column, Dataset, Kind, Nesting
from harvester.tables.columns import Check, fast_check_of, nullable, require_type

Members: TypeAlias = dict[str, Any]


class Level(NamedTuple):
    """The declared members of one level of an element.

    ``required`` and ``optional`` are names of columns without the date. ``width`` is the least
    number of members. ``declared`` has all names. ``prefix`` is the path of the level, such as
    ``detail.``.
    """

    required: tuple[str, ...]
    optional: tuple[str, ...]
    width: int
    declared: frozenset[str]
    prefix: str


class RecordLayout(NamedTuple):
    """The columns of a dataset without the date, and indices into these columns.

    ``own`` and ``nested`` are the levels of an element. Their columns, one level after the other,
    are brought into the dataset's order by ``order``, which is empty if they are in that order.
    ``counts`` are checked together, as are ``nullable_counts``, which may be null; ``others`` have
    a check each. ``lists`` has the LIST columns with the width of their elements, and ``texts`` the
    names of an element's own texts.
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
    lists: tuple[tuple[int, int], ...]
    texts: tuple[str, ...]


def layout_of(dataset: Dataset) -> RecordLayout:
    """Compute the layout of a dataset's records."""
    columns = tuple(column for column in dataset.columns if column.name != DATE_COLUMN)
    names = tuple(column.name for column in columns)
    # Members that are no columns, and no drift either.
    structural = (dataset.nested_field,) if dataset.nested_field else ()
    own = level_of([c for c in columns if not c.nested], DATE_COLUMN, *structural)
    nested = level_of([c for c in columns if c.nested], prefix=f"{dataset.nested_field}.")
    found = (*own.required, *own.optional, *nested.required, *nested.optional)
    counts = [i for i, column in enumerate(columns) if column.kind is Kind.COUNT]
    return RecordLayout(
        columns=columns,
        own=own,
        nested=nested,
        nested_field=dataset.nested_field,
        is_array=dataset.nesting is Nesting.ARRAY,
        order=() if found == names and not structural else tuple(map(found.index, names)),
        key=tuple(names.index(name) for name in dataset.key if name != DATE_COLUMN),
        counts=tuple(i for i in counts if columns[i].required),
        nullable_counts=tuple(i for i in counts if not columns[i].required),
        others=tuple(
            (i, fast_check_of(column) if column.required else nullable(fast_check_of(column)))
            for i, column in enumerate(columns)
            if column.kind is not Kind.COUNT
        ),
        lists=tuple(
            (i, len(column.fields)) for i, column in enumerate(columns) if column.kind is Kind.LIST
        ),
        texts=tuple(c.name for c in columns if c.kind is Kind.TEXT and not c.nested),
    )


def level_of(columns: Sequence[Column], *structural: str, prefix: str = "") -> Level:
    """Return the level that has these columns and the members ``structural`` besides."""
    required = tuple(column.name for column in columns if column.required)
    optional = tuple(column.name for column in columns if not column.required)
    width = len(structural) + len(required)
    declared = frozenset((*structural, *required, *optional))
    return Level(required, optional, width, declared, prefix)


def flatten(layout: RecordLayout, elements: list[Members]) -> tuple[list[Members], list[Members]]:
    """Return the own members and the nested members of each row of the elements.

    Each entry of a nested array is a row; an element without entries has no row. A missing nested
    object counts as empty. The nested members are an empty list if the dataset is not nested.
    Raises ValueMismatch for a nested member of another type.
    """
    path = layout.nested_field
    if not path:
        return elements, []
    if not layout.is_array:
        objects = [{} if (value := element.get(path)) is None else value for element in elements]
        require_type(objects, "an object", dict, path=path)
        return elements, objects
    entries = [[] if (value := element.get(path)) is None else value for element in elements]
    require_type(entries, "a list", list, path=path)
    nested = list(chain.from_iterable(entries))
    require_type(nested, "an object", dict, path=path)
    return list(chain.from_iterable(map(repeat, elements, map(len, entries)))), nested

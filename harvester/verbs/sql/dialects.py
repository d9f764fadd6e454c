"""Dialects of SQL in which views are written: those of DuckDB and Spark."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from typing import NamedTuple

import pyarrow as pa


class View(NamedTuple):
    """A view: its columns with their comments, in the order in which ``query`` has them."""

    name: str
    comment: str
    columns: Mapping[str, str]
    query: str


class Dialect(NamedTuple):
    """A dialect, as what differs: characters, forms to be filled in, and patterns.

    ``quote`` stands around identifiers. The characters of ``doubled`` are written twice in a text.
    Those of ``wild`` stand for others in a path, and ``tame`` is the form of one that does not.
    ``files`` is the form of a folder, and ``months`` of one that has a folder for each month.
    ``types`` turn the text of an Arrow type into that of the dialect. ``words`` have their places
    in the files of queries.
    """

    quote: str
    doubled: str
    wild: str
    tame: str
    files: str
    months: str
    types: Mapping[str, str]
    words: Mapping[str, str]
    view_name: str
    start: str
    create: str
    column: str
    comments: tuple[str, ...]
    function: str

    def quoted(self, name: str) -> str:
        """Return a name as an identifier."""
        return f"{self.quote}{_doubled(name, self.quote)}{self.quote}"

    def text(self, value: str) -> str:
        """Return a text as a literal."""
        return f"'{_doubled(value, self.doubled)}'"

    def view(self, schema: str, name: str) -> str:
        """Return the identifier of a view or a function."""
        return self.view_name.format(_doubled(schema, self.quote), _doubled(name, self.quote))

    def rows(self, folder: str, *, by_month: bool) -> str:
        """Return the files of a folder as a table, which are listed at each query."""
        path = "".join(self.tame.format(each) if each in self.wild else each for each in folder)
        form = self.months if by_month else self.files
        return form.format(_doubled(path, self.doubled if "'" in form else self.quote))

    def no_rows(self, schema: pa.Schema) -> str:
        """Return a table of these columns without rows."""
        columns = (
            f"cast(null as {_changed(str(x.type), *self.types.items())}) as {self.quoted(x.name)}"
            for x in schema
        )
        return f"(select {', '.join(columns)} where false)"

    def statements(self, schema: str, view: View) -> Iterator[str]:
        """Yield the statements that create a view with its comments."""
        name, comment = self.view(schema, view.name), self.text(view.comment)
        columns = [(self.quoted(column), self.text(text)) for column, text in view.columns.items()]
        listed = ",\n    ".join(self.column.format(*column) for column in columns)
        yield self.create.format(name, listed, comment, view.query)
        for form, each in zip(self.comments, ([("", comment)], columns), strict=False):
            yield from (form.format(name, *pair) for pair in each)


def _doubled(value: str, characters: str) -> str:
    for each in characters:
        value = value.replace(each, each * 2)
    return value


@cache
def _changed(text: str, *changes: tuple[str, str]) -> str:
    for pattern, new in changes:
        text = re.sub(pattern, new, text)
    return text


@cache
def dialect_of(engine: str) -> Dialect:
    """Return the dialect of an engine, as ``dialects.json`` has it.

    Spark's temporary views have no schema: it begins their names.
    """
    found = json.loads((resources.files(__package__) / "dialects.json").read_text("utf-8"))
    return Dialect(**found[engine])

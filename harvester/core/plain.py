"""Results as plain values for JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from datetime import date
from enum import Enum
from html import escape
from pathlib import PurePath
from typing import Any

from harvester.core.calendar import day_text

_DAYS = {"before", "begin", "complete_on", "day", "end", "first_row", "until"}
"""The members of results that are days."""

_MAX_BRIEF = 60
"""Characters of a member in a short repr."""

JSON_NAMES = {"begin": "begin_date", "end": "end_date"}
"""The names in JSON of those days that have another one there."""


class Brief:
    """A result with a short repr, and a table in notebooks: its members, collections by length."""

    __slots__ = ()

    def _members(self) -> Iterator[tuple[str, str]]:
        for member in dataclasses.fields(self):  # type: ignore[arg-type] # of dataclasses alone
            value = getattr(self, member.name)
            # A named tuple is one value.
            is_one = not isinstance(value, list | tuple | Mapping) or hasattr(value, "_fields")
            text = repr(value) if is_one or not value else f"<{len(value)}>"
            if member.repr:
                yield member.name, text if len(text) <= _MAX_BRIEF else f"{text[:_MAX_BRIEF]}…"

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={text}" for name, text in self._members())
        return f"{type(self).__name__}({given})"

    def _repr_html_(self) -> str:
        rows = (f"<tr><th>{x}</th><td>{escape(text)}</td></tr>" for x, text in self._members())
        return f"<table><caption>{type(self).__name__}</caption>{''.join(rows)}</table>"


def plain(value: object) -> Any:
    """Return a result as values for JSON: members by name, days and enumerations as text."""
    # Dataclasses and named tuples alike list their members for `match`.
    if names := getattr(value, "__match_args__", ()):
        return dict(_member(name, getattr(value, name)) for name in names)
    if isinstance(value, Mapping):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return list(map(plain, value))
    if isinstance(value, PurePath | date):
        return str(value)
    return value.value if isinstance(value, Enum) else value


def _member(name: str, value: object) -> tuple[str, Any]:
    if name not in _DAYS:
        return name, plain(value)
    return JSON_NAMES.get(name, name), day_text(value) if isinstance(value, int) else plain(value)

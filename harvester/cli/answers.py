"""An answer on stdout: tables for people, or JSON for programs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import PurePath
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from harvester.cli.streams import Terminal, answering
from harvester.days import Day, day_text

_WIDE = 140
"""Columns without a terminal, where a log must not be cut off."""

_DAYS = {
    "before": "before",
    "begin": "begin_date",
    "day": "day",
    "end": "end_date",
    "first_row": "first_row",
}
"""The members of results that are days, and what JSON calls them."""


def answer(
    form: Literal["text", "json"],
    result: Callable[[], object],
    show: Callable[[Console], object],
) -> None:
    """Print a result as JSON, or have it shown on a console."""
    with answering():
        if form == "json":
            print(json.dumps(plain(result()), indent=2, ensure_ascii=False))
        else:
            show(console())


def plain(value: object) -> Any:
    """Turn a result into values for JSON: members by name, days and enumerations as text."""
    if dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value)]
        return dict(_member(name, getattr(value, name)) for name in names)
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return dict(_member(name, each) for name, each in value._asdict().items())
    if isinstance(value, Mapping):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return list(map(plain, value))
    if isinstance(value, PurePath):
        return str(value)
    return value.value if isinstance(value, Enum) else value


def _member(name: str, value: object) -> tuple[str, Any]:
    if name not in _DAYS:
        return name, plain(value)
    return _DAYS[name], day_text(value) if isinstance(value, int) else value


def console(*, stderr: bool = False) -> Console:
    """Return the console of stdout for answers, or of stderr for all else."""
    found = Terminal(stderr=stderr, highlight=False)
    return found if found.is_terminal else Terminal(stderr=stderr, highlight=False, width=_WIDE)


def table(*headings: str, texts: int = 1) -> Table:
    """Begin a table whose first columns are texts and whose others are numbers."""
    found = Table(box=None)
    for at, heading in enumerate(headings):
        found.add_column(heading, no_wrap=True, justify="left" if at < texts else "right")
    return found


def range_text(begin: Day, end: Day) -> str:
    """Write days as ``2024-01-31`` or ``2024-01-01..2024-01-31``."""
    return day_text(begin) if begin == end else f"{day_text(begin)}..{day_text(end)}"

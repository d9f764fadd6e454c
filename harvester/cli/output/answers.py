"""An answer on stdout: tables and lines of text, or JSON for programs."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harvester.api.reports import plain
from harvester.cli.output.streams import Terminal, stdout_output
from harvester.core.calendar import Day, day_text
from harvester.core.inert_text import inert, inert_json, inert_line
from harvester.core.results import PausedAccount

MAX_LINES = 12
"""Lines of a list that are printed as text."""

_WIDTH = 140
"""Columns without a terminal, where no line must be cut off."""


def answer(
    form: Literal["text", "json"], result: Callable[[], object], show: Callable[[Console], object]
) -> None:
    """Print a result to stdout: as JSON, or by calling ``show`` with a console."""
    with stdout_output():
        if form == "json":
            print(json_text(plain(result())))
        else:
            show(console())


def json_text(value: object) -> str:
    """Return a value as JSON of several lines, which keeps every text and in which none acts."""
    return inert_json(json.dumps(value, indent=2, ensure_ascii=False))


def console(*, stderr: bool = False) -> Console:
    """Return the console of stdout for answers, or of stderr for all else."""
    found = Terminal(stderr=stderr, highlight=False)
    return found if found.is_terminal else Terminal(stderr=stderr, highlight=False, width=_WIDTH)


def table(*headings: str, texts: int = 1) -> Table:
    """Return an empty table whose first columns are texts and whose others are numbers."""
    found = Table(box=None)
    for at, heading in enumerate(headings):
        found.add_column(heading, no_wrap=True, justify="left" if at < texts else "right")
    return found


def cell(text: str) -> Text:
    """Return a foreign text for a table."""
    return Text(inert(text))


def print_line(out: Console, line: str, *, gap: bool = False, style: str = "") -> None:
    """Print one line, after an empty one if there is to be a gap. Nothing in it acts.

    It is not wrapped, because rich would begin a line with any word of a foreign text.
    """
    if gap:
        out.print()
    out.print(Text(inert_line(line), style), soft_wrap=True)


def print_lines(out: Console, lines: Sequence[str], indent: int = 2) -> None:
    """Print the first lines of a list, and how many more there are."""
    margin = " " * indent
    for line in lines[:MAX_LINES]:
        print_line(out, f"{margin}{line}")
    if len(lines) > MAX_LINES:
        out.print(f"{margin}and {len(lines) - MAX_LINES:,} more (--format json lists all)")


def range_text(begin: Day, end: Day) -> str:
    """Write days as ``2024-01-31`` or ``2024-01-01..2024-01-31``."""
    return day_text(begin) if begin == end else f"{day_text(begin)}..{day_text(end)}"


def print_paused(out: Console, paused: Iterable[PausedAccount]) -> None:
    """Print the paused accounts with their reasons, those with the same reason on one line."""
    alike: defaultdict[str, list[str]] = defaultdict(list)
    for account in paused:
        alike[account.reason].append(named(account.appid, account.name))
    if alike:
        print_line(out, f"paused, not asked: {sum(map(len, alike.values())):,}", gap=True)
        print_lines(out, list(_lines(alike)))


def named(appid: str, name: str) -> str:
    """Return an account as text: its appid, and the name beside it if there is one."""
    return f"{appid} {inert(name)}" if name else appid


def _lines(alike: dict[str, list[str]]) -> Iterator[str]:
    for reason, names in alike.items():
        more = f" and {len(names) - MAX_LINES:,} more" if len(names) > MAX_LINES else ""
        yield f"{', '.join(names[:MAX_LINES])}{more}: {inert(reason)}"

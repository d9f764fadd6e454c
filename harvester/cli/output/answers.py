"""An answer on stdout: tables and lines of text, or JSON for programs."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from os import environ
from typing import Literal

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from harvester.catalogue.languages import Language
from harvester.cli.output.phrases import listed
from harvester.cli.output.streams import Terminal, stdout_output, words_of
from harvester.cli.output.table_layout import Row, TableColumn, line_lines, table_lines
from harvester.core.calendar import range_text
from harvester.core.plain import plain
from harvester.core.results import PausedAccount, PendingDays
from harvester.core.text.inert_text import inert, inert_json, inert_line, named
from harvester.core.text.wording import Message, and_more, counted, entry, indented, render, said

MAX_LINES = 12
"""Lines of a list that are printed as text."""

_NARROWEST = 20
"""The least cells of a line, whatever a terminal says of itself."""

_UNBOUNDED = 10_000
"""Cells of a line without a terminal: each line is whole, to be searched and cut by others."""


def answer(
    form: Literal["text", "json"],
    result: Callable[[], object],
    show: Callable[[Console], object],
    language: Language = "en",
) -> None:
    """Print a result to stdout: as JSON, or by calling ``show`` with a console in a language."""
    with stdout_output():
        if form == "json":
            print(json_text(plain(result())))
        else:
            show(console(language=language))


def json_text(value: object) -> str:
    """Return a value as JSON, which keeps every text and in which none acts.

    Each member has a line, and so has each element of a list in one: to be read, and not too long.
    """
    if not isinstance(value, dict):
        return inert_json(_lines_of(value))
    members = (f"  {_compact(name)}: {_lines_of(each, 4)}" for name, each in value.items())
    return inert_json("{\n" + ",\n".join(members) + "\n}")


def _lines_of(value: object, margin: int = 2) -> str:
    """Return a value as JSON, a list of objects with a line for each."""
    if not isinstance(value, list) or not any(isinstance(each, dict) for each in value):
        return _compact(value)
    blanks = " " * margin
    return f"[\n{blanks}" + f",\n{blanks}".join(map(_compact, value)) + f"\n{blanks[2:]}]"


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def console(*, stderr: bool = False, language: Language = "en") -> Console:
    """Return the console of stdout for answers, or of stderr for all else.

    It is as wide as the terminal, or as the variable COLUMNS says. Otherwise no line is wrapped.
    """
    found = Terminal(language, stderr=stderr, highlight=False)
    if found.file.isatty() or environ.get("COLUMNS", "").isdigit():
        return found
    return Terminal(language, stderr=stderr, highlight=False, width=_UNBOUNDED, soft_wrap=True)


def print_table(out: Console, columns: Iterable[TableColumn[Row]], rows: Sequence[Row]) -> None:
    """Print a table; the first column names its rows. Foreign texts in it do not act."""
    # As one text, because rich takes longer for a line than for its characters.
    lines = table_lines(columns, rows, _room(out), words_of(out))
    out.print(Text("\n").join(lines), soft_wrap=True)


def print_line(
    out: Console, line: str, *, gap: bool = False, style: str = "", whole: bool = False
) -> None:
    """Print a line in the console's language, after an empty one if there is to be a gap.

    Nothing in it acts.

    It is wrapped between words on a terminal, unless it is to be copied ``whole``, as a command is.
    Elsewhere no line is wrapped, to be found by its words.
    """
    text = inert_line(render(line, words_of(out)))
    if not (whole or out.soft_wrap):
        text = "\n".join(line_lines(text, _room(out)))
    if gap:
        out.print()
    out.print(Text(text, style), soft_wrap=True)


def print_lines(out: Console, lines: Sequence[str], indent: int = 2) -> None:
    """Print the first lines of a list, and how many more there are."""
    for line in lines[:MAX_LINES]:
        print_line(out, indented(line, indent))
    if (more := len(lines) - MAX_LINES) > 0:
        line = said("and {count:,} more (--format json lists all)", count=more)
        print_line(out, indented(line, indent))


def print_pairs(out: Console, pairs: Mapping[str, str]) -> None:
    """Print a line for each label with its text, the texts below one another."""
    say = partial(render, words=words_of(out))
    shown = {say(label): say(text) for label, text in pairs.items()}
    width = max(map(cell_len, shown)) + 2
    for label, text in shown.items():
        print_line(out, f"  {set_cell_size(label, width)}{text}")


def print_paused(out: Console, paused: Iterable[PausedAccount]) -> None:
    """Print the paused accounts with their reasons, those with the same reason on one line."""
    alike: defaultdict[str, list[str]] = defaultdict(list)
    for account in paused:
        alike[pause_text(account)].append(named(account.appid, account.name))
    if alike:
        count = sum(map(len, alike.values()))
        print_line(out, said("paused, not asked: {count:,}", count=count), gap=True)
        print_lines(out, [entry(listed(names, MAX_LINES), why) for why, names in alike.items()])


def pause_text(paused: PausedAccount) -> str:
    """Return the reason of a pause, the datasets if it is not about all of them, and its end."""
    text = paused.reason if isinstance(paused.reason, Message) else inert(paused.reason)
    if paused.datasets:
        only = listed(paused.datasets, MAX_LINES)
        text = said("{text}; only {datasets}", text=text, datasets=only)
    if paused.until is not None:
        text = said("{text}; until {day}", text=text, day=paused.until)
    return text


def print_pending(out: Console, pending: Sequence[PendingDays], names: Mapping[str, str]) -> None:
    """Print how much was pending, a line for each dataset with its first accounts, by ``names``."""
    if not pending:
        return
    days = sum(each.account_days for each in pending)
    print_line(out, said("pending: {days}", days=counted(days, "day")), gap=True)
    print_lines(out, [_pending_line(each, names) for each in pending])


def _pending_line(days: PendingDays, names: Mapping[str, str]) -> str:
    shown = [named(appid, names.get(appid, "")) for appid in days.first]
    many, accounts = counted(days.account_days, "day"), and_more(shown, days.accounts)
    text = said("{days} of {accounts}", days=many, accounts=accounts)
    return entry(f"{days.dataset} {range_text(days.begin, days.end)}", text)


def _room(out: Console) -> int:
    return max(_NARROWEST, out.width)

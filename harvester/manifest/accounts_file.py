"""The accounts file: rows of CSV as the mappings that a manifest would hold."""

from __future__ import annotations

import csv
import io
import shlex
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from harvester.core.config.nearest import nearest
from harvester.core.config.references import quote_safe, quote_safe_name
from harvester.core.config.settings import Account, Credential
from harvester.core.errors import Place
from harvester.core.model import is_appid
from harvester.manifest.diagnostics import Invalid, LoadContext, Section, Steps
from harvester.manifest.interpolation import resolved
from harvester.manifest.models import AccountsFile
from harvester.manifest.text_file import SAVE, Unreadable, read_text
from harvester.manifest.validation import fields_of

_OWN = [name for name in fields_of(Account) if name not in {"credential", "attributes", "paused"}]
_IN_CREDENTIAL = [name for name in fields_of(Credential) if name not in {"timeout", "headers"}]
_TRUTHS = {name for name, field in fields_of(Account).items() if field.default is False}
_PATHS: dict[str, tuple[str, ...]] = {
    **{name: (name,) for name in _OWN},
    "paused": ("paused", "reason"),
    "paused.datasets": ("paused", "datasets"),
    "paused.until": ("paused", "until"),
    **{name: ("credential", name) for name in _IN_CREDENTIAL},
}
"""Columns with the paths that their cells have in the account of a manifest."""

COLUMNS = tuple(_PATHS)

_TRUSTED = ("token_command", "token_url")
"""Columns that run programs, and that send what they refer to anywhere."""

_TRUST = "write accounts_file: {path: …, credentials: true}, or put it under `defaults`"
_EXCEL = "in Excel: File, Save As, `CSV UTF-8`; elsewhere: save it as UTF-8 text with commas"
_CELLS = "give each row a cell for each column, and quote a cell that has a comma"
_QUOTES = 'write the cell as "…", and a quote in it as ""'

_ATTRIBUTE = "attr."
"""Beginning of the columns that are attributes: `attr.client` is the attribute `client`."""

_SEPARATORS = {";": "`;`", "\t": "tabs", "|": "`|`", "，": "`，`"}
_HeaderMistake: TypeAlias = tuple[int | None, str, str]
"""Index of the cell that is wrong, None for the whole row; the mistake and a hint."""


def read_csv(written: AccountsFile, named: Place, context: LoadContext) -> Iterator[Section]:
    """Yield the accounts of a CSV file before validation.

    ``named`` is the place of the file's name in the manifest.
    """
    file = context.file.parent / written.path
    try:
        refused = () if written.credentials else _TRUSTED
        yield from _accounts(file, read_text(file), refused, context)
    except Unreadable as flaw:
        place = Place(file, flaw.line, flaw.column) if flaw.line else named
        named_file = quote_safe_name(written.path) or " a file"
        subject = "this file" if flaw.line else f"`accounts_file` names{named_file}, which"
        hint = _EXCEL if flaw.hint == SAVE else flaw.hint
        context.refuse(place, f"{subject} {flaw.what}", hint)
    except csv.Error as error:
        [row] = error.args
        place = _Table(file).place(row)
        context.refuse(place, "a quoted cell does not end as it should", _QUOTES)


def csv_rows(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a CSV text with their numbers, which count from one.

    Rows of empty cells, which spreadsheets append, are skipped; blanks around a cell are removed.
    Raises csv.Error with the number of a row that has a wrong quote.
    """
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, skipinitialspace=True)
    number = 0
    try:
        for number, row in enumerate(reader, 1):
            cells = [cell.strip(" \t") for cell in row]
            if any(cells):
                yield number, cells
    except csv.Error:
        # The module's own text names no row.
        raise csv.Error(number + 1) from None


def _accounts(
    file: Path, text: str, refused: Collection[str], context: LoadContext
) -> Iterator[Section]:
    """Yield the accounts of a text. ``refused`` are the columns that the file may not have."""
    rows = csv_rows(text)
    first, header = next(rows, (1, []))
    table = _Table(file, header)
    flaws = [*_mistakes_in(header, refused)]
    for index, what, hint in flaws:
        context.refuse(table.place(first, index), what, hint)
    for number, cells in rows if not flaws else ():
        if len(cells) == len(header):
            value = resolved(table.value(cells), context)
            yield Section(value, table.find, context, at=(number,))
        else:
            what = f"cells in this row: {len(cells)}, columns: {len(header)}"
            context.refuse(table.place(number), what, _CELLS)


class _Table:
    """A CSV file and its header, which turn rows into accounts.

    ``columns`` has the column of each part of an account, and the first one of a whole credential.
    """

    def __init__(self, file: Path, header: Sequence[str] = ()) -> None:
        self.file = file
        self.header = header
        # In reverse, so that the first column is kept.
        named = [name for name in reversed((*COLUMNS, *header)) if name in header]
        self.columns: dict[Steps, str] = {
            path: name for name in named for path in (_path(name), _path(name)[:1])
        }

    def place(self, row: int, column: str | int | None = None) -> Place:
        """Return the place of a row, or of its cell in a column, given by name or index."""
        if column is None:
            return Place(self.file, row, 1, f"row {row}")
        index = self.header.index(column) if isinstance(column, str) else column
        name = f"`{column}`" if isinstance(column, str) else str(index + 1)
        return Place(self.file, row, index + 1, f"row {row}, column {name}")

    def find(self, loc: Steps, _key: bool) -> Place | None:  # noqa: FBT001 - a cell has no key
        """Return the place of a part, given the row and the path in it; None without a column."""
        row, *path = loc
        column = self.columns.get(tuple(path))
        return self.place(int(row), column) if column or not path else None

    def value(self, cells: list[str]) -> dict[str, Any]:
        """Return the row as the mapping that a manifest would hold, without empty cells."""
        value: dict[str, Any] = {}
        for column, cell in zip(self.header, cells, strict=True):
            *owner, key = _path(column)
            if cell:
                part = value.setdefault(owner[0], {}) if owner else value
                part[key] = _value_of(column, cell)
        # A reason alone is the pause, as a manifest may write it.
        if value.get("paused", {}).keys() == {"reason"}:
            value["paused"] = value["paused"]["reason"]
        return value


def _path(column: str) -> tuple[str, ...]:
    """Return the path of a column's cells in an account; it is empty for an unknown column."""
    if column.startswith(_ATTRIBUTE) and column != _ATTRIBUTE:
        return "attributes", column.removeprefix(_ATTRIBUTE).strip()
    return _PATHS.get(column, ())


def _value_of(column: str, cell: str) -> Any:
    """Return a cell as the value that a manifest would hold."""
    if column in {"tags", "paused.datasets"}:
        return [each.strip() for each in cell.split(";") if each.strip()]
    if column == "token_command":
        return _split_command(cell)
    # Only these two words: all others stay text, which the field refuses.
    return {"true": True, "false": False}.get(cell, cell) if column in _TRUTHS else cell


def _split_command(cell: str) -> list[str] | Invalid:
    """Split a command as a shell does. A quote that is not closed is a mistake of the cell."""
    try:
        return shlex.split(cell)
    except ValueError:
        return Invalid("has a quote or a backslash that nothing ends", "quote as in a shell")


def _mistakes_in(header: Sequence[str], refused: Collection[str]) -> Iterator[_HeaderMistake]:
    """Yield what is wrong with a header: one mistake if it is about its form as a whole."""
    if len(header) == 1 and (found := [mark for mark in _SEPARATORS if mark in header[0]]):
        what = f"the cells are separated by {_SEPARATORS[found[0]]}, and not by commas"
        hint = "save it as CSV with commas; several tags of one cell are separated by `;`"
        yield 0, what, hint
    # Said once, because otherwise each of its cells would be an unknown column.
    elif any(map(is_appid, header)):
        hint = "write a first row that names the columns, such as appid,name,tags"
        yield 0, "the first row is an account", hint
    else:
        yield from _mistakes_in_names(header, refused)


def _mistakes_in_names(header: Sequence[str], refused: Collection[str]) -> Iterator[_HeaderMistake]:
    """Yield each unknown, double or refused column, or the missing one if all are known."""
    for index, name in enumerate(header):
        if not _path(name):
            # Headings of other tools differ in letters and blanks alone, as in `Begin Date`.
            plain = name.lower().replace(" ", "_")
            known = f"known are {', '.join(COLUMNS)}, {_ATTRIBUTE}NAME"
            yield index, f"unknown column{quote_safe(name)}", nearest(plain, COLUMNS) or known
        elif name in header[:index]:
            what = f"the column{quote_safe(name)} comes twice"
            yield index, what, "leave one of them out"
        elif name in refused:
            what = f"the column `{name}` is only for a file that is trusted like the manifest"
            yield index, what, _TRUST
    if "appid" not in header and all(map(_path, header)):
        hint = f"the first line names the columns: {', '.join(COLUMNS)}"
        yield None, "there is no column `appid`", hint

"""The accounts of a manifest: those listed in it and those of its accounts file, made one."""

from __future__ import annotations

import csv
import io
import shlex
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from harvester.core.config import Account, Credential
from harvester.core.errors import Place
from harvester.core.references import shown, shown_name
from harvester.manifest.build import CredentialRules, check_credential
from harvester.manifest.diagnostics import LoadContext, Step, Where, nearest
from harvester.manifest.interpolation import resolve_all
from harvester.manifest.text_file import Unreadable, read_text
from harvester.manifest.validation import check, fields_of

_IN_CREDENTIAL = [name for name in fields_of(Credential) if name not in {"timeout", "headers"}]
_OWN = [name for name in fields_of(Account) if name != "credential"]
_TRUTHS = {name for name, field in fields_of(Account).items() if field.default is False}
COLUMNS = (*_OWN, *_IN_CREDENTIAL)

_SHARED = (("token_command", "timeout"), ("token_url", "headers"))
"""What an account's own credential takes from one of the same kind in the defaults."""


Written: TypeAlias = tuple[Any, Where]
"""An account as written, and where its parts stand."""


class BrokenCsv(Exception):
    """A quote that is wrong in the row of this number."""

    def __init__(self, row: int) -> None:
        super().__init__(f"row {row}")
        self.row = row


def csv_rows(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a CSV text with their numbers, which count from one.

    Rows of empty cells, as spreadsheets leave them, are left out; blanks around a cell do not
    count. Raises BrokenCsv.
    """
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, skipinitialspace=True)
    number = 0
    try:
        for number, row in enumerate(reader, 1):
            cells = [cell.strip(" \t") for cell in row]
            if any(cells):
                yield number, cells
    except csv.Error:
        raise BrokenCsv(number + 1) from None


class _Table(NamedTuple):
    """A CSV file whose header is known: turns rows into accounts."""

    file: Path
    header: list[str]

    def place(self, row: int, column: str | int = "") -> Place:
        """Return the place of a row, or of the cell in a column of this name or index."""
        if column == "":
            return Place(self.file, row, 1, f"row {row}")
        index = self.header.index(column) if isinstance(column, str) else column
        name = f"`{column}`" if isinstance(column, str) else str(index + 1)
        return Place(self.file, row, index + 1, f"row {row}, column {name}")

    def where(self, row: int) -> Where:
        """Return the places in a row: of the cell whose column is asked for, else of the row."""

        def find(loc: Sequence[Step] = (), /, *, key: bool = False) -> Place:  # noqa: ARG001
            columns = [step for step in reversed(loc) if step in self.header]
            if not columns and "credential" in loc:
                columns = [name for name in _IN_CREDENTIAL if name in self.header]
            return self.place(row, columns[0] if columns else "")

        return find

    def value(self, cells: list[str]) -> dict[str, Any]:
        """Return the row as the mapping a manifest would have. Empty cells are keys left out."""
        given: dict[str, Any] = {
            name: cell for name, cell in zip(self.header, cells, strict=True) if cell
        }
        if "tags" in given:
            given["tags"] = [tag.strip() for tag in given["tags"].split(";") if tag.strip()]
        if "token_command" in given:
            given["token_command"] = _words(given["token_command"])
        for name in _TRUTHS & given.keys():
            given[name] = {"true": True, "false": False}.get(given[name], given[name])
        credential = {name: given.pop(name) for name in _IN_CREDENTIAL if name in given}
        return {**given, "credential": credential} if credential else given


def _words(cell: str) -> list[str] | str:
    """A command's words, split as a shell would; the cell itself if it has a quote too many."""
    try:
        return shlex.split(cell)
    except ValueError:
        return cell


def read_csv(path: str, named: Place, reading: LoadContext) -> Iterator[Written]:
    """Yield the accounts of a CSV file. ``named`` is where the manifest names it."""
    file = reading.folder / path
    try:
        text = read_text(file)
    except Unreadable as flaw:
        place = Place(file, flaw.line, flaw.column) if flaw.line else named
        named_file = shown_name(path) or " a file"
        subject = "this file" if flaw.line else f"`accounts_file` names{named_file}, which"
        reading.mistakes.add(place, f"{subject} {flaw.what}", flaw.hint)
        reading.blind = True
        return
    rows = csv_rows(text)
    try:
        number, header = next(rows, (1, []))
        table = _Table(file, header)
        if _check_header(table, number, reading):
            yield from _accounts(table, rows, reading)
    except BrokenCsv as flaw:
        hint = 'write the cell as "…", and a quote in it as ""'
        place = _Table(file, []).place(flaw.row)
        reading.mistakes.add(place, "a quoted cell does not end as it should", hint)
        reading.blind = True


def _accounts(
    table: _Table, rows: Iterable[tuple[int, list[str]]], reading: LoadContext
) -> Iterator[Written]:
    for number, cells in rows:
        where = table.where(number)
        if len(cells) == len(table.header):
            value = table.value(cells)
            resolve_all(value, where, reading)
            yield value, where
        else:
            what = f"cells in this row: {len(cells)}, columns: {len(table.header)}"
            reading.mistakes.add(where(), what)
            reading.blind = True


def _check_header(table: _Table, row: int, reading: LoadContext) -> bool:
    mistakes = reading.mistakes
    before = len(mistakes.found)
    for index, name in enumerate(table.header):
        place = table.place(row, index)
        if name not in COLUMNS:
            hint = nearest(name, COLUMNS) or f"known are {', '.join(COLUMNS)}"
            mistakes.add(place, f"unknown column{shown(name)}", hint)
        elif name in table.header[:index]:
            mistakes.add(place, f"the column `{name}` comes twice")
    if "appid" not in table.header:
        hint = f"the first line names the columns: {', '.join(COLUMNS)}"
        mistakes.add(table.place(row), "there is no column `appid`", hint)
    reading.blind = reading.blind or len(mistakes.found) > before
    return len(mistakes.found) == before


def judged(
    written: Iterable[Written],
    defaults: dict[str, Any],
    terms: CredentialRules,
    reading: LoadContext,
) -> dict[str, Account]:
    """Return the accounts by appid, in their order, with what the defaults add.

    ``defaults`` are as written, but for the credential, which is read already. An appid may come
    once.
    """
    accounts: dict[str, Account] = {}
    first: dict[str, Where] = {}
    mistakes = reading.mistakes
    for value, where in written:
        whole = _with_defaults(value, defaults)
        account = check(Account, whole, where, reading, item_of="accounts")
        if account is None:
            reading.loose.update(_names_in(value))
            continue
        appid = account.appid
        if appid in accounts:
            hint = f"also in {first[appid](('appid',))}"
            mistakes.add(where(("appid",)), f"the account `{appid}` comes twice", hint)
            continue
        accounts[appid], first[appid] = account, where
        begin, end = account.begin_date, account.end_date
        if begin is not None and end is not None and begin > end:
            what = "the account ends before it begins"
            mistakes.add(where(("end_date",)), what, "swap the days")
        check_credential(account, terms, where, mistakes)
    return accounts


def _with_defaults(value: object, defaults: dict[str, Any]) -> object:
    if not isinstance(value, dict):
        return value
    own, default = value.get("credential"), defaults.get("credential")
    if isinstance(own, dict) and default is not None:
        shared = {
            option: getattr(default, option)
            for kind, option in _SHARED
            if kind in own and getattr(default, kind) is not None
        }
        own = {**shared, **own}
    return {**defaults, **value, **({} if own is None else {"credential": own})}


def _names_in(value: object) -> Iterator[str]:
    """Yield the appid and tags of an account as written, as far as there are any."""
    given = value if isinstance(value, dict) else {}
    tags = given.get("tags")
    for name in (given.get("appid"), *(tags if isinstance(tags, list) else [tags])):
        if isinstance(name, str):
            yield str(name)

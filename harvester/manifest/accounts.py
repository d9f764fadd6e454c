"""The accounts of a manifest: those listed in it and those of its accounts file, made one."""

from __future__ import annotations

import csv
import io
import shlex
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from harvester.core.config import Account, Credential
from harvester.core.errors import Place
from harvester.manifest import credentials, shape
from harvester.manifest.check import check
from harvester.manifest.credentials import Claims, Terms
from harvester.manifest.mistakes import Mistakes, Reading, Step, Where, nearest, shown, shown_name
from harvester.manifest.references import resolve_all
from harvester.manifest.source import Unreadable, read_text

_IN_CREDENTIAL = (
    "secret",
    "token",
    "expires_at",
    "token_command",
    "token_url",
    "refresh_token",
)
_TRUTHS = ("legacy_token", "owns_tokens")
COLUMNS = ("appid", "name", "tags", "begin_date", "end_date", *_IN_CREDENTIAL, *_TRUTHS)


class Entry(NamedTuple):
    """An account as written, and where its parts stand."""

    account: shape.Account
    where: Where


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

    def value(self, cells: list[str]) -> dict[str, object]:
        """Return the row as the mapping a manifest would have. Empty cells are keys left out."""
        given = {name: cell for name, cell in zip(self.header, cells, strict=True) if cell}
        value: dict[str, object] = {
            name: cell for name, cell in given.items() if name not in _IN_CREDENTIAL
        }
        if "tags" in given:
            value["tags"] = [tag.strip() for tag in given["tags"].split(";") if tag.strip()]
        for name in _TRUTHS:
            if given.get(name) in ("true", "false"):
                value[name] = given[name] == "true"
        credential: dict[str, object] = {
            name: given[name] for name in _IN_CREDENTIAL if name in given
        }
        if "token_command" in given:
            credential["token_command"] = _words(given["token_command"])
        return {**value, "credential": credential} if credential else value


def _words(cell: str) -> list[str] | str:
    """A command's words, split as a shell would; the cell itself if it has a quote too many."""
    try:
        return shlex.split(cell)
    except ValueError:
        return cell


def read_csv(path: str, named: Place, reading: Reading) -> Iterator[Entry]:
    """The accounts of a CSV file. ``named`` is where the manifest names it."""
    file = reading.folder / path
    try:
        text = read_text(file)
    except Unreadable as flaw:
        place = Place(file, flaw.line, flaw.column) if flaw.line else named
        named_file = shown_name(path) or " a file"
        subject = "this file" if flaw.line else f"`accounts_file` names{named_file}, which"
        reading.mistakes.at(place, f"{subject} {flaw.what}", flaw.hint)
        reading.blind = True
        return
    rows = csv_rows(text)
    try:
        number, header = next(rows, (1, []))
        table = _Table(file, header)
        if _check_header(table, number, reading):
            yield from _entries(table, rows, reading)
    except BrokenCsv as flaw:
        hint = 'write the cell as "…", and a quote in it as ""'
        place = _Table(file, []).place(flaw.row)
        reading.mistakes.at(place, "a quoted cell does not end as it should", hint)
        reading.blind = True


def _entries(
    table: _Table, rows: Iterable[tuple[int, list[str]]], reading: Reading
) -> Iterator[Entry]:
    for number, cells in rows:
        where = table.where(number)
        if len(cells) != len(table.header):
            what = f"cells in this row: {len(cells)}, columns: {len(table.header)}"
            reading.mistakes.at(where(), what)
            reading.blind = True
            continue
        value = table.value(cells)
        resolve_all(value, where, reading)
        account = check(shape.Account, value, where, reading)
        if account is None:
            reading.loose.update(names_in(value))
        else:
            yield Entry(account, where)


def names_in(value: object) -> Iterator[str]:
    """The appid and tags of an account as written, as far as there are any."""
    given = value if isinstance(value, dict) else {}
    tags = given.get("tags")
    for name in (given.get("appid"), *(tags if isinstance(tags, list) else [tags])):
        if isinstance(name, str):
            yield str(name)


def _check_header(table: _Table, row: int, reading: Reading) -> bool:
    mistakes = reading.mistakes
    before = len(mistakes.found)
    for index, name in enumerate(table.header):
        place = table.place(row, index)
        if name not in COLUMNS:
            hint = nearest(name, COLUMNS) or f"known are {', '.join(COLUMNS)}"
            mistakes.at(place, f"unknown column{shown(name)}", hint)
        elif name in table.header[:index]:
            mistakes.at(place, f"the column `{name}` comes twice")
    if "appid" not in table.header:
        hint = f"the first line names the columns: {', '.join(COLUMNS)}"
        mistakes.at(table.place(row), "there is no column `appid`", hint)
    reading.blind = reading.blind or len(mistakes.found) > before
    return len(mistakes.found) == before


def merge(
    entries: Iterable[Entry],
    defaults: shape.Defaults,
    mistakes: Mistakes,
    *,
    terms: Terms,
    authorised: Iterable[str] = (),
) -> tuple[Account, ...]:
    """All accounts, in their order, with what the defaults add. An appid may come once.

    ``authorised`` are the appids that the platform knows. Those nobody listed come last.
    """
    accounts: dict[str, Account] = {}
    first: dict[str, Where] = {}
    adding = _Adding(defaults, credentials.credential(defaults.credential), terms)
    for entry in entries:
        appid = entry.account.appid
        if appid in accounts:
            other = first[appid](("appid",))
            hint = f"also in {other}"
            mistakes.at(entry.where(("appid",)), f"the account `{appid}` comes twice", hint)
            continue
        account = adding.account(entry.account)
        accounts[appid], first[appid] = account, entry.where
        if account.begin is not None and account.end is not None and account.begin > account.end:
            what = "the account ends before it begins"
            mistakes.at(entry.where(("end_date",)), what, "swap the days")
        claims = adding.claims(entry.account)
        credentials.check(account, claims, terms, entry.where, mistakes)
    for appid in authorised:
        if appid not in accounts:
            accounts[appid] = adding.account(shape.Account(appid=appid))
    return tuple(accounts.values())


class _Adding(NamedTuple):
    """What the manifest adds to each account."""

    defaults: shape.Defaults
    credential: Credential | None
    terms: Terms

    def account(self, written: shape.Account) -> Account:
        """The account, whole."""
        defaults = self.defaults
        tags = defaults.tags if written.tags is None else written.tags
        own = credentials.credential(written.credential)
        return Account(
            appid=str(written.appid),
            credential=credentials.settled(own, self.credential, self.claims(written), self.terms),
            name=str(written.name or ""),
            tags=frozenset(map(str, tags or ())),
            begin=defaults.begin_date if written.begin_date is None else written.begin_date,
            end=defaults.end_date if written.end_date is None else written.end_date,
        )

    def claims(self, written: shape.Account) -> Claims:
        """What holds for the account's tokens."""
        defaults = self.defaults
        own = Claims(written.legacy_token, written.owns_tokens)
        return own.over(Claims(defaults.legacy_token, defaults.owns_tokens))


def tags_of(accounts: Iterable[Account]) -> dict[str, list[str]]:
    """The appids of each tag, in the order of the accounts."""
    tagged: dict[str, list[str]] = {}
    for account in accounts:
        for tag in account.tags:
            tagged.setdefault(tag, []).append(account.appid)
    return tagged


__all__ = ["COLUMNS", "Entry", "csv_rows", "merge", "read_csv", "tags_of"]

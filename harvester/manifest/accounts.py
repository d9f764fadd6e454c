"""The accounts of a manifest: validation, and the CSV file of `accounts_file`."""

from __future__ import annotations

import csv
import io
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from harvester.core.config.nearest import nearest
from harvester.core.config.references import quote_safe, quote_safe_name
from harvester.core.config.settings import KINDS, Account, Credential
from harvester.core.errors import Place
from harvester.manifest import csv_header
from harvester.manifest.build import CredentialRules, check_credential
from harvester.manifest.diagnostics import Diagnostics, LoadContext, Step, Where
from harvester.manifest.interpolation import resolve_all
from harvester.manifest.text_file import SAVE, Unreadable, read_text
from harvester.manifest.validation import check, fields_of

_IN_CREDENTIAL = [name for name in fields_of(Credential) if name not in {"timeout", "headers"}]
_OWN = [name for name in fields_of(Account) if name not in {"credential", "attributes"}]
_TRUTHS = {name for name, field in fields_of(Account).items() if field.default is False}
COLUMNS = (*_OWN, *_IN_CREDENTIAL)

ATTRIBUTE = "attr."
"""Beginning of the columns that are attributes: `attr.client` is the attribute `client`."""

_SHARED = (("token_command", "timeout"), ("token_url", "headers"))
"""Options that an account's credential takes from a credential of the same kind in defaults."""

RawAccount: TypeAlias = tuple[Any, Where]
"""An account before validation, and the places of its parts."""


_EXCEL = "in Excel: File, Save As, `CSV UTF-8`; elsewhere: save it as UTF-8 text with commas"
_CELLS = "give each row a cell for each column, and quote a cell that has a comma"


class BrokenCsv(Exception):
    """A wrong quote in a CSV file, at this row."""

    def __init__(self, row: int) -> None:
        super().__init__(f"row {row}")
        self.row = row


def csv_rows(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a CSV text with their numbers, which count from one.

    Rows of empty cells, which spreadsheets append, are skipped; blanks around a cell are removed.
    Raises BrokenCsv.
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
    """A CSV file and its header, which turn rows into accounts."""

    file: Path
    header: list[str]

    def place(self, row: int, column: str | int = "") -> Place:
        """Return the place of a row, or of its cell in a column, given by name or index."""
        if column == "":
            return Place(self.file, row, 1, f"row {row}")
        index = self.header.index(column) if isinstance(column, str) else column
        name = f"`{column}`" if isinstance(column, str) else str(index + 1)
        return Place(self.file, row, index + 1, f"row {row}, column {name}")

    def where(self, row: int) -> Where:
        """Return the `Where` of a row: a part's place is its cell, or the row if there is none."""

        def find(loc: Sequence[Step] = (), /, *, key: bool = False) -> Place:  # noqa: ARG001
            steps = [f"{ATTRIBUTE}{loc[-1]}" if "attributes" in loc[:-1] else "", *reversed(loc)]
            columns = [step for step in steps if step in self.header]
            # A mistake in the credential as a whole is shown at its first column.
            if not columns and "credential" in loc:
                columns = [name for name in _IN_CREDENTIAL if name in self.header]
            return self.place(row, columns[0] if columns else "")

        return find

    def value(self, cells: list[str]) -> dict[str, Any]:
        """Return the row as the mapping that a manifest would hold, without empty cells."""
        given: dict[str, Any] = {
            name: cell for name, cell in zip(self.header, cells, strict=True) if cell
        }
        if "tags" in given:
            given["tags"] = [tag.strip() for tag in given["tags"].split(";") if tag.strip()]
        if "token_command" in given:
            given["token_command"] = _split_command(given["token_command"])
        for name in _TRUTHS & given.keys():
            given[name] = {"true": True, "false": False}.get(given[name], given[name])
        credential = {name: given.pop(name) for name in _IN_CREDENTIAL if name in given}
        attributes = {
            name.removeprefix(ATTRIBUTE).strip(): given.pop(name)
            for name in [*given]
            if name.startswith(ATTRIBUTE)
        }
        parts = {"credential": credential, "attributes": attributes}
        return {**given, **{name: part for name, part in parts.items() if part}}


def _split_command(cell: str) -> list[str] | str:
    """Split a command as a shell does. Return the cell itself if a quote is unbalanced."""
    try:
        return shlex.split(cell)
    except ValueError:
        return cell


def read_csv(path: str, named: Place, context: LoadContext) -> Iterator[RawAccount]:
    """Yield the accounts of a CSV file. ``named`` is the place of its name in the manifest."""
    file = context.folder / path
    try:
        text = read_text(file)
    except Unreadable as flaw:
        place = Place(file, flaw.line, flaw.column) if flaw.line else named
        named_file = quote_safe_name(path) or " a file"
        subject = "this file" if flaw.line else f"`accounts_file` names{named_file}, which"
        hint = _EXCEL if flaw.hint == SAVE else flaw.hint
        context.mistakes.add(place, f"{subject} {flaw.what}", hint)
        context.accounts_unknown = True
        return
    rows = csv_rows(text)
    try:
        number, header = next(rows, (1, []))
        table = _Table(file, header)
        if _check_header(table, number, context):
            yield from _accounts(table, rows, context)
    except BrokenCsv as flaw:
        hint = 'write the cell as "…", and a quote in it as ""'
        place = _Table(file, []).place(flaw.row)
        context.mistakes.add(place, "a quoted cell does not end as it should", hint)
        context.accounts_unknown = True


def _accounts(
    table: _Table, rows: Iterable[tuple[int, list[str]]], context: LoadContext
) -> Iterator[RawAccount]:
    for number, cells in rows:
        where = table.where(number)
        if len(cells) == len(table.header):
            value = table.value(cells)
            resolve_all(value, context)
            yield value, where
        else:
            what = f"cells in this row: {len(cells)}, columns: {len(table.header)}"
            context.mistakes.add(where(), what, _CELLS)
            context.accounts_unknown = True


def _check_header(table: _Table, row: int, context: LoadContext) -> bool:
    """Report unknown, duplicate and missing columns. Return whether the header is right."""
    mistakes = context.mistakes
    before = len(mistakes.found)
    flaw = csv_header.mistake_of(table.header, COLUMNS)
    if flaw is not None:
        mistakes.add(table.place(row, flaw.first), flaw.what, flaw.hint)
    if flaw is None or flaw.meant:
        _check_columns(table, row, flaw.meant if flaw else {}, mistakes)
    is_right = len(mistakes.found) == before
    context.accounts_unknown |= not is_right
    return is_right


def _check_columns(
    table: _Table, row: int, meant: Mapping[int, str], mistakes: Diagnostics
) -> None:
    """Report unknown, duplicate and missing columns. ``meant`` has those with another spelling."""
    header = [meant.get(index, name) for index, name in enumerate(table.header)]
    hints = ""
    for index, name in enumerate(header):
        place = table.place(row, index)
        is_attribute = name.startswith(ATTRIBUTE) and name != ATTRIBUTE
        if name not in COLUMNS and not is_attribute:
            hint = nearest(name, COLUMNS)
            hints += hint
            known = f"known are {', '.join(COLUMNS)}, {ATTRIBUTE}NAME"
            mistakes.add(place, f"unknown column{quote_safe(name)}", hint or known)
        elif name in header[:index]:
            what = f"the column{quote_safe(name)} comes twice"
            mistakes.add(place, what, "leave one of them out")
    # The misspelt column is told already.
    if "appid" not in header and "`appid`" not in hints:
        hint = f"the first line names the columns: {', '.join(COLUMNS)}"
        mistakes.add(table.place(row), "there is no column `appid`", hint)


def place_of(credential: Any, where: Where, *loc: Step) -> Place:
    """Return the place of what a credential or a platform refers to."""
    kinds = [kind for kind in KINDS if isinstance(credential, dict) and kind in credential]
    return where((*loc, *kinds[:1]))


def validate_accounts(
    written: Iterable[RawAccount],
    defaults: dict[str, Any],
    rules: CredentialRules,
    context: LoadContext,
) -> dict[str, Account]:
    """Return the valid accounts by appid, in order, merged with the defaults before validation.

    ``defaults`` are raw values, except for the credential, which is validated already.
    """
    accounts: dict[str, Account] = {}
    first: dict[str, Where] = {}
    mistakes = context.mistakes
    for value, where in written:
        whole = _with_defaults(value, defaults)
        account = check(Account, whole, where, context, item_of="accounts")
        if account is None:
            context.invalid_accounts.update(_raw_names(value))
            continue
        appid = account.appid
        if appid in accounts:
            hint = f"also in {first[appid](('appid',))}"
            mistakes.add(where(("appid",)), f"the account `{appid}` comes twice", hint)
            continue
        accounts[appid], first[appid] = account, where
        if value.get("credential"):
            context.credential_places[appid] = place_of(value["credential"], where, "credential")
        begin, end = account.begin_date, account.end_date
        if begin is not None and end is not None and begin > end:
            what = "the account ends before it begins"
            mistakes.add(where(("end_date",)), what, "swap the days")
        check_credential(account, rules, where, mistakes)
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


def _raw_names(value: object) -> Iterator[str]:
    """Yield the appid, the tags and the attributes of an account that is not valid."""
    given = value if isinstance(value, dict) else {}
    tags, attributes = given.get("tags"), given.get("attributes")
    for name, text in attributes.items() if isinstance(attributes, dict) else ():
        yield f"{name}={text}"
    for name in (given.get("appid"), *(tags if isinstance(tags, list) else [tags])):
        if isinstance(name, str):
            yield str(name)

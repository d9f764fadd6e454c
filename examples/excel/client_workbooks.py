"""Write a workbook for each client: a month of its accounts, a sheet for each view, in Chinese.

    python client_workbooks.py OUTPUT MONTH FOLDER [CLIENT …]

OUTPUT is a tree that harvester wrote, MONTH one like 2026-05. A client is a value of the attribute
`client` of the manifest's accounts. Without names each client gets a workbook.
"""

from __future__ import annotations

import datetime as dt
import itertools
import sys
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import xlsxwriter
from xlsxwriter.workbook import Workbook
from xlsxwriter.worksheet import Worksheet

import harvester

VIEWS = ("关注日报", "关注来源日报", "阅读日报", "阅读来源日报", "文章数据", "消息日报", "接口日报")
SHARE = "率"
"""The end of the heading of a share, such as 失败率."""
WIDE = {"账号": 18, "AppID": 22, "标题": 40, "链接": 30}

ROWS = 1_048_576
"""The rows of a sheet, the one of the headings included. Excel has no larger sheets."""

LETTERS = 32_767
"""The characters of a cell."""

FORMATS = {
    "text": "@",
    "active": "@",
    "day": "yyyy-mm-dd",
    "whole": "#,##0",
    "fraction": "#,##0.00",
    "share": "0.0%",
}

# Excel makes a formula of such a text once a person edits the cell, unless its format says text.
ACTIVE = ("=", "+", "-", "@", "\t", "\r")


def clients_of(con: duckdb.DuckDBPyConnection) -> list[str]:
    """Return the clients that the accounts have."""
    found = con.sql("select distinct attributes['client'] from accounts").fetchall()
    return sorted(client for (client,) in found if client)


def days_of(month: str) -> tuple[dt.date, dt.date]:
    """Return the first day of a month like 2026-05, and that of the next one."""
    first = dt.date.fromisoformat(f"{month}-01")
    return first, (first + dt.timedelta(days=32)).replace(day=1)


def rows_of(
    con: duckdb.DuckDBPyConnection, view: str, client: str, month: str
) -> tuple[list[str], Iterator[tuple[Any, ...]]]:
    """Return the headings of a view, and its rows of a client and a month, by account and day."""
    found = con.execute(
        'select * from query_table(?) where "客户" = ? and "数据日期" >= ? and "数据日期" < ?'
        " order by all",
        [view, client, *days_of(month)],
    )
    headings = [column[0] for column in found.description]
    return headings, iter(lambda: found.fetchone() or (), ())


class Sheets:
    """The sheets of one view: another one begins where the one before is full."""

    def __init__(self, book: Workbook, view: str, headings: Sequence[str]) -> None:
        self.book, self.view, self.headings = book, view, headings
        self.count = self.row = 0
        self.formats = {
            name: book.add_format({"num_format": form, "quote_prefix": name == "active"})
            for name, form in FORMATS.items()
        }
        self.begin()

    def begin(self) -> None:
        """Begin a sheet with the headings."""
        self.count += 1
        name = self.view if self.count == 1 else f"{self.view} {self.count}"
        self.sheet: Worksheet = self.book.add_worksheet(name)
        bold = self.book.add_format({"bold": True, "bottom": 1})
        for column, heading in enumerate(self.headings):
            # A Chinese letter is as wide as two others.
            width = WIDE.get(heading, max(12, 2 * len(heading) + 2))
            self.sheet.set_column(column, column, width)
            self.sheet.write_string(0, column, heading, bold)
        self.sheet.freeze_panes(1, 3)
        self.row = 1

    def add(self, values: Sequence[Any]) -> None:
        """Add a row."""
        if self.row == ROWS:
            self.begin()
        for column, value in enumerate(values):
            if value is not None:
                self._write(column, value)
        self.row += 1

    def _write(self, column: int, value: Any) -> None:
        """Write a cell by its type. Only what is a number is written as one."""
        share = self.headings[column].endswith(SHARE)
        place = self.row, column
        match value:
            case bool():
                self.sheet.write_string(*place, "是" if value else "否")
            case int() | float() | Decimal():
                kind = "share" if share else "whole" if isinstance(value, int) else "fraction"
                self.sheet.write_number(*place, float(value), self.formats[kind])
            case dt.date():
                self.sheet.write_datetime(*place, value, self.formats["day"])
            case _:
                text = str(value)[:LETTERS]
                kind = "active" if text.startswith(ACTIVE) else "text"
                self.sheet.write_string(*place, text, self.formats[kind])


def write_workbook(con: duckdb.DuckDBPyConnection, path: Path, client: str, month: str) -> None:
    """Write the workbook of a client."""
    with xlsxwriter.Workbook(path, {"constant_memory": True}) as book:
        for view in VIEWS:
            headings, rows = rows_of(con, view, client, month)
            sheets = Sheets(book, view, headings)
            for row in rows:
                sheets.add(row)


def file_name(client: str, month: str, number: int) -> str:
    """Return the name of a file, which has nothing that a name of a file may not have."""
    letters = (each if each.isprintable() and each not in '<>:"/\\|?*' else "_" for each in client)
    more = f" ({number})" if number > 1 else ""
    return f"{''.join(letters).strip(' .')[:60] or '_'}{more} {month}.xlsx"


def main(output: str, month: str, folder: str, *wanted: str) -> None:
    """Write the workbooks, and print their names."""
    try:
        days_of(month)
    except (ValueError, OverflowError):
        print(f"`{month}` is not a month like 2026-05", file=sys.stderr)
        sys.exit(2)
    con = harvester.open(output).duckdb()
    known = clients_of(con)
    if not known:
        sys.exit("no account has the attribute `client`: add it to the accounts of jobs.yaml")
    if unknown := set(wanted) - set(known):
        sys.exit(f"no account has the client {sorted(unknown)}; there are {known}")
    Path(folder).mkdir(parents=True, exist_ok=True)
    used = set[str]()
    for client in wanted or known:
        names = (file_name(client, month, number) for number in itertools.count(1))
        name = next(each for each in names if each.casefold() not in used)
        used.add(name.casefold())
        write_workbook(con, Path(folder, name), client, month)
        print(Path(folder, name))


if __name__ == "__main__":
    main(*sys.argv[1:])

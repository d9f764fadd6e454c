"""The status as CSV (RFC 4180), for programs and spreadsheets."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from harvester.cli.output.account_tables import reason_text
from harvester.core.plain import plain
from harvester.core.text.inert_text import inert_cell
from harvester.runs.record.run_record import plain_row
from harvester.verbs.status import Status

_ACCOUNT = ("name", "appid", "tags", "percent", "newest_day", "state", "reason", "waiting_until")


def accounts_csv(found: Status) -> str:
    """Return a line for each account, the worst first. Times are RFC 3339 in UTC."""
    rows = (
        {**plain(account), "tags": ";".join(account.tags), "reason": reason_text(account)}
        for account in found.accounts
    )
    return csv_text(_ACCOUNT, ([row[name] for name in _ACCOUNT] for row in rows))


def datasets_csv(found: Status) -> str:
    """Return a line for each dataset, with the numbers of its account-days by state."""
    rows = [plain_row(row) for row in found.datasets]
    return csv_text([*rows[0]] if rows else ["dataset"], [[*row.values()] for row in rows])


def csv_text(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table as CSV, with a line of headings; None is an empty cell.

    No text is a formula or ends its line. Numbers are as in JSON.
    """
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\r\n")
    writer.writerow(headings)
    for row in rows:
        writer.writerow([inert_cell(cell) if isinstance(cell, str) else cell for cell in row])
    return sink.getvalue()

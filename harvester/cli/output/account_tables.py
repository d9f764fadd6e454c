"""The status of accounts: a table, lines for their days, and CSV (RFC 4180), also of datasets."""

from __future__ import annotations

import csv
import datetime as dt
import io
from collections import defaultdict
from collections.abc import Iterable, Sequence

from rich.console import Console

from harvester.cli.output.answers import print_line, print_table
from harvester.cli.output.phrases import counted, minute_texts
from harvester.cli.output.styles import style_of
from harvester.cli.output.table_layout import Cell, TableColumn, own
from harvester.core.calendar import day_text
from harvester.core.plain import plain
from harvester.core.text.inert_text import inert_cell, named
from harvester.runs.record.run_record import plain_row
from harvester.verbs.account_status import AccountStatus, DaysOfAccount, MissingDays
from harvester.verbs.gate import LostDays
from harvester.verbs.status import Status

_CSV_NAMES = ("name", "appid", "tags", "percent", "newest_day", "state", "reason", "waiting_until")


def reason_text(account: AccountStatus) -> str:
    """Return why days of an account are missing: the reason and the code, or why it is paused."""
    if account.paused:
        return f"paused: {account.paused}"
    return _because(account.reason, account.errcode)


def _percent(account: AccountStatus) -> str:
    return "" if account.percent is None else f"{account.percent:.1f}"


def _state(account: AccountStatus) -> Cell:
    return own(account.state, style_of(account.reason) or style_of(account.state))


_COLUMNS: Sequence[TableColumn[AccountStatus]] = (
    TableColumn("name", lambda row: row.name, "text", may_lack=True),
    TableColumn("appid", lambda row: row.appid, "code"),
    TableColumn("tags", lambda row: ", ".join(row.tags), "text", rank=3, least=10, may_lack=True),
    TableColumn("percent", _percent),
    TableColumn("newest day", lambda row: row.newest_day, "code", rank=1),
    TableColumn("state", _state, "code"),
    TableColumn("reason", reason_text, "text", least=10),
    TableColumn("waiting until", lambda row: _local(row.waiting_until), "code", rank=2),
)


def print_accounts(out: Console, accounts: Sequence[AccountStatus]) -> None:
    """Print accounts, and how many of them there are, incomplete and paused."""
    if accounts:
        print_table(out, _COLUMNS, accounts)
    counts = {
        "incomplete": sum(account.is_incomplete for account in accounts),
        "paused": sum(bool(account.paused) for account in accounts),
    }
    states = "".join(f", {number:,} {word}" for word, number in counts.items() if number)
    print_line(out, counted(len(accounts), "account") + states, gap=True)


def day_lines(found: Sequence[DaysOfAccount]) -> list[str]:
    """Return a line for the days of each account and reason, those with the most first."""
    alike: defaultdict[tuple[str, str], list[DaysOfAccount]] = defaultdict(list)
    for each in found:
        prospect = f": {_prospect(each)}" if isinstance(each, MissingDays) else ""
        alike[named(each.appid, each.name), prospect].append(each)
    # Those with the most days, because a list is cut after some lines.
    most_first = sorted(alike.items(), key=lambda item: -sum(each.days for each in item[1]))
    return [f"{account}: {_days(days)}{prospect}" for (account, prospect), days in most_first]


def lost_lines(lost: Sequence[LostDays]) -> list[str]:
    """Return the same for days that no run obtains by itself."""
    found = []
    for item in lost:
        span = day_text(item.begin), day_text(item.end)
        account = item.appid, item.name, (item.dataset,)
        days = item.end - item.begin + 1
        found.append(MissingDays(*account, days, (span,), item.reason, item.errcode))
    return day_lines(found)


def _prospect(gap: MissingDays) -> str:
    """Return why days are missing, and from when on a run may obtain them if that is not now."""
    waits = gap.retry_at is not None and gap.reason != "not_asked"
    when = f", again from {_local(gap.retry_at)} on" if waits else ""
    return _because(gap.reason, gap.errcode) + when


def _days(found: Sequence[DaysOfAccount]) -> str:
    datasets = list(dict.fromkeys(name for each in found for name in each.datasets))
    where = datasets[0] if len(datasets) == 1 else f"{len(datasets)} datasets"
    first = min(each.ranges[0][0] for each in found)
    last = max(each.ranges[-1][1] for each in found)
    when = first if first == last else f"{first}..{last}"
    return f"{counted(sum(each.days for each in found), 'day')} of {where}, {when}"


def _because(reason: str, errcode: int | None) -> str:
    return reason if errcode is None else f"{reason} ({errcode})"


def _local(moment: str | None) -> str:
    """Write a moment, RFC 3339 in UTC, in the time of this machine, to the next full minute."""
    return "" if moment is None else minute_texts(dt.datetime.fromisoformat(moment))[0]


def accounts_csv(found: Status) -> str:
    """Return a line for each account, the worst first. Times are RFC 3339 in UTC."""
    rows = (
        {**plain(account), "tags": ";".join(account.tags), "reason": reason_text(account)}
        for account in found.accounts
    )
    return csv_text(_CSV_NAMES, ([row[name] for name in _CSV_NAMES] for row in rows))


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

"""The status of accounts, each over all of its datasets: a table, and lines for their days."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from harvester.cli.output.phrases import counted, full_minute, minute_text
from harvester.cli.output.styles import style_of
from harvester.cli.output.table_layout import Cell, TableColumn, own
from harvester.core.calendar import day_text
from harvester.core.text.inert_text import named
from harvester.verbs.account_status import AccountStatus, DaysOfAccount, MissingDays
from harvester.verbs.gate import LostDays


def reason_text(account: AccountStatus) -> str:
    """Return why days of an account are missing: the reason and the code, or why it is paused."""
    if account.paused:
        return f"paused: {account.paused}"
    return _because(account.reason, account.errcode)


def _percent(account: AccountStatus) -> str:
    return "" if account.percent is None else f"{account.percent:.1f}"


def _state(account: AccountStatus) -> Cell:
    return own(account.state, style_of(account.reason) or style_of(account.state))


ACCOUNT_COLUMNS: Sequence[TableColumn[AccountStatus]] = (
    TableColumn("name", lambda row: row.name, "text", may_lack=True),
    TableColumn("appid", lambda row: row.appid, "code"),
    TableColumn("tags", lambda row: ", ".join(row.tags), "text", rank=3, least=10, may_lack=True),
    TableColumn("percent", _percent),
    TableColumn("newest day", lambda row: row.newest_day, "code", rank=1),
    TableColumn("state", _state, "code"),
    TableColumn("reason", reason_text, "text", least=10),
    TableColumn("waiting until", lambda row: _local(row.waiting_until), "code", rank=2),
)


def account_counts(accounts: Sequence[AccountStatus]) -> str:
    """Return how many accounts there are, and how many of them are incomplete or paused."""
    counts = {
        "incomplete": sum(account.is_incomplete for account in accounts),
        "paused": sum(bool(account.paused) for account in accounts),
    }
    states = "".join(f", {number:,} {word}" for word, number in counts.items() if number)
    return counted(len(accounts), "account") + states


class _Piece(NamedTuple):
    """Days of an account: their number, the datasets, the first and the last of them."""

    account: str
    datasets: tuple[str, ...]
    days: int
    first: str
    last: str


def missing_title(gaps: Sequence[MissingDays]) -> str:
    """Return the number of missing days, and of their accounts."""
    accounts = counted(len({gap.appid for gap in gaps}), "account")
    return f"missing: {counted(sum(gap.days for gap in gaps), 'account-day')} of {accounts}"


def missing_lines(gaps: Sequence[MissingDays]) -> list[str]:
    """Return a line for the missing days of each account and reason, those with the most first."""
    return _lines([(_piece(gap), _prospect(gap)) for gap in gaps])


def lost_lines(lost: Sequence[LostDays]) -> list[str]:
    """Return the same for days that no run obtains by itself."""
    pieces = []
    for item in lost:
        first, last = day_text(item.begin), day_text(item.end)
        account, days = named(item.appid, item.name), item.end - item.begin + 1
        piece = _Piece(account, (item.dataset,), days, first, last)
        pieces.append((piece, _because(item.reason, item.errcode)))
    return _lines(pieces)


def day_lines(found: Sequence[DaysOfAccount]) -> list[str]:
    """Return a line for the days of each account, those with the most first."""
    return _lines([(_piece(item), "") for item in found])


def _piece(found: DaysOfAccount) -> _Piece:
    account, (first, _), (_, last) = found.appid, found.ranges[0], found.ranges[-1]
    return _Piece(named(account, found.name), found.datasets, found.days, first, last)


def _prospect(gap: MissingDays) -> str:
    """Return why days are missing, and from when on a run may obtain them if that is not now."""
    waits = gap.retry_at is not None and gap.reason != "not_asked"
    when = f", again from {_local(gap.retry_at)} on" if waits else ""
    return _because(gap.reason, gap.errcode) + when


def _lines(pieces: Iterable[tuple[_Piece, str]]) -> list[str]:
    alike: defaultdict[tuple[str, str], list[_Piece]] = defaultdict(list)
    for piece, reason in pieces:
        alike[piece.account, reason].append(piece)
    most_first = sorted(alike.items(), key=lambda item: -sum(piece.days for piece in item[1]))
    return [
        f"{account}: {_days(found)}{f': {reason}' if reason else ''}"
        for (account, reason), found in most_first
    ]


def _days(found: Sequence[_Piece]) -> str:
    datasets = list(dict.fromkeys(name for piece in found for name in piece.datasets))
    where = datasets[0] if len(datasets) == 1 else f"{len(datasets)} datasets"
    first, last = min(piece.first for piece in found), max(piece.last for piece in found)
    when = first if first == last else f"{first}..{last}"
    return f"{counted(sum(piece.days for piece in found), 'day')} of {where}, {when}"


def _because(reason: str, errcode: int | None) -> str:
    return reason if errcode is None else f"{reason} ({errcode})"


def _local(moment: str | None) -> str:
    """Write a moment, RFC 3339 in UTC, in the time of this machine, to the next full minute."""
    return "" if moment is None else minute_text(full_minute(dt.datetime.fromisoformat(moment)))

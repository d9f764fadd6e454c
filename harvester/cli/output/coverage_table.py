"""Coverage of datasets as a table, of a run and of an output."""

from __future__ import annotations

from collections.abc import Sequence

from harvester.cli.next_commands import odd_days_text
from harvester.cli.output.styles import style_of
from harvester.cli.output.table_layout import Cell, Own, TableColumn
from harvester.cli.output.terminal import Terminal
from harvester.core.text.wording import said
from harvester.runs.record.account_report import DatasetSummary
from harvester.runs.record.next_requests import NextRequests


def _covered(row: DatasetSummary) -> Cell:
    return Own(f"{row.days.done:,}", "" if row.days.missing else "done")


def _days_in(name: str, rank: int) -> TableColumn[DatasetSummary]:
    """Return the column of the account-days in a state, for tables in which there are any."""

    def count(row: DatasetSummary) -> Cell:
        number = getattr(row.days, name)
        return Own(f"{number:,}", style_of(name)) if number else 0

    return TableColumn(name, count, rank=rank, may_lack=True)


COVERAGE: Sequence[TableColumn[DatasetSummary]] = (
    TableColumn("dataset", lambda row: row.dataset, "code"),
    TableColumn("accounts", lambda row: row.accounts, rank=6),
    TableColumn("wanted", lambda row: row.days.wanted, rank=5),
    TableColumn("covered", _covered),
    _days_in("missing", 0),
    _days_in("provisional", 2),
    _days_in("quarantined", 1),
    _days_in("suspicious", 3),
    _days_in("empty", 4),
)
"""Account-days by state."""


def print_suspicious(out: Terminal, price: NextRequests) -> None:
    """Print how many empty days are odd."""
    if price.odd_days:
        days = odd_days_text(price)
        out.say(said("suspicious gaps: {days}, between days with rows", days=days), gap=True)

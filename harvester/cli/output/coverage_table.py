"""Coverage of datasets as a table, of a run and of an output."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from harvester.cli.next_commands import days_of
from harvester.cli.output.answers import print_line, print_table
from harvester.cli.output.styles import style_of
from harvester.cli.output.table_layout import Cell, TableColumn, own
from harvester.runs.record.account_report import DatasetSummary
from harvester.runs.record.next_requests import NextRequests

_STATES = {
    "done": TableColumn("covered"),
    "missing": TableColumn("missing"),
    "provisional": TableColumn("provisional", rank=2),
    "quarantined": TableColumn("quarantined", rank=1),
    "suspicious": TableColumn("suspicious", rank=3),
    "empty": TableColumn("empty", rank=4),
}
"""The columns of account-days by state."""


def print_coverage(out: Console, rows: Sequence[DatasetSummary]) -> None:
    """Count account-days by state; states without a day get no column, but for covered ones."""
    shown = [
        name for name in _STATES if name == "done" or any(getattr(row.days, name) for row in rows)
    ]
    columns = [
        TableColumn("dataset", "code"),
        TableColumn("accounts", rank=6),
        TableColumn("wanted", rank=5),
    ]
    print_table(
        out,
        [*columns, *(_STATES[name] for name in shown)],
        [
            [
                row.dataset,
                f"{row.accounts:,}",
                f"{row.days.wanted:,}",
                *(_count(row, name) for name in shown),
            ]
            for row in rows
        ],
    )


def _count(row: DatasetSummary, name: str) -> Cell:
    number = getattr(row.days, name)
    if name == "done":
        return own(f"{number:,}", "" if row.days.missing else "done")
    return own(f"{number:,}", style_of(name) if number else "")


def print_suspicious(out: Console, price: NextRequests) -> None:
    """Print how many empty days are odd."""
    if price.suspicious is not None:
        title = f"suspicious gaps: {days_of(price.suspicious)}, between days with rows"
        print_line(out, title, gap=True)

"""A plan and its price as a table."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console

from harvester.cli.output.answers import print_line, print_paused, print_table
from harvester.cli.output.phrases import seconds_text
from harvester.cli.output.table_layout import TableColumn
from harvester.core import calendar
from harvester.core.config.settings import ASSUMED_QUOTA
from harvester.core.text.inert_text import named
from harvester.planning.cost import EmptyPrefix, Price
from harvester.planning.windows import DatasetPlan
from harvester.verbs.plan import PricedPlan

_LIMITS = {"rate": "limits.per_token.rate", "cpu": "the processor", "quota": "the daily quota"}


_COLUMNS = (
    TableColumn("dataset", "code"),
    TableColumn("accounts", rank=2),
    TableColumn("wanted", rank=1),
    TableColumn("missing"),
    TableColumn("requests"),
    TableColumn("from", "code", rank=3),
    TableColumn("to", "code", rank=4),
)
"""Accounts and account-days that are wanted and missing, and the first and the last missing day."""


def show(out: Console, priced: PricedPlan) -> None:
    """Print the requests of a plan, the bound of its time, and the price of shorter ranges."""
    found, price = priced.plan, priced.price
    print_table(out, _COLUMNS, map(_row, found.datasets))
    if found.requests:
        seconds, limit = seconds_text(price.bound_seconds), _LIMITS[price.bound_by]
        bound = f"{found.requests:,} requests, at least {seconds}, limited by {limit}"
        print_line(out, bound, gap=True)
        for line in _price_lines(price, priced.barren):
            print_line(out, line)
    elif any(row.wanted for row in found.datasets):
        out.print("\nnothing to ask: every wanted day is covered")
    else:
        out.print("\nnothing to ask: no day is wanted")
    print_paused(out, found.paused)
    for warning in found.warnings:
        print_line(out, f"note: {warning}")


def _row(row: DatasetPlan) -> list[str]:
    return [
        row.dataset,
        f"{row.accounts:,}",
        f"{row.wanted:,}",
        f"{row.account_days:,}",
        f"{row.requests:,}",
        "" if row.begin is None else calendar.day_text(row.begin),
        "" if row.end is None else calendar.day_text(row.end),
    ]


def _price_lines(price: Price, barren: tuple[EmptyPrefix, ...]) -> Iterator[str]:
    most, least = price.accounts[0], price.accounts[-1]
    if most.requests > least.requests:
        yield (
            f"{least.requests:,} to {most.requests:,} requests an account; "
            f"{named(most.appid, most.name)} needs the most"
        )
    else:
        yield f"{most.requests:,} requests an account"
    if price.bound_by == "quota":
        days = "1 day" if price.calendar_days == 1 else f"{price.calendar_days:,} days"
        yield (
            f"{days} under the daily quota ({_quota_source(price)}), complete on "
            f"{calendar.day_text(price.complete_on)}, {price.requests_today:,} requests of it today"
        )
    if price.quota_questions:
        yield f"{price.quota_questions:,} questions to WeChat for the daily quota"
    if price.refused:
        yield (
            f"note: WeChat did not tell the daily quota when it was asked: {ASSUMED_QUOTA:,} calls "
            "a day are assumed; set limits.daily_quota if you know better"
        )
    for item in price.shorter_ranges:
        took = f" on {item.calendar_days:,} days" if item.calendar_days > 1 else ""
        yield f"from {calendar.day_text(item.begin)} on: {item.requests:,} requests{took}"
    if barren:
        first = barren[0]
        since = "no row at all"
        if first.first_row is not None:
            since = f"its first row on {calendar.day_text(first.first_row)}"
        yield (
            f"note: {sum(item.requests for item in barren):,} requests are for days before an "
            f"account's first row; set its begin_date ({named(first.appid, first.name)}, "
            f"{first.dataset}: {since}, {first.empty:,} empty days before)"
        )


def _quota_source(price: Price) -> str:
    counts = {"read": price.read, "assumed": price.assumed}
    origins = [origin for origin, count in counts.items() if count]
    if len(origins) < 2:
        return "".join(origins) or "set in the manifest"
    return ", ".join(f"{count:,} {origin}" for origin, count in counts.items())

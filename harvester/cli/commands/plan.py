"""``harvester plan``: the requests of a run before it makes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harvester.cli import options
from harvester.cli.output.answers import answer, print_paused
from harvester.cli.output.phrases import seconds_text
from harvester.cli.output.table_layout import TableColumn
from harvester.cli.output.terminal import Terminal
from harvester.core.config.settings import ASSUMED_QUOTA
from harvester.core.results import DatasetPlan
from harvester.core.text.inert_text import named
from harvester.core.text.wording import counted
from harvester.verbs import plan as planning

_LIMITS = {"rate": "limits.per_token.rate", "cpu": "the processor", "quota": "the daily quota"}

_COLUMNS: Sequence[TableColumn[DatasetPlan]] = (
    TableColumn("dataset", lambda row: row.dataset, "code"),
    TableColumn("accounts", lambda row: row.accounts, rank=2),
    TableColumn("wanted", lambda row: row.wanted, rank=1),
    TableColumn("missing", lambda row: row.account_days),
    TableColumn("requests", lambda row: row.requests),
    TableColumn("from", lambda row: str(row.begin or ""), "code", rank=3),
    TableColumn("to", lambda row: str(row.end or ""), "code", rank=4),
)
"""Accounts, wanted and missing account-days, requests, and the first and the last missing day."""


def plan(
    manifest: options.ManifestPath = options.JOBS,
    /,
    *,
    selecting: options.Selecting = options.ALL,
    output: options.Output = None,
    refetch: options.Refetch = None,
    shard: options.Shard = None,
    format: options.Format = "text",
) -> None:
    """Show what a run would ask and what limits its speed.

    Asks nothing, writes nothing and needs no secret.

    For example:
      harvester plan jobs.yaml --begin-date -30d

    Exit codes:
      0   planned
      2   a mistake in the manifest or the options
    """
    given = selecting.given()
    found = planning.plan(manifest, output=output, refetch=refetch, shard=shard, **given)
    answer(format, found.to_dict, lambda out: print_plan(out, found))


def print_plan(out: Terminal, found: planning.Plan) -> None:
    """Print the requests of a plan, its minimum duration, and the cost of shorter ranges."""
    if found.requests:
        out.say_table(_COLUMNS, found.datasets)
        seconds, limit = seconds_text(found.bound_seconds), _LIMITS[found.bound_by]
        bound = f"{counted(found.requests, 'request')}, at least {seconds}, limited by {limit}"
        out.say(bound, gap=True)
        for line in _price_lines(found, found.price):
            out.say(line)
    elif wanted := sum(row.wanted for row in found.datasets):
        out.print(f"nothing to ask: {counted(wanted, 'wanted account-day')}, all covered")
    else:
        out.print("nothing to ask: no day is wanted")
    print_paused(out, found.paused)
    for warning in found.warnings:
        out.say(f"note: {warning}")


def _price_lines(found: planning.Plan, price: Mapping[str, Any]) -> Iterator[str]:
    most, least = price["accounts"][0], price["accounts"][-1]
    if most["requests"] > least["requests"]:
        yield (
            f"{least['requests']:,} to {most['requests']:,} requests an account; "
            f"{named(most['appid'], most['name'])} needs the most"
        )
    else:
        yield f"{counted(most['requests'], 'request')} an account"
    if found.bound_by == "quota":
        yield (
            f"{counted(found.calendar_days, 'day')} under the daily quota ({_quota_source(price)}),"
            f" complete on {found.complete_on}, {counted(price['requests_today'], 'request')} of it"
            " today"
        )
    if found.quota_questions:
        yield f"{counted(found.quota_questions, 'question')} to WeChat for the daily quota"
    if price["refused"]:
        yield (
            f"note: WeChat did not tell the daily quota when it was asked: {ASSUMED_QUOTA:,} calls "
            "a day are assumed; set limits.daily_quota if you know better"
        )
    for item in price["shorter_ranges"]:
        took = f" on {item['calendar_days']:,} days" if item["calendar_days"] > 1 else ""
        yield f"from {item['begin_date']} on: {counted(item['requests'], 'request')}{took}"
    if barren := price["before_first_row"]:
        first = barren[0]
        since = "no row at all"
        if first["first_row"] is not None:
            since = f"its first row on {first['first_row']}"
        yield (
            f"note: {sum(item['requests'] for item in barren):,} requests are for days before an "
            f"account's first row; set its begin_date ({named(first['appid'], first['name'])}, "
            f"{first['dataset']}: {since}, {first['empty']:,} empty days before)"
        )


def _quota_source(price: Mapping[str, Any]) -> str:
    counts = {origin: price[origin] for origin in ("read", "assumed") if price[origin]}
    if len(counts) < 2:
        return "".join(counts) or "set in the manifest"
    return ", ".join(f"{count:,} {origin}" for origin, count in counts.items())

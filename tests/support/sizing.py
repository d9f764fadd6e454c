"""The sizing table of docs/backfill.md: ``python -m tests.support.sizing`` prints it.

Calls, hours and days are those of ``harvester plan``. The sizes are of 20 accounts of the emulator
over a year, where an account that publishes often has ten times the bytes of a quiet one.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import chdir
from types import SimpleNamespace
from unittest import mock

import harvester
from harvester.core.calendar import instant, parse_day
from harvester.planning.wanted_days import CPU_SECONDS_PER_REQUEST
from harvester.runs import clock
from tests.support.run_harness import appid

NOON = instant(parse_day("2026-06-10"), 12 * 60)
DAILY = ["user_summary", "user_cumulate", "biz_summary", "interface_summary"]
SETS = {"four daily": DAILY, "all 15": "all"}
RANGES = {"1 year": "-365d", "3 years": "-1095d", "since 2014-12": "earliest"}

BYTES = {
    "article_read": 309,
    "article_share": 42,
    "article_total_detail": 874,
    "biz_summary": 34,
    "interface_summary": 16,
    "interface_summary_hour": 113,
    "upstream_msg": 23,
    "upstream_msg_dist": 12,
    "upstream_msg_dist_month": 195,
    "upstream_msg_dist_week": 55,
    "upstream_msg_hour": 172,
    "upstream_msg_month": 232,
    "upstream_msg_week": 71,
    "user_cumulate": 8,
    "user_summary": 19,
}
"""Bytes of a day of an account, or of a week or month."""

HEAD = """\
| accounts | days | datasets | calls | at least | days of quota | CPU | size |
|--:|---|---|--:|--:|--:|--:|--:|
"""


def table() -> str:
    """Return the table in Markdown."""
    return HEAD + "".join(f"| {' | '.join(row)} |\n" for row in _rows())


def _rows() -> Iterator[tuple[str, ...]]:
    fixed = SimpleNamespace(time=lambda: NOON)
    with (
        tempfile.TemporaryDirectory() as folder,
        chdir(folder),
        mock.patch.object(clock, "time", fixed),
    ):
        for accounts in (10, 1000):
            for days, begin in RANGES.items():
                for name, datasets in SETS.items():
                    yield f"{accounts:,}", days, name, *_cost(accounts, begin, datasets)


def _cost(accounts: int, begin: str, datasets: object) -> tuple[str, ...]:
    plan = harvester.plan(
        {
            "defaults": {"credential": {"secret": "${SECRET}"}},
            "accounts": [{"appid": appid(number)} for number in range(accounts)],
            "jobs": [{"datasets": datasets, "begin_date": begin}],
            "output": "output",
        }
    )
    size = sum(each.account_days * BYTES[each.dataset] for each in plan.datasets)
    return (
        f"{plan.requests:,}",
        _time(plan.bound_seconds),
        f"{plan.calendar_days}",
        _time(plan.requests * CPU_SECONDS_PER_REQUEST),
        f"{size / 1e6:,.0f} MB" if size < 1e9 else f"{size / 1e9:,.1f} GB",
    )


def _time(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:,.0f} s"
    return f"{seconds / 60:,.0f} min" if seconds < 5400 else f"{seconds / 3600:,.0f} h"


if __name__ == "__main__":
    print(table(), end="")  # noqa: T201

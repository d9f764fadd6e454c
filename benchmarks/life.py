"""Daily runs through a year in which WeChat has a life of its own: what is lost, said and spent.

300 accounts, 8 datasets and 365 days take about an hour of CPU. `tests.support.lived_year` lives
the year; smaller lives beside it have the longest hole in each order, and a holiday.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from benchmarks.result import Limit, Result, Settings, Table
from tests.support.wechat_life import Fill

Report = dict[str, Any]


def run(settings: Settings) -> Result:
    """Live the year and the smaller lives, one after another."""
    accounts, days = (12, 120) if settings.quick else (300, 365)
    year = lived(settings, accounts=accounts, days=days, fill=Fill.NEWEST_FIRST.value)
    few = 12 if settings.quick else 40
    holes = [lived(settings, story="hole", accounts=few, days=90, fill=fill.value) for fill in Fill]
    calm, holiday = (
        lived(settings, story=story, accounts=few, days=75) for story in ("calm", "holiday")
    )
    tables = (_events(year), _months(year), _sizes(year), *map(_events, (*holes, holiday)))
    figures = {"year": year, "holes": holes, "calm": calm, "holiday": holiday}
    limits = (*_limits([year, *holes]), *_shares(year, calm, holiday))
    return Result("life", tables, limits, figures)


def lived(settings: Settings, **scope: Any) -> Report:
    """Return the report of a life; one line per day goes to stderr meanwhile."""
    command = [sys.executable, "-m", "tests.support.lived_year"]
    given = json.dumps({**scope, "folder": str(settings.folder)})
    done = subprocess.run([*command, given], stdout=subprocess.PIPE, check=True)
    found: Report = json.loads(done.stdout)
    return found


def _limits(lives: list[Report]) -> list[Limit]:
    """Return what no life may lose."""
    kinds = {"missing": "rows missing", "wrong": "rows wrong", "extra": "rows too many"}
    kinds["bugs"] = "runs with a bug"
    return [
        Limit(words, sum(each[kind] for each in lives), "", 0, 0) for kind, words in kinds.items()
    ]


def _shares(year: Report, calm: Report, holiday: Report) -> list[Limit]:
    """Return what a year and a holiday may take."""
    again = holiday["events"][0]["codes"].get("75", 0)
    # Against the calls of a year: these lives are much shorter.
    calls = 1 + (holiday["calls"] / calm["calls"] - 1) * calm["scope"]["days"] / 365
    return [
        Limit("answers without news", year["without_news"], "", 0.1, 0.1),
        Limit("side files", year["side_share"], "x data", 0.1, 0.1),
        Limit("CPU of the last month", year["cpu_growth"], "x the first month's", 1.1, 1.1),
        Limit("memory of the last month", year["memory_growth"], "x the first month's", 1.1, 1.1),
        Limit("calls of a year with a holiday", calls, "x none", 1.02, 1.02),
        Limit("runs that end with 75 for a holiday", again, "", 1, 1),
    ]


def _events(life: Report) -> Table:
    scope = life["scope"]
    title = (
        f"{scope['story']}: {scope['accounts']} accounts × {scope['days']} days ×"
        f" {len(scope['datasets'])} datasets, {life['calls']:,} calls,"
        f" {life['answers_a_second']:,.0f}/s, {life['seconds']:,.0f} s"
    )
    headers = ("what happened", "days", "exit codes", "said", "rows missing", "wrong")
    rows = tuple(
        (
            event["what"],
            f"{event['begin']} to {event['end']}",
            _counts(event["codes"]),
            "; ".join(f"{word} {first} to {last}" for word, (first, last) in event["said"].items()),
            f"{event['missing']:,}",
            f"{event['wrong']:,}",
        )
        for event in life["events"]
    )
    return Table(title, headers, rows)


def _counts(codes: dict[str, int]) -> str:
    return ", ".join(f"{code} × {count}" for code, count in sorted(codes.items()))


def _months(life: Report) -> Table:
    headers = ("month", "exit codes", "calls", "news", "without", "CPU s", "server s", "MiB")
    rows = tuple(
        (
            month["month"],
            _counts(month["codes"]),
            f"{month['calls']:,}",
            f"{month['news']:,}",
            f"{1 - month['news'] / max(1, month['calls']):.1%}",
            f"{month['cpu']:.2f}",
            f"{month['server']:.2f}",
            f"{month['memory']:.0f}",
        )
        for month in life["months"]
    )
    return Table("Months: calls, and the median and the largest run", headers, rows)


def _sizes(life: Report) -> Table:
    kinds = sorted({kind for month in life["months"] for kind in month["bytes"]})
    rows = tuple(
        (month["month"], *(f"{month['bytes'].get(kind, 0) / 1024:,.0f}" for kind in kinds))
        for month in life["months"]
    )
    return Table("Files at the end of the month, KiB", ("month", *kinds), rows)

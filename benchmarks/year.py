"""One job with every live dataset, 50 accounts over a year: exact, frugal, and small in memory."""

from __future__ import annotations

import json
import urllib.request
from itertools import islice

from benchmarks.processes import harvester, measure, program, server
from benchmarks.result import Limit, Result, Settings, Table
from benchmarks.workload import Year, appids, write_year_manifest
from harvester.catalogue import CATALOGUE
from harvester.core.calendar import parse_day
from harvester.core.dataset import Dataset

BEGIN = parse_day("2025-10-20")
"""Twelve days before articles have numbers. A year later their 30 days have passed as well."""


def run(settings: Settings) -> Result:
    """Harvest, count what the server was asked, and compare every row with the emulator's data."""
    accounts, days = (5, 62) if settings.quick else (50, 365)
    with server() as address:
        year = Year(address, tuple(islice(appids(), accounts)), BEGIN, BEGIN + days - 1)
        manifest = write_year_manifest(settings.folder / "year", year)
        usage = measure(harvester("run", manifest, "--progress", "none"))
        calls = _calls(address)
        again = measure(harvester("run", manifest, "--progress", "none"))
        repeated = _calls(address) - calls
    least = accounts * sum(_least(dataset, year) for dataset in CATALOGUE.values())
    path = year.write(settings.folder / "year.json")
    compared = json.loads(measure(program("exact", path, manifest.parent / "output")).output)
    return Result(
        "year",
        (
            Table(
                f"All live datasets: {accounts} accounts × {days} days",
                ("", "answers", "rows", "wall s", "CPU s", "peak MiB"),
                (
                    (
                        "first run",
                        f"{calls:,}",
                        f"{compared['rows']:,}",
                        f"{usage.wall:.1f}",
                        f"{usage.cpu:.1f}",
                        f"{usage.rss:.1f}",
                    ),
                    (
                        "second run",
                        f"{repeated:,}",
                        "",
                        f"{again.wall:.1f}",
                        f"{again.cpu:.1f}",
                        f"{again.rss:.1f}",
                    ),
                ),
            ),
        ),
        (
            Limit("rows that are not the truth's", compared["wrong"], "", 0, 0),
            Limit("calls beyond the least", calls - least, "", 0, 0),
            Limit("calls of a second run", repeated, "", 0, 0),
            Limit("peak", usage.rss, "MiB", 160, 160),
        ),
        {"calls": calls, "least": least, **compared, "usage": usage._asdict()},
    )


def _calls(address: str) -> int:
    """The data calls that the server counted."""
    with urllib.request.urlopen(f"{address}/sandbox/counters") as answer:
        return sum(json.load(answer)["calls"].values())


def _least(dataset: Dataset, year: Year) -> int:
    """The fewest calls one account needs: all its days, so many at once, counted by hand."""
    calls, reach = 0, -1
    for day in year.days(dataset):
        if day > reach:
            calls, reach = calls + 1, day + dataset.span - 1
    return calls

"""The store: a large month written anew, coverage read, and what a backfill writes twice."""

from __future__ import annotations

import itertools
import json
import shutil
import statistics
import urllib.request
from pathlib import Path
from typing import NamedTuple

from benchmarks.processes import Usage, harvester, measure, program, s3_server, server
from benchmarks.result import Limit, Result, Settings, Table
from benchmarks.workload import BEGIN, Broad, appids, busy, write_text
from harvester.core.calendar import day_text, parse_day

ROUNDS = 3
DATASET = "interface_summary_hour"
FIRST, LAST = parse_day("2015-01-01"), parse_day("2024-12-31")
"""120 months."""

SLOW = 4
"""One account in this many has more datasets, and is behind for that reason."""

MORE = ("interface_summary", "upstream_msg", "upstream_msg_hour", "user_summary")

AS_THE_COMMAND = ("env", "ARROW_DEFAULT_MEMORY_POOL=system")


class Republished(NamedTuple):
    """Wall and CPU seconds of a publish, and the peak in MiB."""

    seconds: float
    cpu: float
    rss: float


def run(settings: Settings) -> Result:
    """Measure all three."""
    count = 1_000 if settings.quick else 10_000
    months = _republish(settings.folder / "month", count)
    here, there = _coverage(settings.folder / "coverage", count)
    factor, rows = _backfill(settings.folder / "backfill", 40 if settings.quick else 250)
    tables = (
        Table(
            f"A month of {count * 744:,} rows, a day of each account written anew",
            ("", "seconds", "CPU s", "peak MiB"),
            tuple(
                (f"round {number}", f"{each.seconds:.2f}", f"{each.cpu:.2f}", f"{each.rss:.0f}")
                for number, each in enumerate(months, 1)
            ),
        ),
        Table(
            f"Coverage of {count:,} accounts x 120 months of a dataset",
            ("", "seconds", "peak MiB"),
            tuple(
                (name, f"{seconds:.2f}", f"{usage.rss:.0f}")
                for name, (seconds, usage) in (("a folder", here), ("an object store", there))
            ),
        ),
        Table(
            "A backfill of uneven accounts",
            ("", "x"),
            ((f"rows written for each of {rows:,}", f"{factor:.2f}"),),
        ),
    )
    limits = (
        # Whatever else the machine does only adds to it.
        Limit("a large month", min(each.seconds for each in months), "s", 4, 4),
        Limit("CPU of that", statistics.median(each.cpu for each in months), "s", 4),
        Limit("peak of that", max(each.rss for each in months), "MiB", 450, 450),
        Limit("coverage in a folder", here[0], "s", 2, 2),
        Limit("coverage in an object store", there[0], "s", 3, 3),
        Limit("rows written for each", factor, "x", 1.2, 1.2),
    )
    figures = {
        "month": [each._asdict() for each in months],
        "here": here[0],
        "there": there[0],
        "factor": factor,
    }
    return Result("store", tables, limits, figures)


def _republish(folder: Path, count: int) -> list[Republished]:
    """Publish the same answers into the same month, some times; the file must be the right one."""
    taken = []
    for number in range(ROUNDS):
        shutil.rmtree(folder, ignore_errors=True)
        measure(program("large_month", "make", folder, count))
        usage = measure([*AS_THE_COMMAND, *program("large_month", "publish", folder)])
        taken.append(Republished(**json.loads(usage.output), rss=usage.rss))
        if number == 0:
            measure(program("large_month", "compare", folder))
    shutil.rmtree(folder)
    return taken


def _coverage(folder: Path, count: int) -> tuple[tuple[float, Usage], tuple[float, Usage]]:
    """Read the same footers from a folder, and from an object store on loopback."""
    folder.mkdir()
    many = tuple(itertools.islice(appids(), count))
    at = Broad(many, (DATASET,), FIRST, LAST).write(folder / "broad.json")
    with s3_server() as address:
        request = urllib.request.Request(f"{address}/benchmark", method="PUT")
        urllib.request.urlopen(request).close()
        places = ((folder / "output",), ("s3://benchmark/output", address))
        for place in places:
            measure(program("coverage", "make", at, *place))
        usages = [
            [measure(program("coverage", "read", at, *place)) for _ in range(ROUNDS)]
            for place in places
        ]
    here, there = (
        sorted((json.loads(usage.output)["seconds"], usage) for usage in each)[ROUNDS // 2]
        for each in usages
    )
    return here, there


def _backfill(folder: Path, count: int) -> tuple[float, int]:
    """Rows written for each row in the end, and how many those are."""
    accounts = busy(count)
    end = day_text(BEGIN + 729)
    lacking = [
        _piece(f"early-{n}", accounts[n::7], BEGIN + 60 * n, BEGIN + 60 * n + 90) for n in range(3)
    ]
    slow = f"""\
  - name: slow
    datasets: [{", ".join(MORE)}]
    accounts: [{", ".join(accounts[::SLOW])}]
    begin_date: {day_text(BEGIN)}
    end_date: {end}
"""
    whole = _piece("all", accounts, BEGIN, BEGIN + 729)
    with server() as address:
        head = f"""\
api: {{base_url: "{address}"}}
limits:
  per_token: {{rate: 999999/s, burst: 1000, concurrency: 4}}
  connections: 100
jobs:
"""
        manifest = write_text(folder, f"{head}{''.join(lacking)}", accounts)
        measure(harvester("run", manifest, "--progress", "none"))
        write_text(folder, f"{head}{whole}{slow}", accounts)
        record = folder / "summary.json"
        measure(harvester("run", manifest, "--progress", "none", "--summary", record))
    published = json.loads(record.read_bytes())["published"]
    final = {each["path"]: each["rows_after"] for each in published}
    return sum(each["rows_after"] for each in published) / sum(final.values()), sum(final.values())


def _piece(name: str, accounts: tuple[str, ...], begin: int, end: int) -> str:
    return f"""\
  - name: {name}
    datasets: [{DATASET}]
    accounts: [{", ".join(accounts)}]
    begin_date: {day_text(begin)}
    end_date: {day_text(end)}
"""

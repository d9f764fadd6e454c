"""`harvester report`: the size of its page, and the time and memory that it takes to write."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import NamedTuple

from benchmarks.processes import Usage, harvester, measure, program
from benchmarks.result import Limit, Result, Settings, Table
from benchmarks.workload import Broad, appids, write_broad_manifest
from harvester.catalogue import CATALOGUE
from harvester.core.calendar import parse_day

ONE = ("user_summary",)
END = parse_day("2026-11-28")
DECADE, TWO_YEARS = parse_day("2016-11-29"), parse_day("2024-11-29")


class Case(NamedTuple):
    """An output, by the ``kind`` of its days, and the most megabytes of its page."""

    name: str
    accounts: int
    datasets: tuple[str, ...]
    begin: int
    kind: str
    most: float


CASES = (
    Case("10,000 accounts x 10 years, 35% empty at random", 10_000, ONE, DECADE, "random", 8.0),
    Case("10,000 accounts x 10 years, as in life", 10_000, ONE, DECADE, "life", 2.5),
    Case("300 accounts x 15 datasets x 2 years", 300, tuple(CATALOGUE), TWO_YEARS, "life", 1.0),
)


def run(settings: Settings) -> Result:
    """Measure one page of each case."""
    rows, limits = list[tuple[str, ...]](), list[Limit]()
    for place, case in enumerate(CASES):
        many = min(case.accounts, 300) if settings.quick else case.accounts
        used, size = _measure(settings.folder / f"report-{place}", case, many)
        figures = f"{size:.2f}", f"{used.wall:.1f}", f"{used.cpu:.1f}", f"{used.rss:.0f}"
        rows.append((case.name, *figures))
        limits += [
            Limit(f"page of {case.name}", size, "MB", case.most, case.most),
            Limit("CPU of that", used.cpu, "s", 10, 10),
            Limit("peak", used.rss, "MiB", 300, 300),
        ]
    headers = ("", "page MB", "s", "CPU s", "peak MiB")
    table = Table("The page of `harvester report`", headers, tuple(rows))
    return Result("report", (table,), tuple(limits), {})


def _measure(folder: Path, case: Case, many: int) -> tuple[Usage, float]:
    """Make the output of a case, and its page."""
    names = tuple(itertools.islice(appids(), many))
    broad = Broad(names, case.datasets, case.begin, END)
    manifest, page = write_broad_manifest(folder, broad), folder / "page.html"
    at = broad.write(folder / "broad.json")
    measure(program("pictured_tree", at, folder / "output", case.kind))
    used = measure(harvester("report", manifest, "--html", page))
    return used, page.stat().st_size / 1e6

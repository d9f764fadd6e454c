"""An export of one month of 10,000 accounts that changed, beside a copy of its file."""

from __future__ import annotations

import json
import shutil
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from benchmarks.processes import harvester, measure, program
from benchmarks.result import Limit, Result, Settings, Table

LIBRARIES = {"delta": "deltalake"}
"""Formats, and the package that each needs."""

ROUNDS = 5


class Step(NamedTuple):
    """Wall seconds of a step, its peak in MiB, and the rows that it put into tables."""

    seconds: float
    rss: float
    rows: int


def run(settings: Settings) -> Result:
    """Measure each format whose library is installed, copies and exports by turns."""
    count = 1_000 if settings.quick else 10_000
    formats = [to for to, package in LIBRARIES.items() if find_spec(package)]
    found = {
        to: [
            _round(settings.folder / f"export-{to}-{number}", to, count) for number in range(ROUNDS)
        ]
        for to in formats
    }
    rows = tuple(
        (
            to,
            f"{_median(rounds, 'copy'):.2f}",
            f"{_median(rounds, 'export'):.2f}",
            f"{_ratio(rounds):.2f}",
            f"{_median(rounds, 'nothing'):.2f}",
            f"{max(each['export'].rss for each in rounds):.0f}",
        )
        for to, rounds in found.items()
    )
    headers = ("", "copy s", "export s", "x", "nothing changed s", "peak MiB")
    limits = [
        limit
        for to, rounds in found.items()
        for limit in (
            Limit(f"{to}: a changed month", _ratio(rounds), "x copy", 1.5),
            Limit(f"{to}: nothing changed", _median(rounds, "nothing"), "s", 1, 2),
            Limit(f"{to}: peak", max(each["export"].rss for each in rounds), "MiB", 160, 200),
        )
    ]
    title = f"Export: a changed month of {count * 744:,} rows"
    figures = {
        to: [{step: taken._asdict() for step, taken in each.items()} for each in rounds]
        for to, rounds in found.items()
    }
    return Result("export", (Table(title, headers, rows),), tuple(limits), figures)


def _ratio(rounds: list[dict[str, Step]]) -> float:
    return _median(rounds, "export") / _median(rounds, "copy")


def _median(rounds: list[dict[str, Step]], step: str) -> float:
    return median(each[step].seconds for each in rounds)


def _round(folder: Path, to: str, count: int) -> dict[str, Step]:
    """Export a month, replace its file, copy that and export again, then once without news."""
    folder.mkdir()
    root = folder / "output"
    measure(program("large_month", "make", root, count))
    # Later only the month and the list of runs change, and no table is made.
    _step(root, "begin", to)
    _step(root, "export", to)
    _step(root, "change", to)
    taken = {"copy": _step(root, "copy", to), "export": _step(root, "export", to)}
    if taken["export"].rows != count * 744:
        raise RuntimeError(f"{to}: {taken['export'].rows:,} rows were exported")
    command = measure(harvester("export", folder / to, "--to", to, "--output", root))
    shutil.rmtree(folder)
    return taken | {"nothing": Step(command.wall, command.rss, 0)}


def _step(root: Path, step: str, to: str) -> Step:
    usage = measure(
        ["env", "ARROW_DEFAULT_MEMORY_POOL=system", *program("exported_month", step, root, to)]
    )
    found: dict[str, Any] = json.loads(usage.output)
    return Step(found["seconds"], usage.rss, found["rows"])

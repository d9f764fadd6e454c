"""Tables beside an output of 10,000 accounts, all datasets and eleven years."""

from __future__ import annotations

import itertools
import json
import os
import shutil
from pathlib import Path
from typing import Any

from benchmarks.processes import measure, program
from benchmarks.result import Limit, Result, Settings, Table
from benchmarks.workload import Broad, appids
from harvester.catalogue import CATALOGUE
from harvester.core.calendar import parse_day

BEGIN, END = parse_day("2015-01-01"), parse_day("2025-12-31")
"""132 months."""

STEPS = {
    "first": "first build, 132 months",
    "nothing": "nothing new",
    "month": "the newest month, with open days of all accounts",
    "day": "the newest month, one more day",
}


def run(settings: Settings) -> Result:
    """Build the tables, then bring them up to date with and without news."""
    many = tuple(itertools.islice(appids(), 500 if settings.quick else 10_000))
    broad = Broad(many, tuple(CATALOGUE), BEGIN, END)
    folder = settings.folder / "tables"
    folder.mkdir()
    at = broad.write(folder / "broad.json")
    # As the command has it.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    measure(program("covered_tree", at, folder / "output"))
    found = {step: _step(at, folder, step) for step in STEPS}
    shutil.rmtree(folder)
    rows = tuple(
        (
            words,
            f"{found[step]['seconds']:.2f}",
            f"{found[step]['after'] - found[step]['before']:.0f}",
            f"{found[step]['changed']}",
        )
        for step, words in STEPS.items()
    )
    headers = ("", "CPU s", "MiB more", "files put")
    return Result(
        "tables",
        (Table(f"Tables: {len(many):,} accounts, {len(CATALOGUE)} datasets", headers, rows),),
        (
            Limit("first build", found["first"]["seconds"], "s", 30, 60),
            Limit("one month", found["day"]["seconds"], "s", 1, 3),
            Limit("memory of one month", _more(found["day"]), "MiB", 60, 150),
            Limit("files put for nothing new", found["nothing"]["changed"], "", 0, 0),
        ),
        found,
    )


def _step(at: Path, folder: Path, step: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        measure(program("tables", at, folder / "output", step)).output
    )
    return found


def _more(found: dict[str, Any]) -> float:
    more: float = found["after"] - found["before"]
    return more

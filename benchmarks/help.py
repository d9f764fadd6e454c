"""Duration of ``harvester --help``: the start-up time of every command."""

from __future__ import annotations

import statistics

from benchmarks.processes import harvester, measure
from benchmarks.result import Limit, Result, Settings, Table

TIMES = 10


def run(_: Settings) -> Result:
    """Measure, with the bytecode compiled before."""
    measure(harvester("--help"))
    taken = [measure(harvester("--help")) for _ in range(TIMES)]
    walls = [usage.wall for usage in taken]
    median = statistics.median(walls)
    cpu = statistics.median(usage.cpu for usage in taken)
    row = (f"{median:.2f}", f"{min(walls):.2f}", f"{max(walls):.2f}", f"{cpu:.2f}")
    headers = ("", "median s", "least s", "most s", "CPU s")
    return Result(
        "help",
        (Table("Help", headers, (("harvester --help", *row),)),),
        (Limit("median", median, "s", 0.3, 0.3),),
        {"walls": walls},
    )

"""CPU time of a request besides its HTTP, piece by piece; a table without limits."""

from __future__ import annotations

import json

from benchmarks.processes import measure, program
from benchmarks.result import Result, Settings, Table


def run(settings: Settings) -> Result:
    """Measure."""
    folder = settings.folder / "pieces"
    found: dict[str, float] = json.loads(measure(program("pieces", folder)).output)
    rows = tuple((name, f"{cost:.1f}") for name, cost in found.items())
    table = Table("Pieces: each alone, hourly answers", ("", "CPU µs a request"), rows)
    return Result("pieces", (table,), (), dict(found))

"""Reading answers into columns, beside ``orjson.loads`` of the same bytes, for every dataset."""

from __future__ import annotations

import json

from benchmarks.processes import measure, program
from benchmarks.result import Limit, Result, Settings, Table

KILO = 1000


def run(settings: Settings) -> Result:
    """Measure."""
    del settings
    found: dict[str, dict[str, float]] = json.loads(measure(program("decode")).output)
    table = Table(
        "Reading answers of whole windows, CPU µs an answer",
        ("", "bytes", "orjson.loads", "read", "more a KB"),
        tuple(
            (
                name,
                f"{each['bytes']:,.0f}",
                f"{each['loads']:.1f}",
                f"{each['read']:.1f}",
                f"{_more(each):.1f}",
            )
            for name, each in found.items()
        ),
    )
    worst = max(found, key=lambda name: _more(found[name]))
    limit = Limit(
        f"reading above loading, worst of all datasets ({worst})",
        _more(found[worst]),
        "µs a KB",
        10.0,
        10.0,
    )
    return Result("decode", (table,), (limit,), found)


def _more(figures: dict[str, float]) -> float:
    """Return the cost of reading above loading, for each KB of the answer or part of the first."""
    return (figures["read"] - figures["loads"]) / max(1.0, figures["bytes"] / KILO)

"""``harvester plan``: what a run would ask."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from harvester import days
from harvester.cli import show, show_plan, streams
from harvester.cli.options import (
    EVERYTHING,
    Format,
    ManifestPath,
    Output,
    Refetch,
    Selecting,
    Shard,
    parse_shard,
)
from harvester.operations import plan as planning
from harvester.operations.project import open_project


def plan(
    manifest: ManifestPath = Path("jobs.yaml"),
    /,
    *,
    selecting: Selecting = EVERYTHING,
    output: Output = None,
    refetch: Refetch = None,
    shard: Shard = None,
    format: Format = "text",
) -> int:
    """Show what a run would ask and what binds it. Asks nothing, writes nothing."""
    project = open_project(manifest, selecting.selection(), output)
    found = planning.plan(project, refetch=refetch, shard=parse_shard(shard))
    with streams.answering():
        if format == "json":
            print(json.dumps(_as_json(found), indent=2, ensure_ascii=False))
        else:
            show_plan.show(show.console(), found.plan, found.price, found.barren)
    return 0


def _as_json(found: planning.PricedPlan) -> dict[str, object]:
    """The plan and its price, days as text."""
    plain = asdict(found.plan)
    for row in plain["datasets"]:
        for end in ("begin", "end"):
            row[f"{end}_date"] = _text(row.pop(end))
    costs = asdict(found.price)
    plain["bound_seconds"], plain["bound_by"] = costs.pop("bound_seconds"), costs.pop("bound_by")
    for row in costs["narrower"]:
        row["begin_date"] = _text(row.pop("begin"))
    before = [asdict(item) for item in found.barren]
    for row in before:
        row["first_row"] = _text(row["first_row"])
    return {**plain, "price": {**costs, "before_first_row": before}}


def _text(day: days.Day | None) -> str | None:
    return None if day is None else days.day_text(day)

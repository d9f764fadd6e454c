"""``harvester plan``: what a run would ask."""

from __future__ import annotations

from pathlib import Path

from harvester.cli import options
from harvester.cli.output import plan_tables
from harvester.cli.output.answers import answer
from harvester.operations import plan as planning
from harvester.operations.plain import plain
from harvester.operations.plan import PricedPlan
from harvester.operations.project import open_project


def plan(
    manifest: options.ManifestPath = Path("jobs.yaml"),
    /,
    *,
    selecting: options.Selecting = options.ALL,
    output: options.Output = None,
    refetch: options.Refetch = None,
    shard: options.Shard = None,
    format: options.Format = "text",
) -> int:
    """Show what a run would ask and what binds it. Asks nothing, writes nothing."""
    project = open_project(manifest, selecting.selection(), output)
    found = planning.plan(project, refetch=refetch, shard=options.parse_shard(shard))
    answer(format, lambda: _as_json(found), lambda out: plan_tables.show(out, found))
    return 0


def _as_json(found: PricedPlan) -> dict[str, object]:
    price = {**plain(found.price), "before_first_row": plain(found.barren)}
    bound = {name: price.pop(name) for name in ("bound_seconds", "bound_by")}
    return {**plain(found.plan), **bound, "price": price}

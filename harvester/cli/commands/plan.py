"""``harvester plan``: the requests of a run before it makes them."""

from __future__ import annotations

from pathlib import Path

from harvester.cli import options
from harvester.cli.output import plan_tables
from harvester.cli.output.answers import answer
from harvester.operations import plan as planning
from harvester.operations.plain import plain
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
    """Show what a run would ask and what limits its speed.

    Asks nothing, writes nothing and needs no secret.

    Exit codes:
      0   planned
      2   a mistake in the manifest or the options
    """
    project = open_project(manifest, selecting.selection(), output)
    found = planning.plan(project, refetch=refetch, shard=options.parse_shard(shard))
    answer(format, lambda: _plan_as_json(found), lambda out: plan_tables.show(out, found))
    return 0


def _plan_as_json(found: planning.PricedPlan) -> dict[str, object]:
    """Return the plan with the bound of its price, because quotas may bind harder than rates."""
    plan, price = found.plan, plain(found.price)
    return {
        "requests": plan.requests,
        "account_days": plan.account_days,
        "bound_seconds": price.pop("bound_seconds"),
        "bound_by": price.pop("bound_by"),
        "quota_questions": price.pop("quota_questions"),
        "calendar_days": price.pop("calendar_days"),
        "complete_on": price.pop("complete_on"),
        "assumed": ["daily_quota"] if found.price.assumed else [],
        "datasets": plan.datasets,
        "warnings": plan.warnings,
        "price": {**price, "before_first_row": found.barren},
    }

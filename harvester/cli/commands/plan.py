"""``harvester plan``: the requests of a run before it makes them."""

from __future__ import annotations

from pathlib import Path

from harvester.cli import options
from harvester.cli.output import plan_tables
from harvester.cli.output.answers import answer
from harvester.verbs import api_verbs as verbs
from harvester.verbs.results import plan_of


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

    For example:
      harvester plan jobs.yaml --begin-date -30d

    Exit codes:
      0   planned
      2   a mistake in the manifest or the options
    """
    project = verbs.open_project(manifest, selecting.selection(), output)
    found = verbs.price(project, refetch, options.parse_shard(shard))
    answer(format, plan_of(found).to_dict, lambda out: plan_tables.show(out, found))
    return 0

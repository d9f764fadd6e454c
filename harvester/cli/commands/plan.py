"""``harvester plan``: the requests of a run before it makes them."""

from __future__ import annotations

from pathlib import Path

from harvester.cli import options
from harvester.cli.output import plan_tables
from harvester.cli.output.answers import answer
from harvester.verbs import arguments
from harvester.verbs import plan as planning


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
    part = arguments.shard_of(shard, "--shard")
    given = selecting.given()
    found = planning.plan(manifest, output=output, refetch=refetch, shard=part, **given)
    answer(format, found.to_dict, lambda out: plan_tables.show(out, found))
    return 0

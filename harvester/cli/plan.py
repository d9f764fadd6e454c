"""``harvester plan``: what a run would ask."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from harvester import days, survey
from harvester import plan as planning
from harvester.cli import show, streams
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
from harvester.cli.project import open_project, steady_clock
from harvester.run import of_shard, own_buckets


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
    now = steady_clock()()
    project = open_project(manifest, selecting, output, now)
    own = own_buckets(project.manifest.output.buckets, parse_shard(shard))
    ours = of_shard(project.manifest, own)
    want = planning.wanted(ours, now)
    missing, _ = survey.to_ask(project.tree, want, days.today(now), refetch)
    found = planning.summarise(ours, want, missing, days.today(now))
    with streams.answering():
        if format == "json":
            print(json.dumps(_as_json(found), indent=2, ensure_ascii=False))
        else:
            show.plan(show.console(), found)
    return 0


def _as_json(found: planning.Plan) -> dict[str, object]:
    """The plan with days as text."""
    plain = asdict(found)
    for row in plain["datasets"]:
        for end in ("begin", "end"):
            day = row.pop(end)
            row[f"{end}_date"] = None if day is None else days.day_text(day)
    return plain

"""``harvester plan``: what a run would ask."""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TypeAlias

from harvester import days, pricing, survey
from harvester import plan as planning
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
from harvester.cli.project import Project, open_project, steady_clock
from harvester.model import bucket_of
from harvester.quota import Calls, Note, Quota
from harvester.run import of_shard, own_buckets
from harvester.store.layout import Tree
from harvester.store.state import quota_ledger, quota_limits

Notes: TypeAlias = tuple[dict[int, Note], int]
"""What is noted of today in each bucket, and how many buckets there are."""


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
    quota = Quota(ours.limits, quota_limits.read(project.tree))
    left = partial(_left, quota, _notes(project.tree, own, now), planning.calls_kept(ours, now))
    price = pricing.price(ours, missing, found, pricing.Means(quota, left), now)
    barren = pricing.barren(ours, missing, _rows(project, want, now), days.today(now))
    with streams.answering():
        if format == "json":
            plain = _as_json(found, price, barren)
            print(json.dumps(plain, indent=2, ensure_ascii=False))
        else:
            show_plan.show(show.console(), found, price, barren)
    return 0


def _notes(tree: Tree, own: list[int], now: float) -> Notes:
    """What is noted of today, by appid's bucket."""
    day = days.today(now)
    notes = {bucket: quota_ledger.read(tree, day, bucket) or Note(day) for bucket in own}
    return notes, tree.buckets


def _left(quota: Quota, found: Notes, kept: Calls, dataset: str, appid: str) -> int:
    by_bucket, buckets = found
    note = by_bucket[bucket_of(appid, buckets)]
    return quota.left(note, dataset, appid, kept=kept.get(dataset, {}).get(appid, 0))


def _rows(project: Project, want: planning.Wanted, now: float) -> pricing.Rows:
    """Which days of whom have rows, and which were answered without."""
    states = survey.read_states(project.tree, want, days.today(now))
    return {
        dataset: {appid: (state.rows, state.empty) for appid, state in of_dataset.items()}
        for dataset, of_dataset in states.items()
    }


def _as_json(
    found: planning.Plan, price: pricing.Price, barren: tuple[pricing.Barren, ...]
) -> dict[str, object]:
    """The plan and its price, days as text."""
    plain = asdict(found)
    for row in plain["datasets"]:
        for end in ("begin", "end"):
            row[f"{end}_date"] = _text(row.pop(end))
    costs = asdict(price)
    plain["bound_seconds"], plain["bound_by"] = costs.pop("bound_seconds"), costs.pop("bound_by")
    for row in costs["narrower"]:
        row["begin_date"] = _text(row.pop("begin"))
    before = [asdict(item) for item in barren]
    for row in before:
        row["first_row"] = _text(row["first_row"])
    return {**plain, "price": {**costs, "before_first_row": before}}


def _text(day: days.Day | None) -> str | None:
    return None if day is None else days.day_text(day)

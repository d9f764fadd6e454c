"""The requests that a run would make, their price, and those that no row will come of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from harvester.core import calendar
from harvester.core.config import Manifest
from harvester.core.model import bucket_of
from harvester.operations.runtime import Project
from harvester.planning import cost
from harvester.planning import windows as planning
from harvester.planning.cost import EmptyPrefix, Price
from harvester.planning.quota import DayLedger, Quota
from harvester.planning.sharding import of_shard, own_buckets
from harvester.planning.windows import Plan, Wanted
from harvester.storage import coverage_scan
from harvester.storage.coverage_scan import Refetch
from harvester.storage.layout import Tree
from harvester.storage.state import quota_ledger, quota_limits


@dataclass(frozen=True, slots=True)
class PricedPlan:
    """A plan, its price, and the requests for days before an account's first row."""

    plan: Plan
    price: Price
    barren: tuple[EmptyPrefix, ...]


def plan(
    project: Project, *, refetch: Refetch | None = None, shard: tuple[int, int] = (1, 1)
) -> PricedPlan:
    """Price what a run would ask now. Asks nothing and writes nothing.

    Raises UsageError for a shard without buckets, StoreError if the output cannot be read.
    """
    tree, now = project.tree, project.clock.started_at
    own, today = own_buckets(project.manifest.output.buckets, shard), calendar.today(now)
    manifest = of_shard(project.manifest, own)
    want = planning.wanted(manifest, now)
    missing, _ = coverage_scan.to_ask(tree, want, today, refetch)
    found = planning.summarise(manifest, want, missing, today)
    quota = Quota(manifest.limits, quota_limits.read(tree))
    means = cost.QuotaState(quota, _left(manifest, tree, quota, own, now))
    price = cost.price(manifest, missing, found, means, now)
    barren = cost.empty_prefixes(manifest, missing, _rows(tree, want, today), today)
    return PricedPlan(found, price, barren)


def _left(
    manifest: Manifest, tree: Tree, quota: Quota, own: list[int], now: float
) -> Callable[[str, str], int]:
    """Return what tells how many calls today's notes leave for a dataset and an appid."""
    today = calendar.today(now)
    quota.reserve(planning.calls_kept(manifest, now))
    noted = {bucket: quota_ledger.read(tree, today, bucket) or DayLedger(today) for bucket in own}

    def left(dataset: str, appid: str) -> int:
        note = noted[bucket_of(appid, tree.buckets)]
        return quota.left(note, dataset, appid)

    return left


def _rows(tree: Tree, want: Wanted, today: calendar.Day) -> cost.Rows:
    """Tell which days of whom have rows, and which were answered without."""
    return {
        dataset: {appid: (state.with_rows, state.empty) for appid, state in of_dataset.items()}
        for dataset, of_dataset in coverage_scan.read_states(tree, want, today).items()
    }

"""Plan of a run: its requests, their price, and requests for days before the first row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from harvester.core import calendar
from harvester.core.model import bucket_of
from harvester.planning import cost
from harvester.planning import windows as planning
from harvester.planning.daily_quota import Quota
from harvester.planning.quota import DayLedger
from harvester.planning.sharding import of_shard, own_buckets
from harvester.runs.runtime import Project
from harvester.storage import coverage_scan
from harvester.storage.coverage_scan import Refetch
from harvester.storage.layout import Tree
from harvester.storage.state import quota_ledger, quota_limits


@dataclass(frozen=True, slots=True)
class PricedPlan:
    """A plan, its price, and the requests for days before an account's first row."""

    plan: planning.Plan
    price: cost.Price
    barren: tuple[cost.EmptyPrefix, ...]


def plan(
    project: Project, *, refetch: Refetch | None = None, shard: tuple[int, int] = (1, 1)
) -> PricedPlan:
    """Return the plan of a run that would start now, and its price. Makes no call, writes nothing.

    ``refetch`` and ``shard`` are those of the run. Raises UsageError for a shard without buckets,
    for files of a newer version or another number of buckets, StoreError if the output cannot be
    read.
    """
    tree, now = project.tree, project.clock.started_at
    own, today = own_buckets(project.manifest.output.buckets, shard), calendar.today(now)
    manifest = of_shard(project.manifest, own)
    want = planning.wanted(manifest, now)
    missing, _ = coverage_scan.to_ask(tree, want, now, refetch)
    found = planning.summarise(manifest, want, missing, today)
    quota = Quota(manifest.limits, quota_limits.read_known(tree, own))
    quota.reserve(planning.calls_kept(manifest, now))
    state = cost.QuotaState(quota, _ledgers(tree, own, today))
    price = cost.price(manifest, missing, found, state, now)
    barren = cost.empty_prefixes(manifest, missing, _rows(tree, want, now), today)
    return PricedPlan(found, price, barren)


def _ledgers(tree: Tree, own: list[int], today: calendar.Day) -> Callable[[str], DayLedger]:
    """Return a function of an appid: today's ledger of its bucket."""
    ledgers = {bucket: quota_ledger.read(tree, today, bucket) or DayLedger(today) for bucket in own}
    return lambda appid: ledgers[bucket_of(appid, tree.buckets)]


def _rows(tree: Tree, want: planning.Wanted, now: float) -> cost.Rows:
    """Return the days with rows and the empty days, by dataset and appid."""
    return {
        dataset: {appid: (state.with_rows, state.empty) for appid, state in of_dataset.items()}
        for dataset, of_dataset in coverage_scan.read_states(tree, want, now).items()
    }

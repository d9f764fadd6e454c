"""`plan`: the requests of a run, their price, and requests for days before the first row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from harvester.core import calendar
from harvester.core.calendar import DaySet
from harvester.core.config.settings import Manifest
from harvester.core.model import bucket_of
from harvester.core.plain import plain
from harvester.core.results import DatasetPlan, PausedAccount
from harvester.manifest.doubts import doubts
from harvester.planning import cost, wanted_days
from harvester.planning.ledger import Ledger
from harvester.planning.quota import DailyQuota
from harvester.planning.sharding import of_shard, own_buckets
from harvester.storage import coverage_scan
from harvester.storage.coverage_scan import Refetch
from harvester.storage.layout import Tree
from harvester.storage.state import quota_ledger
from harvester.verbs.arguments import Selecting, ShardName, shard_of, taking
from harvester.verbs.project import open_project
from harvester.verbs.results import VerbResult


@dataclass(frozen=True, slots=True, repr=False)
class Plan(VerbResult):
    """The requests that a run would make now, and what limits it, as `plan --format json` has it.

    ``requests`` are data calls without retries, and ``quota_questions`` those that ask for a quota.
    ``account_days`` are missing. ``bound_seconds`` is a lower bound of the time, and ``bound_by``
    what limits it: ``"rate"``, ``"cpu"``, ``"quota"``, or ``"nothing"`` without requests.
    ``calendar_days`` are Beijing days under the quota, today included, and ``complete_on`` is the
    last of them. ``assumed`` names what is not known, as ``"daily_quota"``. ``paused`` accounts are
    not asked. ``warnings`` are days that dates or accounts leave out, files that would grow too
    large, and a run that ``limits.max_requests`` would refuse. ``price`` has further figures.
    """

    requests: int
    account_days: int
    bound_seconds: float
    bound_by: str
    quota_questions: int
    calendar_days: int
    complete_on: date
    assumed: tuple[str, ...]
    datasets: tuple[DatasetPlan, ...]
    warnings: tuple[str, ...]
    paused: tuple[PausedAccount, ...]
    price: Mapping[str, Any] = field(repr=False)


_OF_THE_PRICE = ("bound_seconds", "bound_by", "quota_questions", "calendar_days", "complete_on")
"""Members of a price that stand beside it in a plan."""


@dataclass(frozen=True, kw_only=True)
class PlanArguments(Selecting):
    """The arguments of a plan, named as in `run`."""

    shard: ShardName = None
    refetch: Refetch | None = None


@taking(PlanArguments)
def plan(asked: PlanArguments) -> Plan:
    """Return what a run would ask now. Asks nothing, writes nothing and needs no secret.

    The arguments are those of `run`. Raises UsageError, for a shard without buckets too, and for
    files of a newer version or another number of buckets; HarvesterError if the output cannot be
    read.
    """
    project = open_project(asked.manifest, asked.selection(), asked.output)
    tree, now = project.tree, project.clock.started_at
    buckets, today = project.manifest.output.buckets, calendar.today(now)
    own = own_buckets(buckets, shard_of(asked.shard))
    # As a run of the shard sees it: prices are of its own accounts.
    mine = of_shard(project.manifest, own)
    want = wanted_days.wanted(mine, now)
    states = coverage_scan.read(tree, want, now, mine.datasets).states
    missing = coverage_scan.to_ask(states, want, asked.refetch)
    found = wanted_days.summarise(mine, want, missing)
    priced = cost.price(mine, missing, found, _quotas(mine, tree, own, now), now)
    price = {name: each for name, each in plain(priced).items() if name not in _OF_THE_PRICE}

    def rows(dataset: str, appid: str) -> tuple[DaySet, DaySet]:
        known = states[dataset][appid]
        return known.with_rows, known.empty

    barren = cost.empty_prefixes(mine, missing, rows, today)
    return Plan(
        requests=found.requests,
        account_days=found.account_days,
        # The bound of the price, because a quota may bind harder than the rate.
        **{name: getattr(priced, name) for name in _OF_THE_PRICE},
        assumed=("daily_quota",) if price["assumed"] else (),
        datasets=found.datasets,
        warnings=(*doubts(project.manifest), *_refusal(mine, found.requests), *found.warnings),
        paused=found.paused,
        price={**price, "before_first_row": plain(barren)},
    )


def _refusal(manifest: Manifest, requests: int) -> Iterator[str]:
    limit = manifest.limits.max_requests
    if limit is not None and requests > limit:
        yield f"a run would be refused: limits.max_requests is {limit:,}"


def _quotas(manifest: Manifest, tree: Tree, own: list[int], now: float) -> cost.Quotas:
    """Return a function of a dataset and an appid: its quota by today's ledger of its bucket."""
    today, kept = calendar.today(now), wanted_days.calls_kept(manifest, now)
    ledgers = {bucket: quota_ledger.read(tree, today, bucket) or Ledger(today) for bucket in own}

    def quota(dataset: str, appid: str) -> DailyQuota:
        ledger = ledgers[bucket_of(appid, tree.buckets)]
        later = kept.get(dataset, {}).get(appid, 0)
        return DailyQuota(manifest.limits, ledger, dataset, appid, kept=later)

    return quota

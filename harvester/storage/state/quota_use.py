"""Use of the daily quotas on one Beijing day, as the ledgers of the output have it."""

from __future__ import annotations

from collections.abc import Iterator

from harvester.core import calendar
from harvester.core.config.settings import Manifest
from harvester.core.model import bucket_of
from harvester.core.results import QuotaUse
from harvester.planning.quota import DailyQuota
from harvester.storage.layout import Tree
from harvester.storage.state import quota_ledger


def quota_use(manifest: Manifest, tree: Tree, now: float) -> Iterator[QuotaUse]:
    """Yield the datasets of the jobs of which calls were made today.

    ``now`` is in seconds since the Unix epoch. Raises UsageError for a ledger of a newer version.
    """
    appids, today = {account.appid for account in manifest.accounts}, calendar.today(now)
    buckets = sorted({bucket_of(appid, tree.buckets) for appid in appids})
    ledgers = [each for bucket in buckets if (each := quota_ledger.read(tree, today, bucket))]
    for name in dict.fromkeys(name for job in manifest.jobs for name in job.datasets):
        quotas = [
            (calls, DailyQuota(manifest.limits, ledger, name, appid).left(reserve_too=True))
            for ledger in ledgers
            for appid, calls in ledger.today.calls.get(name, {}).items()
            if appid in appids
        ]
        if quotas:
            calls, left = zip(*quotas, strict=True)
            yield QuotaUse(name, sum(calls), min(left), left.count(0))

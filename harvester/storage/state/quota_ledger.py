"""Ledger of calls spent and quotas known, one file per bucket, under ``_harvester/quota``.

Losing it costs calls and questions, and never rows, so a damaged one counts for nothing. It is kept
by the run, the fetch or the check that holds the bucket.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from harvester.core import calendar
from harvester.core.calendar import Day
from harvester.core.config.settings import Manifest
from harvester.core.errors import StoreError
from harvester.core.model import bucket_of
from harvester.core.results import QuotaUse
from harvester.planning.ledger import Ledger, Moment
from harvester.planning.quota import DailyQuota
from harvester.storage.layout import QUOTA, Tree
from harvester.storage.state.json_file import SideFile


def ledger_file(tree: Tree, bucket: int) -> SideFile[Ledger]:
    """Return the file of the ledger of a bucket, which is written by who holds the bucket."""
    return SideFile(tree.store, f"{QUOTA}/{tree.bucket_label(bucket)}.json", Ledger)


def read(tree: Tree, day: Day, bucket: int) -> Ledger | None:
    """Return the ledger of a bucket as a run would open it on a day; None if there is none.

    A file that is damaged or out of reach counts as absent. Raises UsageError for a newer version.
    """
    with suppress(StoreError):
        if (ledger := ledger_file(tree, bucket).read()) is not None:
            ledger.day = day
            return ledger
    return None


def quota_use(manifest: Manifest, tree: Tree, now: float) -> Iterator[QuotaUse]:
    """Yield the use of the quotas of the jobs' datasets of which calls were made today.

    ``now`` is in seconds since the Unix epoch. Raises UsageError for a ledger of a newer version.
    """
    appids, today = {account.appid for account in manifest.accounts}, calendar.today(now)
    buckets = sorted({bucket_of(appid, tree.buckets) for appid in appids})
    ledgers = [each for bucket in buckets if (each := read(tree, today, bucket))]
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


def retime(tree: Tree, bucket: int, now: Moment) -> None:
    """Keep WeChat's time as it is told now, in the place of another. Raises StoreError."""
    file = ledger_file(tree, bucket)
    ledger = file.read() or Ledger()
    ledger.retime(now)
    file.write(ledger)

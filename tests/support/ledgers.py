"""Quota ledgers as tests make and read them."""

from __future__ import annotations

from collections.abc import Mapping

from harvester.core import calendar
from harvester.core.model import ReportedQuota, bucket_of
from harvester.planning.ledger import KnownQuota, Ledger, Moment
from harvester.storage.layout import Tree
from harvester.storage.state import quota_ledger
from harvester.storage.state.quota_ledger import LedgerFile

Pair = tuple[str, str]
"""An appid and a dataset."""


def known_quotas(tree: Tree, bucket: int = 0) -> dict[Pair, KnownQuota]:
    """Return what runs know of the quotas of a bucket."""
    ledger = LedgerFile(tree, bucket).read() or Ledger()
    return {
        (appid, dataset): known
        for dataset, of_dataset in ledger.known.items()
        for appid, known in of_dataset.items()
    }


def checked_quotas(tree: Tree, bucket: int = 0) -> dict[Pair, ReportedQuota]:
    """Return what checks were told of the quotas of a bucket since its last run."""
    ledger = LedgerFile(tree, bucket).read() or Ledger()
    return {
        (appid, dataset): told
        for dataset, of_dataset in ledger.checked.items()
        for appid, told in of_dataset.items()
    }


def tell(tree: Tree, told: Mapping[Pair, ReportedQuota], now: float) -> None:
    """Let a check have been told some quotas, without any call."""
    for (appid, dataset), quota in told.items():
        check = Ledger(calendar.today(now), written=Moment(now))
        check.checked = {dataset: {appid: quota}}
        quota_ledger.enter_check(tree, check, bucket_of(appid, tree.buckets))


def put(tree: Tree, ledger: Ledger, bucket: int = 0) -> None:
    """Write a ledger, over the one that is there."""
    file = LedgerFile(tree, bucket)
    file.read()
    file.write(ledger)

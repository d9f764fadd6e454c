"""Quota ledgers as tests make and read them."""

from __future__ import annotations

from collections.abc import Mapping

from harvester.core import calendar
from harvester.core.config.settings import Limits
from harvester.core.model import ReportedQuota, bucket_of
from harvester.planning.ledger import KnownQuota, Ledger, Moment
from harvester.planning.quota import DailyQuota
from harvester.storage.layout import Tree
from harvester.storage.state.quota_ledger import ledger_file

Pair = tuple[str, str]
"""An appid and a dataset."""


def known_quotas(tree: Tree, bucket: int = 0) -> dict[Pair, KnownQuota]:
    """Return what is known of the quotas of a bucket."""
    ledger = ledger_file(tree, bucket).read() or Ledger()
    return {
        (appid, dataset): known
        for dataset, of_dataset in ledger.known.items()
        for appid, known in of_dataset.items()
    }


def reported_quotas(tree: Tree, bucket: int = 0) -> dict[Pair, ReportedQuota]:
    """Return what WeChat has told of the quotas of a bucket."""
    known = known_quotas(tree, bucket)
    return {pair: each.reported for pair, each in known.items() if each.reported is not None}


def tell(tree: Tree, told: Mapping[Pair, ReportedQuota], now: float) -> None:
    """Let a check have been told some quotas, without any call."""
    for (appid, dataset), quota in told.items():
        file = ledger_file(tree, bucket_of(appid, tree.buckets))
        ledger = file.read() or Ledger(written=Moment(now))
        ledger.day = calendar.today(now)
        DailyQuota(Limits(), ledger, dataset, appid).answered(quota)
        file.write(ledger)


def put(tree: Tree, ledger: Ledger, bucket: int = 0) -> None:
    """Write a ledger, over the one that is there."""
    file = ledger_file(tree, bucket)
    file.read()
    file.write(ledger)

"""Quotas as WeChat reported them, by account and dataset, under ``_harvester/quota``.

A ``daily_limit`` holds until WeChat changes it; ``used`` and ``remain`` are of one moment, see
`ReportedQuota`. What a check was told is in one file of the whole output, named after its Beijing
day. What runs were told is in one file a bucket, written by the run that holds the bucket; the
newer answer counts. Losing them costs a few questions.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from harvester.core import calendar
from harvester.core.errors import StoreError
from harvester.core.model import ReportedQuota
from harvester.planning.daily_quota import KnownQuota, Pair
from harvester.planning.quota import are_counts
from harvester.storage.layout import QUOTA, Tree
from harvester.storage.state import json_file

Allowances: TypeAlias = dict[Pair, ReportedQuota]
"""The reported quotas, by appid and dataset."""

_FILE_NAME = re.compile(rf"{QUOTA}/learned-\d{{4}}-\d\d-\d\d\.json")


@dataclass(frozen=True, slots=True)
class _Limits:
    """The reported quotas as a file has them: by appid, then by dataset."""

    accounts: dict[str, dict[str, ReportedQuota]]

    def __post_init__(self) -> None:
        """Raise ValueError for numbers that WeChat does not report."""
        if not all(are_counts(each) for of in self.accounts.values() for each in of.values()):
            raise ValueError("numbers that no quota has")


@dataclass(frozen=True, slots=True)
class _Known:
    """The known quotas as the file of a bucket has them: by dataset, then by appid."""

    datasets: dict[str, dict[str, KnownQuota]]


def read_known(tree: Tree, buckets: Iterable[int]) -> dict[Pair, KnownQuota]:
    """Return what runs know of the quotas of buckets, or a later check. Raises UsageError.

    A file that is damaged or out of reach counts as absent; one of a newer version is an error.
    """
    known: dict[Pair, KnownQuota] = {}
    with suppress(StoreError):
        files = {file.name: file for file in tree.store.list(QUOTA)}
        found = [files[name] for name in map(partial(_name, tree), buckets) if name in files]
        for each in json_file.read_all(tree.store, found, _Known):
            for dataset, of_dataset in each.datasets.items():
                known |= {(appid, dataset): of for appid, of in of_dataset.items()}
    for pair, told in read(tree).items():
        before = known.setdefault(pair, KnownQuota())
        if before.reported is None or before.reported.asked_at < told.asked_at:
            before.reported, before.counted, before.is_refused = told, None, False
            before.ask_beyond = None
    return known


def write_known(tree: Tree, changed: Mapping[Pair, KnownQuota], bucket: int) -> None:
    """Enter what changed into the file of a bucket, durably. Raises StoreError and as `read`."""
    name = _name(tree, bucket)
    file = json_file.read(tree.store, name, _Known) or _Known({})
    for (appid, dataset), of in changed.items():
        file.datasets.setdefault(dataset, {})[appid] = of
    json_file.write(tree.store, name, file, tree.temp(bucket, "known-quotas"))


def read(tree: Tree) -> Allowances:
    """Return the newest quotas that a check was told. Raises UsageError for a newer version.

    A file that is damaged or out of reach counts as absent.
    """
    with suppress(StoreError):
        for name in reversed(_limit_files(tree)):
            if (found := json_file.read(tree.store, name, _Limits)) is not None:
                return {
                    (appid, dataset): allowance
                    for appid, of_account in found.accounts.items()
                    for dataset, allowance in of_account.items()
                }
    return {}


def write(tree: Tree, told: Mapping[tuple[str, str], ReportedQuota], now: float) -> None:
    """Add newly reported quotas; ``now`` decides the day. Raises StoreError and as `read`."""
    limits, older = _Limits({}), _limit_files(tree)
    for (appid, dataset), allowance in sorted({**read(tree), **told}.items()):
        limits.accounts.setdefault(appid, {})[dataset] = allowance
    name = f"{QUOTA}/learned-{calendar.day_text(calendar.today(now))}.json"
    # Named by chance: of two checks at once either file may stay.
    temp = tree.store.scratch / f"learned-{secrets.token_hex(8)}.tmp"
    json_file.write(tree.store, name, limits, temp)
    for old in older:
        if old != name:
            tree.store.delete(old)


def _name(tree: Tree, bucket: int) -> str:
    return f"{QUOTA}/known.{tree.bucket_label(bucket)}.json"


def _limit_files(tree: Tree) -> list[str]:
    return [file.name for file in tree.store.list(QUOTA) if _FILE_NAME.fullmatch(file.name)]

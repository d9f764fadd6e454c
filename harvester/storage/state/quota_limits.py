"""Quotas as WeChat reported them, by account and dataset, under ``_harvester/quota``.

::

    for (appid, dataset), allowance in quota_limits.read(tree).items(): ...

A ``daily_limit`` holds until WeChat changes it; ``used`` and ``remain`` are of one moment, see
`ReportedQuota`. One file a Beijing day, which replaces the one before it. Losing it costs nothing.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeAlias

from harvester.core import calendar
from harvester.core.errors import StoreError
from harvester.core.model import ReportedQuota
from harvester.planning.quota import are_counts
from harvester.storage.layout import QUOTA, Tree
from harvester.storage.state import json_file

Allowances: TypeAlias = dict[tuple[str, str], ReportedQuota]
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


def read(tree: Tree) -> Allowances:
    """Return the newest quota of each account and dataset. Raises UsageError for a newer version.

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


def _limit_files(tree: Tree) -> list[str]:
    return [file.name for file in tree.store.list(QUOTA) if _FILE_NAME.fullmatch(file.name)]

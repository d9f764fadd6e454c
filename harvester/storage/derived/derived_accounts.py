"""Files of the table `accounts`, one for each bucket: what manifests say of their accounts."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from harvester.core.config.settings import Account, Manifest
from harvester.core.model import bucket_of
from harvester.storage.derived import derived_files
from harvester.storage.layout import Tree
from harvester.tables.derived import ACCOUNTS


def update(tree: Tree, buckets: Iterable[int], manifest: Manifest, now: float) -> set[str]:
    """Bring the accounts of a manifest up to date; return all that are, or were, in it.

    Those of other manifests are kept as they are: the file of ``manifest`` names it. ``now`` is in
    seconds since the Unix epoch. Raises StoreError.
    """
    found: dict[int, list[Account]] = {bucket: [] for bucket in buckets}
    for account in manifest.accounts:
        found.get(bucket_of(account.appid, tree.buckets), []).append(account)
    ours = set[str]()
    for bucket, accounts in found.items():
        ours |= _update(tree, bucket, accounts, manifest.file.name, now)
    return ours


def _update(
    tree: Tree, bucket: int, accounts: Iterable[Account], manifest: str, now: float
) -> set[str]:
    at = dt.datetime.fromtimestamp(now, dt.UTC)
    own = {account.appid: _row(account, manifest) for account in accounts}
    ours = {*own}

    def change(old: pq.ParquetFile | None) -> Iterable[pa.Table]:
        rows = {row["appid"]: row for row in derived_files.rows_of(old, ACCOUNTS).to_pylist()}
        for appid, row in rows.items():
            if row["manifest"] == manifest:
                ours.add(appid)
                own.setdefault(appid, {**row, "wanted": False})
        for appid, row in own.items():
            # Of equal rows of two manifests the first one stays, or each run would write its own.
            former = rows.get(appid, {})
            kept = {name: former.get(name) for name in ("manifest", "updated_at")}
            rows[appid] = former if former == {**row, **kept} else {**row, "updated_at": at}
        yield pa.Table.from_pylist([rows[appid] for appid in sorted(rows)], schema=ACCOUNTS)

    derived_files.replace(tree, derived_files.accounts_name(tree, bucket), change)
    return ours


def _row(account: Account, manifest: str) -> dict[str, Any]:
    return {
        "appid": account.appid,
        "name": account.name or None,
        "tags": sorted(account.tags),
        "attributes": sorted(account.attributes.items()),
        "paused": None if account.paused is None else account.paused.reason,
        "wanted": True,
        "manifest": manifest,
    }

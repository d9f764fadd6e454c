"""Files of the table `accounts`, one for each bucket: what manifests say of their accounts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from harvester.core.config.settings import Account, Manifest
from harvester.core.model import bucket_of
from harvester.storage.derived import derived_files
from harvester.storage.layout import Tree
from harvester.tables.derived import ACCOUNTS


def update(
    tree: Tree,
    buckets: Iterable[int],
    manifest: Manifest,
    first_rows: Mapping[str, date],
    now: float,
) -> None:
    """Bring the accounts of a manifest up to date, whose file is its name in the output.

    Those of other manifests are kept as they are. ``first_rows`` has the oldest days with rows that
    were read, by appid. ``now`` is in seconds since the Unix epoch. Raises StoreError.
    """
    found: dict[int, dict[str, list[Any]]] = {bucket: {} for bucket in buckets}
    for account in manifest.accounts:
        own = found.get(bucket_of(account.appid, tree.buckets), {})
        own[account.appid] = [*_row(account), first_rows.get(account.appid)]
    for bucket, own in found.items():
        _update(tree, bucket, own, manifest.file.name, now)


def _update(tree: Tree, bucket: int, own: dict[str, list[Any]], manifest: str, now: float) -> None:
    at = int(now * 1_000_000)

    def change(old: pq.ParquetFile | None) -> Iterable[pa.Table]:
        *columns, moments = derived_files.rows_of(old, ACCOUNTS).columns
        # Arrow turns numbers into moments slowly, and loads all its functions for a cast.
        values = [x.to_pylist() for x in (*columns, moments.combine_chunks().view(pa.int64()))]
        rows = {appid: row for appid, *row in zip(*values, strict=True)}
        for appid, (*row, _, first, origin, _) in rows.items():
            if appid in own:
                # A run reads the days that it wants, and older rows may be there.
                own[appid][-1] = min(filter(None, (own[appid][-1], first)), default=None)
            elif origin == manifest:
                own[appid] = [*row, False, first]
        for appid, row in own.items():
            # Of equal rows of two manifests the first one stays, or each run would write its own.
            if appid not in rows or rows[appid][:-2] != row:
                rows[appid] = [*row, manifest, at]
        columns = zip(*((appid, *rows[appid]) for appid in sorted(rows)), strict=True)
        yield pa.table([*columns] or ACCOUNTS.empty_table().columns, schema=ACCOUNTS)

    derived_files.replace(tree, derived_files.accounts_name(tree, bucket), change)


def _row(account: Account) -> list[Any]:
    """Return the columns that the manifest has."""
    return [
        account.name or None,
        sorted(account.tags),
        sorted(account.attributes.items()),
        None if account.paused is None else account.paused.reason,
        True,
    ]

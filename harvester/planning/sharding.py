"""Parts of a manifest: the accounts of a shard, and what files of the output may have of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from harvester.core.config.settings import Job, Manifest
from harvester.core.errors import UsageError
from harvester.core.model import bucket_of


def own_buckets(buckets: int, shard: tuple[int, int]) -> list[int]:
    """List the buckets that a shard owns. Raises UsageError for fewer buckets than shards."""
    number, total = shard
    if buckets < total:
        raise UsageError(
            f"{total} shards need at least {total} buckets, and output.buckets is {buckets}",
            "a bucket is written by one shard alone; a new tree can have more of them",
        )
    return [bucket for bucket in range(buckets) if bucket % total == number - 1]


def of_shard(manifest: Manifest, own: list[int]) -> Manifest:
    """Return a manifest with only the accounts in these buckets. A job may have no account then."""
    buckets = manifest.output.buckets
    if len(own) == buckets:
        return manifest
    accounts = (one for one in manifest.accounts if bucket_of(one.appid, buckets) in own)
    return with_jobs(replace(manifest, accounts=tuple(accounts)), manifest.jobs)


def with_jobs(manifest: Manifest, jobs: Iterable[Job]) -> Manifest:
    """Return a manifest with these jobs, each limited to the accounts of the manifest."""
    own = {account.appid for account in manifest.accounts}
    cut = (replace(job, appids=tuple(filter(own.__contains__, job.appids))) for job in jobs)
    return replace(manifest, jobs=tuple(cut))


def as_kept(manifest: Manifest) -> Manifest:
    """Return a manifest as files of the output may have it: without names, if so it is set."""
    if manifest.output.account_names:
        return manifest
    accounts = (
        replace(account, name="", tags=frozenset(), attributes={}) for account in manifest.accounts
    )
    return replace(manifest, accounts=tuple(accounts))

"""Inputs of an operation: project, options, and the context of a run outside the output."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, TypeAlias

from harvester.core.config.credentials import Access, PlatformAccess
from harvester.core.config.settings import Account, Api, Manifest
from harvester.runs.clock import CheckedClock
from harvester.runs.platform_accounts import PlatformAtHand
from harvester.storage.coverage_scan import Refetch
from harvester.storage.layout import Tree
from harvester.wechat.auth.token_owners import TokenOwners

ReadAgain: TypeAlias = Callable[[float], tuple[Manifest, Manifest]]
"""A function that reads a manifest as of another time, and returns its narrowed and whole forms."""


class Credentials(Protocol):
    """A reader of the secrets that a manifest refers to. It can be pickled."""

    def access(self, manifest: Manifest, account: Account) -> Access:
        """Return the credential of an account. Raises UsageError."""

    def platform(self, manifest: Manifest) -> PlatformAccess | None:
        """Return the platform of a manifest that has one. Raises UsageError."""

    def whose(self, account: Account) -> str:
        """Name the credential of an account in messages."""


class Project(NamedTuple):
    """A manifest, its output tree, and the clock and platform of one operation over them.

    ``whole`` is the manifest before it was narrowed. ``read_again`` reads both as of another time,
    in seconds since the Unix epoch, and ``credentials`` reads the secrets that they refer to.
    ``lock_timeout`` is how many seconds a verb other than a run waits for buckets that another run
    holds, None for what is usual in the store. ``owners`` compare the tokens of the accounts; None
    compares them within this process.
    """

    manifest: Manifest
    whole: Manifest
    tree: Tree
    clock: CheckedClock
    platform: PlatformAtHand
    read_again: ReadAgain
    credentials: Credentials
    lock_timeout: float | None = None
    owners: TokenOwners | None = None


class RunOptions(NamedTuple):
    """Options of one run, beyond the manifest.

    ``refetch`` selects covered days that are asked again, ``shard`` is (number, count) of the run,
    ``max_duration`` is in seconds. ``ignore_spent_quota`` forgets what was spent today. ``labels``
    go to the record of the run. ``processes`` share its work; 0 stands for one a core.
    ``lock_timeout`` is how many seconds the run waits for a bucket that another run holds, None for
    what is usual in the store.
    """

    refetch: Refetch | None = None
    shard: tuple[int, int] = (1, 1)
    max_duration: float | None = None
    ignore_spent_quota: bool = False
    labels: Mapping[str, str] = {}
    processes: int = 1
    lock_timeout: float | None = None

    @property
    def shard_text(self) -> str | None:
        """The shard as ``2/8``; None if it is the only one."""
        number, count = self.shard
        return f"{number}/{count}" if count > 1 else None


@dataclass(frozen=True, slots=True)
class RunContext:
    """Everything that a run needs outside of its output: clock, API, secrets.

    ``clock`` hears WeChat's time. ``open_api`` keeps the API reachable while its block lasts.
    ``credentials`` returns the credential of an appid, and ``platform`` is the third-party platform
    of the accounts that authorised one. ``owners`` know which account has which token.
    """

    clock: CheckedClock
    open_api: Callable[[], AbstractAsyncContextManager[Api]]
    credentials: Callable[[str], Access]
    platform: PlatformAccess | None = None
    owners: TokenOwners = field(default_factory=TokenOwners)

"""Ledger of calls spent and quotas known, one file per bucket, under ``_harvester/quota``.

Losing it costs calls and questions, and never rows, so a damaged one counts for nothing. It is kept
by the run that holds the bucket. A check holds none: it adds what it has spent and learnt to the
file, and a run at work finds that when it writes the next time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial

from harvester.core import calendar
from harvester.core.calendar import Day
from harvester.core.config.settings import Manifest
from harvester.core.errors import LostRace, StoreError
from harvester.core.model import bucket_of
from harvester.core.results import QuotaUse
from harvester.planning.ledger import Calls, Ledger, Moment
from harvester.planning.quota import DailyQuota
from harvester.storage.layout import QUOTA, Tree
from harvester.storage.state.json_file import SideFile


class LedgerFile:
    """The ledger of a bucket, for the run that holds it. Every method raises StoreError."""

    def __init__(self, tree: Tree, bucket: int) -> None:
        self._file = _document(tree, bucket)
        self._base: dict[str, Calls] = {}

    def read(self) -> Ledger | None:
        """Return the ledger, None if there is none. Raises UsageError for a newer version."""
        found = self._file.read()
        self._base = (found or Ledger()).copied_calls()
        return found

    def write(self, ledger: Ledger) -> None:
        """Put a ledger in the place of what was read or written last.

        Calls that another process has entered meanwhile are added to it.
        """
        try:
            self._file.write(ledger)
        except LostRace:
            self._file.update(partial(self._rebased, ledger))
        self._base = ledger.copied_calls()

    def _rebased(self, ledger: Ledger, theirs: Ledger | None) -> Ledger:
        if theirs is not None:
            ledger.rebase(theirs, self._base)
            self._base = theirs.copied_calls()
        return ledger


def read(tree: Tree, day: Day, bucket: int) -> Ledger | None:
    """Return the ledger of a bucket as a run would open it on a day; None if there is none.

    A file that is damaged or out of reach counts as absent. Raises UsageError for a newer version.
    """
    with suppress(StoreError):
        if (ledger := _document(tree, bucket).read()) is not None:
            ledger.begin(day)
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


def enter_check(tree: Tree, check: Ledger, bucket: int) -> None:
    """Add what a check has spent and learnt. Raises StoreError, and UsageError as `read`."""
    _change(tree, bucket, lambda ledger: ledger.enter_check(check))


def retime(tree: Tree, bucket: int, now: Moment) -> None:
    """Keep WeChat's time as it is told now, in the place of another. Raises StoreError."""
    _change(tree, bucket, lambda ledger: ledger.retime(now))


def _change(tree: Tree, bucket: int, change: Callable[[Ledger], None]) -> None:
    def changed(stored: Ledger | None) -> Ledger:
        ledger = stored or Ledger()
        change(ledger)
        return ledger

    _document(tree, bucket).update(changed)


def _document(tree: Tree, bucket: int) -> SideFile[Ledger]:
    return SideFile(tree.store, f"{QUOTA}/{tree.bucket_label(bucket)}.json", Ledger)

"""Quota ledgers of a run, read and written in threads."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial
from operator import itemgetter

from anyio import CapacityLimiter, to_thread

from harvester.catalogue import CATALOGUE
from harvester.core import calendar
from harvester.core.calendar import Day
from harvester.planning import quota
from harvester.planning.daily_quota import KnownQuota, Pair
from harvester.planning.quota import DayLedger, Moment
from harvester.storage import layout
from harvester.storage.layout import Tree
from harvester.storage.state import quota_ledger, quota_limits
from harvester.storage.state.quota_ledger import StoredLedger

MAX_CONCURRENT_LEDGERS = 16
"""So many notes are read or written at the same time: an object store is far away."""

_NO_LATER_DAY = calendar.parse_day("9999-12-31")


class LedgerFiles:
    """The ledgers of a run on disk, read and written in threads. All methods raise StoreError.

    ``moment`` returns the present moment, with which ledgers are written. Nothing is written once
    another run may have the buckets: its ledgers are in use then.
    """

    def __init__(
        self,
        tree: Tree,
        run_id: str,
        moment: Callable[[], Moment],
    ) -> None:
        self._tree = tree
        self._run_id = run_id
        self._moment = moment
        self._bases: dict[int, StoredLedger] = {}
        self._disk = CapacityLimiter(MAX_CONCURRENT_LEDGERS)

    async def waits(self, bucket: int, period: float) -> list[tuple[float, int | None]] | None:
        """Return for how many seconds how many calls of earlier runs may count, soonest first.

        The number is None if it is unknown. Returns None if the bucket has no ledger.
        """
        found = await to_thread.run_sync(
            quota_ledger.read_all, self._tree, bucket, limiter=self._disk
        )
        now = self._moment()
        waits = [(each.wait(now, period), each) for each in found]
        in_order = sorted(waits, key=itemgetter(0))
        told = [(wait, None if of.in_use else of.recent_calls) for wait, of in in_order if wait]
        return told if found else None

    async def with_data(self, buckets: Collection[int]) -> set[int]:
        """Return those of the buckets that have a data file."""
        return await to_thread.run_sync(layout.with_data, self._tree, CATALOGUE, buckets)

    async def open(self, day: Day, bucket: int, period: float) -> DayLedger:
        """Return a day's ledger for this run, whose rate limit counts ``period`` seconds."""
        read = partial(to_thread.run_sync, limiter=self._disk)
        ledger, base = await read(quota_ledger.read_stored, self._tree, day, bucket)
        self._bases[bucket] = base
        for other in await read(quota_ledger.read_all, self._tree, bucket):
            # Its run has found that its clock was off, and has begun anew.
            if other.counts_on(day):
                ledger.merge(other)
            ledger.inherit(other)
        ledger.reopen(self._run_id, self._moment(), period)
        return ledger

    async def sweep(self, day: Day, bucket: int) -> None:
        """Remove the ledgers of other days than this one and those beside it."""
        if not self._is_writable:
            return
        offset = self._moment().offset
        if offset is not None and abs(offset) > quota.WRONG_SECONDS:
            return
        # A later day is that of a wrong clock only if this one is known to be right.
        end = day + 1 if offset is not None else _NO_LATER_DAY
        await to_thread.run_sync(
            quota_ledger.sweep, self._tree, bucket, day - 1, end, limiter=self._disk
        )

    async def write(self, ledger: DayLedger, bucket: int) -> None:
        """Make a ledger durable. If another run has written it, its calls are added."""
        if not self._is_writable:
            return
        ledger.written = self._moment()
        write = partial(quota_ledger.write_over, self._tree, ledger, bucket, self._bases[bucket])
        self._bases[bucket] = await to_thread.run_sync(write, limiter=self._disk)

    async def write_known(self, changed: Mapping[Pair, KnownQuota], bucket: int) -> None:
        """Make what changed in the known quotas of a bucket durable."""
        if not self._is_writable:
            return
        write = partial(quota_limits.write_known, self._tree, changed, bucket)
        await to_thread.run_sync(write, limiter=self._disk)

    @property
    def _is_writable(self) -> bool:
        return self._tree.hold.is_good

"""Quota ledgers of a run, read and written in threads."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from typing import Any

import anyio
from anyio import CapacityLimiter, to_thread

from harvester.catalogue import CATALOGUE
from harvester.core.calendar import Day
from harvester.core.model import Rate
from harvester.planning.ledger import Ledger, Moment
from harvester.storage import layout
from harvester.storage.layout import Tree
from harvester.storage.state.json_file import SideFile
from harvester.storage.state.quota_ledger import ledger_file

MAX_CONCURRENT_LEDGERS = 16
"""So many ledgers are read or written at the same time: an object store is far away."""


class LedgerFiles:
    """The ledgers of a run on disk, read and written in threads. All methods raise StoreError.

    ``moment`` returns the present moment, with which ledgers are written. ``ledgers`` are those
    that are open, by bucket. Nothing is written once another run may have the buckets: its ledgers
    are in use then.
    """

    def __init__(self, tree: Tree, run_id: str, moment: Callable[[], Moment]) -> None:
        self.ledgers: dict[int, Ledger] = {}
        self._tree = tree
        self._run_id = run_id
        self._moment = moment
        self._files: dict[int, SideFile[Ledger]] = {}
        self._disk = CapacityLimiter(MAX_CONCURRENT_LEDGERS)

    async def open(self, day: Day, buckets: Iterable[int], rate: Rate) -> None:
        """Open the ledgers of buckets for this run, on a day.

        Raises UsageError for a ledger of a newer version too.
        """
        found: dict[int, Ledger | None] = {}

        async def read(bucket: int) -> None:
            self._files[bucket] = ledger_file(self._tree, bucket)
            found[bucket] = await to_thread.run_sync(self._files[bucket].read, limiter=self._disk)

        await _for_each(buckets, read)
        lost: set[int] = set()
        if without := [bucket for bucket, ledger in found.items() if ledger is None]:
            lost = await to_thread.run_sync(layout.with_data, self._tree, CATALOGUE, without)
        for bucket, stored in found.items():
            # A ledger that is missing beside its data is as one that a killed run has left.
            self.ledgers[bucket] = ledger = stored or Ledger(in_use=bucket in lost)
            ledger.open(self._run_id, day, self._moment(), rate)

    async def write(self, buckets: Iterable[int]) -> None:
        """Make ledgers durable. Raises LostRace if another run has taken over a bucket."""

        async def write(bucket: int) -> None:
            ledger, file = self.ledgers[bucket], self._files[bucket]
            if self._tree.hold.is_good:
                ledger.written = self._moment()
                await to_thread.run_sync(file.write, ledger, limiter=self._disk)

        await _for_each(buckets, write)

    async def close(self) -> None:
        """End the use of the ledgers, and make that durable."""
        for ledger in self.ledgers.values():
            ledger.close(self._moment())
        await self.write(self.ledgers)


async def _for_each(
    buckets: Iterable[int], work: Callable[[int], Coroutine[Any, Any, None]]
) -> None:
    """Do the work for all buckets at once; a limiter bounds the I/O."""
    async with anyio.create_task_group() as tasks:
        for bucket in buckets:
            tasks.start_soon(work, bucket)

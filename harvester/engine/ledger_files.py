"""Quota ledgers of a run, read and written in threads."""

from __future__ import annotations

from collections.abc import Callable, Collection

from anyio import CapacityLimiter, to_thread

from harvester.catalogue import CATALOGUE
from harvester.core.calendar import Day
from harvester.core.model import Rate
from harvester.planning.ledger import Ledger, Moment
from harvester.storage import layout
from harvester.storage.backends.concurrently import map_concurrently
from harvester.storage.layout import Tree
from harvester.storage.state.json_file import SideFile
from harvester.storage.state.quota_ledger import ledger_file


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
        # A thread of its own: readers of secrets that hang may hold all those that are shared.
        self._thread = CapacityLimiter(1)

    async def open(self, day: Day, buckets: Collection[int], rate: Rate) -> None:
        """Open the ledgers of buckets for this run, on a day.

        Raises UsageError for a ledger of a newer version too.
        """
        self.ledgers.update(await to_thread.run_sync(self._read, buckets, limiter=self._thread))
        for ledger in self.ledgers.values():
            ledger.open(self._run_id, day, self._moment(), rate)

    async def write(self, buckets: Collection[int]) -> None:
        """Make ledgers durable. Raises LostRace if another run has taken over a bucket."""
        if self._tree.hold.is_good():
            for bucket in buckets:
                self.ledgers[bucket].written = self._moment()
            # Each is written when its result is taken, in the thread.
            writes = map_concurrently(self._write, buckets)
            await to_thread.run_sync(list, writes, limiter=self._thread)

    async def close(self) -> None:
        """End the use of the ledgers, and make that durable."""
        for ledger in self.ledgers.values():
            ledger.close(self._moment())
        await self.write(self.ledgers)

    def _read(self, buckets: Collection[int]) -> dict[int, Ledger]:
        self._files = {bucket: ledger_file(self._tree, bucket) for bucket in buckets}
        read = map_concurrently(SideFile.read, self._files.values())
        found = dict(zip(buckets, read, strict=True))
        without = [bucket for bucket, ledger in found.items() if ledger is None]
        lost = layout.with_data(self._tree, CATALOGUE, without) if without else ()
        # A ledger that is missing beside its data is as one that a killed run has left.
        return {bucket: ledger or Ledger(in_use=bucket in lost) for bucket, ledger in found.items()}

    def _write(self, bucket: int) -> None:
        self._files[bucket].write(self.ledgers[bucket])

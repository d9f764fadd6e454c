"""Queue of the months to publish; deletes raw groups that are published.

A month of a dataset in a bucket is published once no account owes a window of it, so that its file
is written once, however far apart the accounts are. It is published earlier when the raw log grows
past its cap, or when a publish would have to merge too many groups at once. A group is deleted only
after every month it touches was published and recorded: if a run is killed in between, the next one
finds the group and records it.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable

import anyio
from anyio import CapacityLimiter, to_thread

from harvester.core.dataset import Dataset
from harvester.scheduling.account_queue import MonthOfBucket
from harvester.storage import publish, raw_log
from harvester.storage.layout import Partition, Tree
from harvester.storage.publication import Published
from harvester.storage.publish import TrustedTimes
from harvester.storage.raw_log import Group

RAW_BYTES = 256 << 20
"""Past so many bytes in the raw log, everything in it is published."""

RAW_GROUPS = 400
"""Past so many groups with answers of a month, the month is published: each of them costs a publish
an eighth of a megabyte while it lasts."""


class PublishQueue:
    """Publishes months one after the other, each in a thread, none of them twice without need.

    ``trusted_times`` returns the times of asking that may settle a day, at that moment.
    """

    def __init__(
        self,
        tree: Tree,
        datasets: dict[str, Dataset],
        on_published: Callable[[Published], None],
        trusted_times: Callable[[], TrustedTimes],
    ) -> None:
        self._tree = tree
        self._datasets = datasets
        self._on_published = on_published
        self._trusted_times = trusted_times
        self._unpublished: dict[Group, set[MonthOfBucket]] = {}
        self._groups_of: Counter[MonthOfBucket] = Counter()
        self._queue: deque[MonthOfBucket] = deque()
        self._closing = False
        self._until = float("inf")
        self._wake = anyio.Event()
        self._thread = CapacityLimiter(1)

    def add(self, group: Group) -> None:
        """Take in a group that became durable."""
        months = {MonthOfBucket(dataset, month, group.bucket) for dataset, month in group.months}
        self._unpublished[group] = months
        self._groups_of.update(months)
        if sum(group.size for group in self._unpublished) > RAW_BYTES:
            self.enqueue(self._pending())
        else:
            self.enqueue(month for month in months if self._groups_of[month] > RAW_GROUPS)

    def enqueue(self, months: Iterable[MonthOfBucket]) -> None:
        """Publish these months, soon."""
        new = [month for month in months if month not in self._queue]
        if new:
            self._queue.extend(new)
            self._wake.set()

    def flush(self) -> None:
        """Publish everything that is in the raw log, soon."""
        self.enqueue(self._pending())

    def close(self) -> None:
        """Let `run` publish everything that is in the raw log, and return."""
        self.flush()
        self._closing = True
        self._wake.set()

    def hurry(self, until: float) -> None:
        """Begin no month after ``until`` (the loop's clock); the next run finds the raw groups."""
        self._until = until

    async def run(self) -> None:
        """Publish what is asked for until closed. Raises StoreError when the disk refuses."""
        while True:
            while self._queue and anyio.current_time() < self._until:
                await self._publish(self._queue.popleft())
            if self._closing:
                return
            await self._wake.wait()
            self._wake = anyio.Event()

    def _pending(self) -> list[MonthOfBucket]:
        """Return every month that waits in the raw log, newest first."""
        owed = {month for months in self._unpublished.values() for month in months}
        return sorted(owed, key=lambda key: (-key.month, key.dataset, key.bucket))

    def _publish_and_report(
        self, key: MonthOfBucket, groups: list[Group], trusted: TrustedTimes
    ) -> None:
        dataset = self._datasets[key.dataset]
        done = publish.publish(self._tree, dataset, Partition(*key), groups, trusted)
        self._on_published(done)

    async def _publish(self, key: MonthOfBucket) -> None:
        groups = [group for group, months in self._unpublished.items() if key in months]
        if not groups:
            return
        trusted = self._trusted_times()
        await to_thread.run_sync(
            self._publish_and_report, key, groups, trusted, limiter=self._thread
        )
        self._groups_of[key] -= len(groups)
        for group in groups:
            months = self._unpublished[group]
            months.discard(key)
            if not months:
                del self._unpublished[group]
                await to_thread.run_sync(raw_log.delete, self._tree, group, limiter=self._thread)

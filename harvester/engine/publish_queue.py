"""Queue of the months to publish; deletes raw groups that are published.

A month of a dataset in a bucket is published once no account owes a window of it, so that its file
is written once, however far apart the accounts are. It is published earlier when the raw log grows
past its cap, or when a publish would have to merge too many groups at once. The months of one
*round* are recorded at once. A group is deleted only after every month that needs it was published
and recorded: if a run is killed in between, the next one finds the group and records it. Of a month
that no group needs no file is written: see `harvester.engine.taken_along`.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

import anyio
from anyio import CapacityLimiter, to_thread

from harvester.core.calendar import Month
from harvester.core.dataset import Dataset
from harvester.core.model import Partition
from harvester.storage import publish, raw_log
from harvester.storage.layout import Tree
from harvester.storage.publication import Published
from harvester.storage.publish import TrustedTimes
from harvester.storage.raw_log import Group

RAW_BYTES = 256 << 20
"""Past so many bytes in the raw log, everything in it is published."""

RAW_GROUPS = 400
"""Number of groups with answers of a month past which the month is published. With more than
`raw_log.MERGED_GROUPS` of them it is published in parts."""

ROUND_SECONDS = 5.0
"""Maximum duration of a publish round, in seconds. Followers see its files at its end."""


@dataclass(eq=False, repr=False)
class PublishQueue:
    """Publishes months one after the other, each in a thread, none of them twice without need.

    ``on_published`` gets the months of a round, in a thread. ``trusted_times`` returns the times of
    asking that may settle a day, at that moment.
    """

    tree: Tree
    datasets: dict[str, Dataset]
    on_published: Callable[..., None]
    trusted_times: Callable[[], TrustedTimes]

    def __post_init__(self) -> None:
        """Begin with an empty queue."""
        self._unpublished: dict[Group, set[Partition]] = {}
        self._needed: dict[Group, set[Partition]] = {}
        self._groups_of: Counter[Partition] = Counter()
        self._queue: deque[Partition] = deque()
        self._round: list[Published] = []
        self._closing = False
        self._until = float("inf")
        self._wake = anyio.Event()
        # A thread of its own: readers of secrets that hang may hold all those that are shared.
        self._thread = CapacityLimiter(1)

    def add(self, group: Group, idle: Collection[tuple[str, Month]] = ()) -> None:
        """Take in a group that became durable. Its ``idle`` months do not need it."""
        months = {Partition(*each, group.bucket) for each in group.months}
        self._unpublished[group] = months
        self._needed[group] = months - {Partition(*each, group.bucket) for each in idle}
        self._groups_of.update(months)
        if sum(group.size for group in self._unpublished) > RAW_BYTES:
            self.flush()
        else:
            self.enqueue(month for month in months if self._groups_of[month] > RAW_GROUPS)

    def enqueue(self, months: Iterable[Partition]) -> None:
        """Publish these months, soon."""
        new = [month for month in months if month not in self._queue]
        if new:
            self._queue.extend(new)
            self._wake.set()

    def flush(self) -> None:
        """Publish everything that is in the raw log, soon, newest month first."""
        owed = {month for months in self._needed.values() for month in months}
        self.enqueue(sorted(owed, key=lambda key: (-key.month, key.dataset, key.bucket)))

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
        while not self._closing or self._is_due():
            round_ends = anyio.current_time() + ROUND_SECONDS
            try:
                while self._is_due() and anyio.current_time() <= round_ends:
                    await self._publish(self._queue.popleft())
            finally:
                await self._end_round()
            if not (self._closing or self._is_due()):
                await self._wake.wait()
                self._wake = anyio.Event()

    def _is_due(self) -> bool:
        return bool(self._queue) and anyio.current_time() < self._until

    async def _publish(self, key: Partition) -> None:
        if not any(key in needed for needed in self._needed.values()):
            return
        groups = [group for group, months in self._unpublished.items() if key in months]
        if len(groups) > raw_log.MERGED_GROUPS:
            groups = groups[: raw_log.MERGED_GROUPS]
            self._queue.appendleft(key)
        what = self.datasets[key.dataset], key, groups, self.trusted_times()
        done = await to_thread.run_sync(publish.publish, self.tree, *what, limiter=self._thread)
        self._round.append(done)
        self._groups_of[key] -= len(groups)
        for group in groups:
            self._unpublished[group].discard(key)
            self._needed[group].discard(key)

    async def _end_round(self) -> None:
        """Report what was published, then delete the groups that no month needs any more."""
        if self._round:
            await to_thread.run_sync(self.on_published, *self._round, limiter=self._thread)
        self._round = []
        for group in [group for group, needed in self._needed.items() if not needed]:
            del self._needed[group]
            self._groups_of.subtract(self._unpublished.pop(group))
            await to_thread.run_sync(raw_log.delete, self.tree, group, limiter=self._thread)

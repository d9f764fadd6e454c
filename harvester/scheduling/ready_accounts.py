"""Accounts that may start a request now, and the order in which they do.

A connection serves one account, so the number of accounts that are under way at a time bounds the
open connections. The others wait until one of these is done or has to wait for long itself.
"""

from __future__ import annotations

import heapq
import math

from harvester.core.config.settings import Limits
from harvester.scheduling.account_queue import AccountQueue

MIN_COHORT = 512
"""Accounts that may always be under way."""

ANSWERS_PER_SECOND = 50
"""Answers that one connection may get in a second, at the most that is expected."""


def cohort_size(limits: Limits) -> int:
    """Return how many accounts may be under way at a time.

    Fewer than keep all connections busy, with one request of each account at a time and at its
    rate, would cost time.
    """
    pace = limits.per_token
    busy = limits.connections * ANSWERS_PER_SECOND * pace.rate.period / pace.rate.count
    return max(MIN_COHORT, limits.connections, math.ceil(busy))


class ReadyAccounts:
    """Queues that may start a request: those under way, at most ``limit``, and those that wait.

    While queues wait, those that began first go first, so that they are done soon. Otherwise those
    with the most windows left go first, so that no long queue is left over at the end.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._under_way: dict[str, int] = {}
        self._ready: list[tuple[int, int, AccountQueue]] = []
        self._waiting: list[tuple[int, int, AccountQueue]] = []
        self._sequence = 0

    def __len__(self) -> int:
        """Return how many queues may start a request now."""
        return len(self._ready)

    @property
    def waiting(self) -> int:
        """The number of queues that wait for others."""
        return len(self._waiting)

    def push(self, queue: AccountQueue) -> None:
        """Take in a queue that may start a request."""
        # The sequence keeps equal queues in order, and queues from being compared.
        self._sequence += 1
        if queue.appid in self._under_way or self._begin(queue):
            heapq.heappush(self._ready, (self._rank(queue), self._sequence, queue))
            return
        heapq.heappush(self._waiting, (-queue.windows_left(), self._sequence, queue))
        # The first queue that waits changes what ready queues are ranked by.
        if len(self._waiting) == 1:
            self._sort()

    def pop(self) -> AccountQueue:
        """Return the queue that goes first. Raises IndexError if none is ready."""
        return heapq.heappop(self._ready)[2]

    def leave(self, queue: AccountQueue) -> None:
        """Take a queue that stands nowhere for one that is not under way; another may begin."""
        if self._under_way.pop(queue.appid, None) is None or not self._waiting:
            return
        self.push(self._next_waiting())

    def remove(self, queue: AccountQueue) -> None:
        """Let a queue stand nowhere, because it has lost its backlog where it stood."""
        queue.rate.queued = False
        self.leave(queue)

    def drop_done(self) -> None:
        """Remove queues from the front that have lost their backlog while they stood here."""
        while self._ready and not self._ready[0][2].has_work():
            self.remove(self.pop())
        while self._waiting and not self._waiting[0][2].has_work():
            self._next_waiting().rate.queued = False

    def clear(self) -> None:
        """Remove all queues."""
        self._ready.clear()
        self._waiting.clear()

    def _next_waiting(self) -> AccountQueue:
        queue = heapq.heappop(self._waiting)[2]
        if not self._waiting:
            self._sort()
        return queue

    def _begin(self, queue: AccountQueue) -> bool:
        if len(self._under_way) >= self._limit:
            return False
        self._under_way[queue.appid] = self._sequence
        return True

    def _rank(self, queue: AccountQueue) -> int:
        return self._under_way[queue.appid] if self._waiting else -queue.windows_left()

    def _sort(self) -> None:
        """Rank all ready queues anew, because queues wait since now, or no longer."""
        self._ready = [(self._rank(queue), number, queue) for _, number, queue in self._ready]
        heapq.heapify(self._ready)

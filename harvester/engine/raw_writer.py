"""Answers on their way to safety: gathered in memory, written to the raw log in groups.

An answer counts only when its group is durable. A group is written when enough bytes came together
or when the oldest of them has waited long enough, so a killed run loses a moment's work and no
more.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import anyio
from anyio import CapacityLimiter, to_thread

from harvester.core.model import RawAnswer
from harvester.scheduling.account_queue import Attempt
from harvester.storage import raw_log
from harvester.storage.layout import Tree
from harvester.storage.raw_log import Group

GROUP_BYTES = 2 << 20
"""A group is written when its bodies are this long together."""

GROUP_SECONDS = 2.0
"""A group is written when its oldest answer has waited this long."""

_MAX_BUFFERED = 2 * GROUP_BYTES


@dataclass(eq=False, repr=False)
class RawWriter:
    """Gathers answers and writes them; ``on_durable`` gets each safe group and its answers.

    ``behind`` returns by how many seconds days settle earlier than by the clock of the run.
    ``in_hand`` gets the bytes that are more to be written, or fewer.
    """

    tree: Tree
    run_id: str
    on_durable: Callable[[Group, list[tuple[Attempt, RawAnswer]]], None]
    behind: Callable[[], float]
    in_hand: Callable[[int], None]

    def __post_init__(self) -> None:
        """Begin with an empty buffer."""
        self._held: dict[int, list[tuple[Attempt, RawAnswer]]] = {}
        self._bytes = 0
        self._closing = False
        self._due = anyio.Event()
        self._drained = anyio.Event()
        # A thread of its own: readers of secrets that hang may hold all those that are shared.
        self._thread = CapacityLimiter(1)

    async def append(self, attempt: Attempt, answer: RawAnswer) -> None:
        """Take the answer to an attempt. Waits only while the disk is far behind."""
        self._held.setdefault(attempt.queue.bucket, []).append((attempt, answer))
        self._bytes += len(answer.body)
        self.in_hand(len(answer.body))
        if self._bytes >= GROUP_BYTES:
            self._due.set()
        while self._bytes >= _MAX_BUFFERED:
            await self._drained.wait()

    def close(self) -> None:
        """Let `run` write what is buffered and return, because no more answers will come."""
        self._closing = True
        self._due.set()

    async def run(self) -> None:
        """Write groups until closed. Raises StoreError when the disk refuses."""
        while self._held or not self._closing:
            with anyio.move_on_after(GROUP_SECONDS):
                await self._due.wait()
            self._due = anyio.Event()
            if self._closing:
                self._due.set()
            await self._write()

    async def _write(self) -> None:
        held, self._held = self._held, {}
        self._bytes = 0
        self._drained.set()
        self._drained = anyio.Event()
        for bucket, answers in held.items():
            group = await to_thread.run_sync(
                raw_log.write_group,
                self.tree,
                bucket,
                self.run_id,
                [answer for _, answer in answers],
                math.ceil(self.behind()),
                limiter=self._thread,
            )
            self.in_hand(-sum(len(answer.body) for _, answer in answers))
            self.on_durable(group, answers)

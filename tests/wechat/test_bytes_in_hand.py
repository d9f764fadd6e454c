"""Bytes of answers in memory stay within their bound, and every answer is read."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from harvester.wechat import account_calls
from harvester.wechat.account_calls import BytesInHand

READING, READ, PART = 300, 150, 20


class Content:
    """A body that comes in parts, each after some turns of the loop."""

    def __init__(self, parts: list[tuple[int, int]]) -> None:
        self.parts = deque(parts)

    async def readany(self) -> bytes:
        """Return the next part."""
        if not self.parts:
            return b""
        turns, size = self.parts.popleft()
        for _ in range(turns):
            await asyncio.sleep(0)
        return bytes(size)

    def at_eof(self) -> bool:
        """Return whether all was read."""
        return not self.parts


async def longest_hold(bodies: list[list[tuple[int, int]]], slowness: int) -> tuple[int, int, int]:
    """Read bodies at the same time; return the most bytes in either state, and all that were read.

    What is read becomes durable one body after the other.
    """
    hand, written = BytesInHand(), asyncio.Queue[int]()
    most_reading = most_read = done = 0

    async def take(body: list[tuple[int, int]]) -> None:
        content: Any = Content(body)
        size = len(await hand.read_body(content))
        hand.count(size)
        written.put_nowait(size)

    async def write() -> None:
        nonlocal done
        for _ in bodies:
            size = await written.get()
            for _ in range(slowness):
                await asyncio.sleep(0)
            hand.count(-size)
            done += size

    async def watch() -> None:
        nonlocal most_reading, most_read
        while True:
            most_reading = max(most_reading, sum(hand._reading.values()))
            most_read = max(most_read, hand.read)
            await asyncio.sleep(0)

    with anyio.fail_after(60):
        async with anyio.create_task_group() as watcher:
            watcher.start_soon(watch)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(write)
                for body in bodies:
                    tasks.start_soon(take, body)
            watcher.cancel_scope.cancel()
    assert hand.read == 0
    assert not hand._reading
    return most_reading, most_read, done


BODIES = st.lists(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, PART)), min_size=1, max_size=60),
    min_size=1,
    max_size=20,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@example([[(0, PART)] * 60] * 20, 20)
@given(BODIES, st.integers(0, 20))
def test_the_bytes_in_hand_never_exceed_their_bound(
    monkeypatch: pytest.MonkeyPatch, bodies: list[list[tuple[int, int]]], slowness: int
) -> None:
    """Whatever the lengths, and whichever part comes first: and none waits for ever."""
    monkeypatch.setattr(account_calls, "MAX_READING", READING)
    monkeypatch.setattr(account_calls, "MAX_READ", READ)
    sizes = [sum(size for _, size in body) for body in bodies]
    reading, read, done = asyncio.run(longest_hold(bodies, slowness))
    assert done == sum(sizes)
    # Each connection may have received a part before it waits.
    received = 2 * PART * len(bodies)
    assert reading <= READING + max(sizes) + received
    assert read <= READ + max(sizes) + received


async def test_a_reader_that_fails_lets_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest may be cancelled in the middle of its body."""
    monkeypatch.setattr(account_calls, "MAX_READING", 10)
    hand, read = BytesInHand(), list[int]()

    async def take(body: Any, scope: anyio.CancelScope) -> None:
        with scope:
            read.append(len(await hand.read_body(body)))

    oldest = anyio.CancelScope()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(take, Content([(0, 8), (1_000_000, 8)]), oldest)
        await asyncio.sleep(0)
        tasks.start_soon(take, Content([(0, 8), (0, 8)]), anyio.CancelScope())
        for _ in range(10):
            await asyncio.sleep(0)
        assert not read
        oldest.cancel()
    assert read == [16]


async def test_while_memory_is_tight_one_body_is_read_at_a_time() -> None:
    """The next one waits until the first is durable, however short both are."""
    hand, read = BytesInHand(), list[int]()
    hand.is_tight = True

    async def take() -> None:
        body: Any = Content([(0, 5), (0, 5)])
        read.append(len(await hand.read_body(body)))
        hand.count(read[-1])

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(take)
        for done in (1, 2, 3):
            for _ in range(20):
                await asyncio.sleep(0)
            assert read == [10] * done
            hand.count(-10)

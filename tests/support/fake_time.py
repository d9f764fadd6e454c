"""Whole runs in virtual time: the real line from lock to record, but for sockets and threads.

The sandbox judges every call, as over HTTP. Time stands still while anything is left to do and
jumps to the next timer when nothing is, so an hour of pauses costs milliseconds. Disk work is done
in place of a thread, since time would jump while a thread works.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Self

import anyio
import pytest

from harvester.core import calendar
from harvester.core.calendar import Day, instant, parse_day
from harvester.core.config import Api
from harvester.core.errors import BadAnswer, CallTimedOut, ConnectionFailed, Unreachable
from harvester.core.secret import Secret
from harvester.operations import check as checking
from harvester.operations import run as running
from harvester.operations.record.summary import Summary
from harvester.operations.runtime import RunOptions
from harvester.sandbox.call_faults import Wire
from harvester.sandbox.calls import Reply, Request
from harvester.storage.layout import Tree
from tests.support.run_harness import RunHarness, run_once


class Killed(BaseException):
    """Stands for ``kill -9``: nothing of ours writes anything after it."""


@dataclass
class Time:
    """Seconds since a simulation began."""

    elapsed: float = 0.0


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop that never waits: with nothing to do, it turns its clock to the next timer."""

    def __init__(self, time: Time) -> None:
        self._virtual = time
        super().__init__()

    def time(self) -> float:
        """The virtual clock."""
        return self._virtual.elapsed

    def _run_once(self) -> None:
        timers: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]
        if not self._ready and timers:  # type: ignore[attr-defined]
            # A hair later than asked, or a rounded sum would come up before its time for ever.
            self._virtual.elapsed = max(self._virtual.elapsed, timers[0].when()) + 1e-6
        super()._run_once()  # type: ignore[misc]


@dataclass
class Call:
    """One data call as it arrived."""

    at: float
    appid: str
    path: str


@dataclass
class FakeNetwork:
    """The way to the sandbox: how long it takes, when it is cut, and what passed over it.

    ``there`` and ``back`` are the longest seconds either way takes. ``down`` tells whether nothing
    gets through at a moment; ``attempts`` has when anybody tried.
    """

    lab: VirtualTimeHarness
    dice: random.Random
    there: float = 0.02
    back: float = 0.02
    down: Callable[[float], bool] = lambda _: False
    attempts: list[float] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)

    async def post(self, path: str, body: bytes, token: Secret | None) -> tuple[int, bytes]:
        """One call, as `Transport.post` makes it."""
        self.attempts.append(self.lab.now())
        if self.down(self.lab.now()):
            await anyio.sleep(self.dice.uniform(0, self.there))
            raise Unreachable("the server was not reached")
        await anyio.sleep(self.dice.uniform(0, self.there))
        query = {"access_token": token.reveal()} if token else {}
        if token:
            holder = self.lab.sandbox.tokens.find(token.reveal(), self.lab.now()).appid
            self.calls.append(Call(self.lab.now(), holder, path))
        reply = self.lab.sandbox.answer(Request("POST", path, query, body))
        return await self._deliver(reply)

    async def _deliver(self, reply: Reply) -> tuple[int, bytes]:
        took = reply.delay + self.dice.uniform(0, self.back)
        if took >= self.lab.timeout:
            await anyio.sleep(self.lab.timeout)
            raise CallTimedOut("no whole answer in time")
        await anyio.sleep(took)
        if reply.wire in (Wire.CLOSE, Wire.RESET, Wire.CUT):
            raise ConnectionFailed("the connection broke")
        if reply.wire is Wire.GARBAGE:
            raise BadAnswer("an answer that is not HTTP")
        return reply.status, reply.body


class _Transport:
    """Takes the place of `transport.Transport`."""

    def __init__(self, net: FakeNetwork) -> None:
        self._net = net

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing to close."""

    async def post(self, path: str, body: bytes, token: Secret | None = None) -> tuple[int, bytes]:
        return await self._net.post(path, body, token)


@dataclass
class VirtualTimeHarness(RunHarness):
    """A lab whose time is virtual. Use it inside `virtual`.

    ``store_seconds`` is how many seconds anything takes that is done with the output.
    """

    seed: int = 0
    timeout: float = 30.0
    store_seconds: float = 0.0
    time: Time = field(default_factory=Time)
    net: FakeNetwork = field(init=False)

    def __post_init__(self) -> None:
        """Open the sandbox at noon of the lab's day."""
        super().__post_init__()
        self.net = FakeNetwork(self, random.Random(self.seed))

    def now(self) -> float:
        """Noon in Beijing on the lab's day, and what has passed since."""
        return instant(parse_day(self.today), 12 * 60) + self.time.elapsed

    def advance(self, seconds: float) -> None:
        """Turn the clock forward."""
        self.time.elapsed += seconds

    def sleep_until(self, day: Day, minutes: int = 0) -> None:
        """Turn the clock to so many minutes after a Beijing day began."""
        self.advance(instant(day, minutes) - self.now())

    def run(
        self, tree: Tree | None = None, *, kill_after: float | None = None, **orders: Any
    ) -> Summary:
        """One whole run. Raises Killed if it was killed before its end."""

        async def watch(_: object) -> None:
            if kill_after is not None:
                await anyio.sleep(kill_after)
                raise Killed

        world = replace(self.world(), watch=watch)
        try:
            return run_once(
                self.manifest(), tree or self.tree, orders=RunOptions(**orders), world=world
            )
        except BaseExceptionGroup as group:
            if group.subgroup(Killed) is None:
                raise
            raise Killed from None

    @asynccontextmanager
    async def _reach(self) -> AsyncIterator[Api]:
        yield Api(timeout=self.timeout)

    def calls_of_day(self, day: Day) -> Counter[tuple[str, str]]:
        """How many data calls arrived on a Beijing day, by account and path."""
        return Counter(
            (call.appid, call.path) for call in self.net.calls if calendar.today(call.at) == day
        )


@contextmanager
def in_virtual_time(lab: VirtualTimeHarness) -> Iterator[VirtualTimeHarness]:
    """Let runs of this lab take place in its own time."""

    async def in_place(
        work: Callable[..., Any],
        *args: Any,
        limiter: anyio.CapacityLimiter | None = None,
        **_: object,
    ) -> Any:
        async with limiter or nullcontext():
            await anyio.sleep(lab.store_seconds)
            return work(*args)

    def transport(api: Api, **_: object) -> _Transport:
        del api
        return _Transport(lab.net)

    factory = {"loop_factory": partial(VirtualLoop, lab.time)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(anyio, "run", partial(anyio.run, backend_options=factory))
        patch.setattr(anyio.to_thread, "run_sync", in_place)
        patch.setattr(running, "Transport", transport)
        patch.setattr(checking, "Transport", transport)
        patch.setattr(os, "fsync", lambda _: None)
        yield lab

"""Whole runs in virtual time: the real code from lock to record, without sockets and threads.

The emulator checks every call, as over HTTP. Time stands still while work is left and jumps to the
next timer when none is, so an hour of pauses takes milliseconds. Work of threads is done in the
event loop, because time would jump while a thread works.
"""

from __future__ import annotations

import asyncio
import os
import random
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace
from typing import Any, NoReturn, Self, TypeVar

import anyio
import pytest

from harvester.core import calendar
from harvester.core.calendar import Day, instant, parse_day
from harvester.core.config.settings import Api
from harvester.core.errors import (
    BadAnswer,
    CallTimedOut,
    ConnectionFailed,
    NotConnected,
    Unreachable,
)
from harvester.core.secret import Secret
from harvester.runs import access, harvest
from harvester.runs.record.record import Record
from harvester.runs.runtime import RunOptions
from harvester.sandbox.call_faults import Refused
from harvester.sandbox.calls import Reply, Request, date_text
from harvester.storage.layout import Tree
from harvester.wechat.account_calls import BytesInHand
from harvester.wechat.connection_pool import ConnectionPool
from tests.support.faulty_wechat import Wire, wire_of
from tests.support.run_harness import RunHarness, run_once

T = TypeVar("T")


class Killed(BaseException):
    """A stand-in for ``kill -9``: nothing is written after it."""


@dataclass
class Time:
    """Seconds since a simulation began, for one run or for several at once.

    Of several runs, each in a thread of its own, one works at a time: that whose next timer is due
    first, once every other one waits.
    """

    elapsed: float = 0.0
    _due: dict[int, float] = field(default_factory=dict)
    _turn: threading.Condition = field(default_factory=threading.Condition)

    def wait_until(self, due: float) -> None:
        """Move the clock to the moment of a timer, after all that is due before it."""
        me = threading.get_ident()
        if me in self._due:
            with self._turn:
                self._due[me] = due
                self._turn.notify_all()
                self._turn.wait_for(lambda: min(self._due, key=self._due.__getitem__) == me)
                self._due[me] = 0.0
        # Slightly later, because a rounded sum could stay below the timer for ever.
        self.elapsed = max(self.elapsed, due) + 1e-6

    def at_once(self, *works: Callable[[], T]) -> list[T]:
        """Do several works at the same time, in threads; return what each returned."""
        gathered, start = threading.Barrier(len(works)), self.elapsed

        def take_part(place: int, work: Callable[[], T]) -> T:
            self._due[threading.get_ident()] = 0.0
            gathered.wait()
            try:
                # A little apart, so that they always begin in the same order.
                self.wait_until(start + place * 1e-3)
                return work()
            finally:
                with self._turn:
                    del self._due[threading.get_ident()]
                    self._turn.notify_all()

        with ThreadPoolExecutor(len(works)) as pool:
            return list(pool.map(take_part, range(len(works)), works))


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop that never waits: without work it moves its clock to the next timer."""

    def __init__(self, time: Time) -> None:
        self._virtual = time
        super().__init__()

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self._virtual.elapsed

    def _run_once(self) -> None:
        timers: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]
        if not self._ready and timers:  # type: ignore[attr-defined]
            self._virtual.wait_until(timers[0].when())
        super()._run_once()  # type: ignore[misc]


@dataclass
class Call:
    """A data call, when it was sent."""

    at: float
    appid: str
    path: str


@dataclass
class FakeNetwork:
    """A network to the emulator, with delays and outages, that records the calls.

    ``there`` and ``back`` are the maximum seconds of either way. ``down`` returns whether the
    network is down at a moment, ``refused`` whether it refuses connections, ``refuse`` the errcode
    that a data call with a body is answered with, None or 0 for the emulator's own answer;
    ``attempts`` has the moments of all attempts. Answers have the time of the emulator's clock,
    unless ``sends_date`` is False.
    """

    harness: VirtualTimeHarness
    rng: random.Random
    there: float = 0.02
    back: float = 0.02
    down: Callable[[float], bool] = lambda _: False
    refused: Callable[[float], bool] = lambda _: False
    refuse: Callable[[Call, bytes], int | None] = lambda _, __: None
    sends_date: bool = True
    attempts: list[float] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)

    async def post(self, path: str, body: bytes, token: Secret | None) -> tuple[int, bytes]:
        """Make one call as `Transport.post` does."""
        self.attempts.append(self.harness.now())
        if self.refused(self.harness.now()):
            raise NotConnected("127.0.0.1:9: connection refused")
        if self.down(self.harness.now()):
            await anyio.sleep(self.rng.uniform(0, self.there))
            raise Unreachable("the server was not reached")
        await anyio.sleep(self.rng.uniform(0, self.there))
        query = {"access_token": token.reveal()} if token else {}
        if token:
            self.calls.append(Call(self.harness.now(), self._holder(token), path))
            if errcode := self.refuse(self.calls[-1], body):
                await anyio.sleep(self.rng.uniform(0, self.back))
                return 200, b'{"errcode":%d,"errmsg":"refused"}' % errcode
        reply = self.harness.sandbox.answer(Request("POST", path, query, body))
        return await self._deliver(reply)

    def date(self) -> str:
        """Return the header ``Date`` of an answer that is delivered now."""
        return date_text(self.harness.now())

    def _holder(self, token: Secret) -> str:
        """Return the appid of the account whose token this is; empty if it is dead."""
        try:
            return self.harness.sandbox.tokens.find(token.reveal(), self.harness.now()).appid
        except Refused:
            return ""

    async def _deliver(self, reply: Reply) -> tuple[int, bytes]:
        took = reply.delay + self.rng.uniform(0, self.back)
        if took >= self.harness.timeout:
            await anyio.sleep(self.harness.timeout)
            raise CallTimedOut("no whole answer in time")
        await anyio.sleep(took)
        wire = wire_of(reply)
        if wire in (Wire.CLOSE, Wire.RESET, Wire.CUT):
            raise ConnectionFailed("the connection broke")
        if wire is Wire.GARBAGE:
            raise BadAnswer("an answer that is not HTTP")
        return reply.status, reply.body


async def _no_connection() -> NoReturn:
    raise AssertionError("there are no sockets in virtual time")


class _Transport:
    """A replacement for `transport.Transport`."""

    def __init__(self, net: FakeNetwork, on_date: Callable[[str], None]) -> None:
        self._net = net
        self._on_date = on_date
        self.pool = ConnectionPool(_no_connection, 1)
        self.in_hand = BytesInHand()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing to close."""

    async def post(
        self, account: str, path: str, body: bytes, token: Secret | None = None
    ) -> tuple[int, bytes]:
        del account
        answer = await self._net.post(path, body, token)
        if self._net.sends_date:
            self._on_date(self._net.date())
        return answer


@dataclass
class VirtualTimeHarness(RunHarness):
    """A run harness in virtual time; its runs need `in_virtual_time`.

    ``store_seconds`` is how long each operation on the output takes.
    """

    seed: int = 0
    timeout: float = 30.0
    store_seconds: float = 0.0
    time: Time = field(default_factory=Time)
    net: FakeNetwork = field(init=False)

    def __post_init__(self) -> None:
        """Start the clock, the emulator and the network."""
        super().__post_init__()
        self.net = FakeNetwork(self, random.Random(self.seed))

    def now(self) -> float:
        """Return the Unix time: that minute of ``today`` in Beijing, and the virtual time since."""
        return instant(parse_day(self.today), self.minute) + self.time.elapsed

    def advance(self, seconds: float) -> None:
        """Move the clock forward."""
        self.time.elapsed += seconds

    def sleep_until(self, day: Day, minutes: int = 0) -> None:
        """Move the clock to ``minutes`` after the start of a Beijing day."""
        self.advance(instant(day, minutes) - self.now())

    def run(
        self, tree: Tree | None = None, *, kill_after: float | None = None, **options: Any
    ) -> Record:
        """Execute one run. Raises Killed if it is killed after ``kill_after`` seconds."""

        async def watch(_: object) -> None:
            if kill_after is not None:
                await anyio.sleep(kill_after)
                raise Killed

        try:
            return run_once(
                self.manifest(),
                tree or self.tree,
                options=RunOptions(**options),
                context=self.world(),
                watch=watch,
            )
        except BaseExceptionGroup as group:
            if group.subgroup(Killed) is None:
                raise
            raise Killed from None

    @asynccontextmanager
    async def _reach(self) -> AsyncIterator[Api]:
        yield Api(timeout=self.timeout)

    def calls_of_day(self, day: Day) -> Counter[tuple[str, str]]:
        """Count the data calls of a Beijing day by account and path."""
        return Counter(
            (call.appid, call.path) for call in self.net.calls if calendar.today(call.at) == day
        )


@contextmanager
def in_virtual_time(harness: VirtualTimeHarness) -> Iterator[VirtualTimeHarness]:
    """Execute the runs of a harness in its virtual time while the block runs."""

    async def in_place(
        function: Callable[..., Any],
        *args: Any,
        limiter: anyio.CapacityLimiter | None = None,
        **_: object,
    ) -> Any:
        async with limiter or nullcontext():
            await anyio.sleep(harness.store_seconds)
            return function(*args)

    def transport(api: Api, *, on_date: Callable[[str], None], **_: object) -> _Transport:
        del api
        return _Transport(harness.net, on_date)

    factory = {"loop_factory": partial(VirtualLoop, harness.time)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(anyio, "run", partial(anyio.run, backend_options=factory))
        patch.setattr(anyio.to_thread, "run_sync", in_place)
        patch.setattr(access, "Transport", transport)
        # The delays of retries too, or one run in a hundred would be another one.
        patch.setattr(
            harvest, "random", SimpleNamespace(Random=partial(random.Random, harness.seed))
        )
        patch.setattr(os, "fsync", lambda _: None)
        yield harness

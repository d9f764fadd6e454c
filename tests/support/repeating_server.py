"""An emulator behind a broken proxy that sends answers again which no request asked for."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import parse_qsl

from harvester.core.calendar import Clock
from harvester.sandbox.calls import Request
from tests.support.fault_server import http, read_request
from tests.support.faulty_wechat import FaultyWeChat

MODES = ("at once", "late", "pieces", "early")


class RepeatingServer:
    """Repeats a share of the answers, in a mode of `MODES`; of tokens only, or of all.

    ``clock`` is the emulator's, for the Date of its answers. ``repeated`` counts the repeated
    answers by mode.
    """

    def __init__(
        self,
        sandbox: FaultyWeChat,
        clock: Clock,
        *,
        mode: str,
        share: float,
        tokens_only: bool = False,
    ) -> None:
        self._sandbox = sandbox
        self._clock = clock
        self._mode = mode
        self._share = share
        self._tokens_only = tokens_only
        self._rng = random.Random(7)
        self.connections = 0
        self.repeated: Counter[str] = Counter()

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[str]:
        """Serve on a free port while the block lasts; yields the address."""
        server = await asyncio.start_server(self._converse, "127.0.0.1", 0, backlog=1024)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        before = b""
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while not writer.is_closing():
                request = await read_request(reader)
                method, target, _ = request.line.split(" ")
                path, _, query = target.partition("?")
                asked = Request(method, path, dict(parse_qsl(query)), request.body)
                answer = http(self._sandbox.answer(asked).body, now=self._clock())
                repeats = self._rng.random() < self._share
                if repeats and (not self._tokens_only or "token" in path):
                    self.repeated[self._mode] += 1
                    self._write_twice(writer, answer, before)
                else:
                    writer.write(answer)
                await writer.drain()
                before = answer
        writer.close()

    def _write_twice(self, writer: asyncio.StreamWriter, answer: bytes, before: bytes) -> None:
        match self._mode:
            case "at once":
                writer.write(answer + answer)
            case "early":
                writer.write(before + answer)
            case "late":
                writer.write(answer)
                self._later(writer, [answer])
            case "pieces":
                writer.write(answer + answer[:20])
                self._later(writer, [answer[20:50], answer[50:]])

    def _later(self, writer: asyncio.StreamWriter, parts: list[bytes]) -> None:
        loop, delay = asyncio.get_running_loop(), 0.0
        for part in parts:
            delay += self._rng.choice((0.0, 0.001, 0.005, 0.02))
            loop.call_later(delay, writer.write, part)

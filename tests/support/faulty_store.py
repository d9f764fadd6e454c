"""A proxy before an S3 server that answers a share of the requests as stores do on a bad day.

The dice have a seed. Which request of a run meets which fault depends on the order in which its
threads ask, so a seed makes a day of the same kind again, and not the same day.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from anyio.from_thread import start_blocking_portal

from tests.support.fault_server import Request, http, read_request

FAULTS = ("500", "503", "409", "failed", "lost", "cut", "slow", "silent")
"""An answer with that status to a request that was not carried out; a request that was carried out,
and is answered with 500, or whose connection ends before or in the middle of its answer; an answer
that comes late, or never."""

_CODES = {
    "500": "InternalError",
    "503": "SlowDown",
    "409": "ConditionalRequestConflict",
    "403": "ExpiredToken",
}


@dataclass
class Weather:
    """Faults that requests are to meet, and those that they have met.

    Each request meets a fault with the chance ``rate``, one of ``faults``; the first request of all
    meets one for sure. A slow answer is ``late`` seconds late.
    """

    faults: tuple[str, ...]
    rate: float
    seed: int
    late: float = 3.0
    met: Counter[str] = field(default_factory=Counter)
    requests: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Throw in the seed."""
        self._dice = random.Random(self.seed)

    def fault_of(self, line: str) -> str | None:
        """Return the fault that a request meets, None for none."""
        is_first = not self.requests
        self.requests.append(line)
        if not (is_first or self._dice.random() < self.rate):
            return None
        fault = self._dice.choice(self.faults)
        self.met[fault] += 1
        return fault


class _Proxy:
    def __init__(self, address: str, weather: Weather) -> None:
        self._behind = urlsplit(address)
        self._weather = weather
        self.tasks: set[asyncio.Task[object]] = set()

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the one request of a connection."""
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await self._answer(reader, writer)
        writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await read_request(reader)
        fault = self._weather.fault_of(request.line)
        if fault in _CODES:
            writer.write(_refusal(request, fault))
            return
        answer = await self._from_behind(request.line, request.headers, request.body)
        if fault == "slow":
            await asyncio.sleep(self._weather.late)
        if fault == "cut":
            writer.write(answer[: len(answer) - 1 - len(answer.partition(b"\r\n\r\n")[2]) // 2])
        elif fault == "failed":
            writer.write(_refusal(request, "500"))
        elif fault == "silent":
            # Until the client has had enough.
            await reader.read()
        elif fault != "lost":
            writer.write(answer)

    async def _from_behind(self, line: str, headers: dict[str, str], body: bytes) -> bytes:
        """Let the server answer, on a connection that ends behind the answer."""
        reader, writer = await asyncio.open_connection(self._behind.hostname, self._behind.port)
        told = {**headers, "connection": "close"}
        lines = [line, *(f"{name}: {value}" for name, value in told.items())]
        writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        answer = await reader.read()
        writer.close()
        return answer


def _refusal(request: Request, status: str) -> bytes:
    body = f"<Error><Code>{_CODES[status]}</Code></Error>".encode()
    told = b"" if request.line.startswith("HEAD") else body
    line = f"{status} {_CODES[status]}"
    return http(told, status=line, headers="Connection: close\r\n", length=len(body))


@asynccontextmanager
async def _served(proxy: _Proxy) -> AsyncIterator[str]:
    server = await asyncio.start_server(proxy.converse, "127.0.0.1", 0, limit=1 << 20)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in proxy.tasks:
            task.cancel()
        await asyncio.gather(*proxy.tasks, return_exceptions=True)


@contextmanager
def faulty_store(address: str, weather: Weather) -> Iterator[str]:
    """Serve before an S3 server, in a thread; yield the address."""
    proxy = _Proxy(address, weather)
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(_served(proxy)) as served,
    ):
        yield served

"""Calls of accounts: each is one write on a connection that serves this account alone.

``ClientSession.post`` spends two thirds of a data call's CPU on redirects, cookies, middlewares,
traces and a task that writes sixty bytes, none of which such a call needs. The connections come
from `ConnectionPool`; name look-up, TLS, proxy tunnels, parser, flow control and decompression stay
aiohttp's, but some of these parts are undocumented, so aiohttp's version has an upper bound
(docs/decisions/0021).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import quote

import aiohttp
from aiohttp.connector import Connection
from yarl import URL

from harvester.core.errors import NotStarted
from harvester.core.hold import Hold
from harvester.core.secret import Secret
from harvester.wechat.connection_pool import ConnectionPool

MAX_BODY = 16 * 1024 * 1024
"""Maximum bytes of an answer, decompressed; WeChat's longest are some hundred KiB."""

MAX_READING = 16 << 20
"""Bytes of unfinished answers past which the oldest of them is read alone."""

MAX_READ = 8 << 20
"""Bytes of answers that are not durable yet past which nothing is read."""

_MAX_HEADS = 2048
_READ_AHEAD = 64 << 10
"""Half of the bytes of a body that a connection takes in before it waits for its reader."""

_SWITCHING_PROTOCOLS = 101


class HttpResponse(NamedTuple):
    """An HTTP response, and the number of its connection among those that are open.

    A body longer than `MAX_BODY` bytes is incomplete.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    connection: int


class BytesInHand:
    """Counter of the bytes of answers on their way from the network to the disk.

    There are at most `MAX_READING`, `MAX_READ`, twice the longest body, and what each connection
    has received unasked. ``on_wait`` is called whenever a reader has waited. While memory
    ``is_tight``, a body is read once all others are durable.
    """

    def __init__(self) -> None:
        self.read = 0
        self.is_tight = False
        self.on_wait: Callable[[], None] = lambda: None
        # The oldest comes first.
        self._reading: dict[object, int] = {}
        self._changed = asyncio.Event()

    def count(self, read: int) -> None:
        """Count so many more bytes as read, or fewer once they are durable."""
        self.read += read
        if read <= 0:
            self._changed.set()
            self._changed = asyncio.Event()

    async def read_body(self, content: aiohttp.StreamReader) -> bytes:
        """Read a whole body, or just over `MAX_BODY` bytes if it is longer."""
        parts, reader = [await content.readany()], object()
        if content.at_eof():
            return parts[0]
        size = self._reading[reader] = len(parts[0])
        try:
            while size <= MAX_BODY:
                while self._must_wait(reader):
                    await self._changed.wait()
                    self.on_wait()
                if not (part := await content.readany()):
                    break
                parts.append(part)
                size = self._reading[reader] = size + len(part)
            return b"".join(parts)
        finally:
            del self._reading[reader]
            self.count(0)

    def _must_wait(self, reader: object) -> bool:
        # The oldest waits for the disk alone, or unfinished answers would wait for each other.
        is_oldest = next(iter(self._reading)) is reader
        too_many = self.is_tight or sum(self._reading.values()) > MAX_READING
        most = 0 if self.is_tight else MAX_READ
        return self.read > most or (too_many and not is_oldest)


Exchange: TypeAlias = Coroutine[Any, Any, HttpResponse]


class AccountCalls:
    """Sender of calls to one server; ``pool`` holds the connections of the accounts.

    The headers are those of the session. At most ``max_connections`` are open, unless more are in
    use. ``hold`` is asked just before a request is written.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        base: URL,
        *,
        proxy: str | None,
        max_connections: int,
        hold: Hold,
    ) -> None:
        self._hold = hold
        self._connector = session.connector
        self._timeout = session.timeout
        through = URL(proxy) if proxy else None
        # Never sent: the connector reads from it which server to connect to, and by which proxy.
        self._server = aiohttp.ClientRequest("POST", base, session=session, proxy=through)
        lines = {"Host": self._server.headers["Host"], **session.headers}
        self._prefix = base.raw_path.rstrip("/")
        if through is not None and base.scheme == "http":
            # Without a tunnel each request is addressed to the proxy itself.
            self._prefix = f"{base.origin()}{self._prefix}"
            if through.user is not None:
                words = aiohttp.encode_basic_auth(through.user, through.password or "")
                lines["Proxy-Authorization"] = words
        self._lines = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        # Cached, because an account has many windows.
        self._post_head = lru_cache(_MAX_HEADS)(self._new_post_head)
        self.pool = ConnectionPool(self._connect, max_connections)
        self.in_hand = BytesInHand()

    # These methods are no coroutine functions, because one more coroutine for each call costs time.

    def post(self, account: str, path: str, body: bytes, token: Secret | None) -> Exchange:
        """Send a body, with a token if one is given. Raises aiohttp's errors."""
        # The head has no name, because it holds the token and error reporters print variables.
        return self._exchange(
            account, b"%b%d\r\n\r\n%b" % (self._post_head(path, token), len(body), body)
        )

    def get(self, account: str, path: str, query: str) -> Exchange:
        """Send a query, which may hold secrets. Raises aiohttp's errors."""
        return self._exchange(account, self._head("GET", f"{path}?{query}", b"\r\n"))

    async def _exchange(self, account: str, request: bytes) -> HttpResponse:
        connection = self.pool.take_idle(account) or await self.pool.open()
        try:
            protocol = connection.protocol
            transport = protocol.transport
            if transport is None:
                raise aiohttp.ServerDisconnectedError
            protocol.set_response_params(read_until_eof=True, read_bufsize=_READ_AHEAD)
            # Here, because a token or a connection may have taken long since it was handed out.
            refuse_without_lease(self._hold)
            transport.write(request)
            message, content = await protocol.read()
            while 100 <= message.code < 200 and message.code != _SWITCHING_PROTOCOLS:
                message, content = await protocol.read()
            body = await read_body(content, self.in_hand)
            response = HttpResponse(message.code, message.headers, body, id(protocol))
        except BaseException:
            self.pool.discard(connection)
            raise
        # Only here: after any failure a late answer would be read as that of the next request.
        self.pool.give_back(account, connection)
        return response

    async def _connect(self) -> Connection:
        connector = self._connector
        if connector is None:
            raise aiohttp.ClientConnectionError
        try:
            return await connector.connect(self._server, [], self._timeout)
        except TimeoutError:
            # A type of its own, as the session raises it, because nothing has been sent yet.
            raise aiohttp.ConnectionTimeoutError from None

    def _new_post_head(self, path: str, token: Secret | None) -> bytes:
        """Return the head of a request up to the length of its body."""
        query = f"?access_token={quoted(token)}" if token else ""
        return self._head("POST", f"{path}{query}", b"Content-Length: ")

    def _head(self, method: str, target: str, end: bytes) -> bytes:
        return f"{method} {self._prefix}{target} HTTP/1.1\r\n{self._lines}".encode("ascii") + end


def refuse_without_lease(hold: Hold) -> None:
    """Raise NotStarted if the lease of this run's buckets was not renewed in time."""
    if not hold.is_good():
        raise NotStarted("the lease of this run's buckets was not renewed in time")


async def read_body(content: aiohttp.StreamReader, in_hand: BytesInHand) -> bytes:
    """Read the whole body, or just over `MAX_BODY` bytes if it is longer."""
    if content.is_eof() and content.exception() is None:
        # It came in one piece with its head, as most do. To read it would resume the transport and
        # the parser, which costs more than to parse it did.
        return b"".join(content._buffer)  # noqa: SLF001 - as the decision 0021 says
    return await in_hand.read_body(content)


def quoted(value: Secret | str) -> str:
    """Quote a value for a query."""
    text = value.reveal() if isinstance(value, Secret) else value
    return quote(text, safe="", errors="replace")

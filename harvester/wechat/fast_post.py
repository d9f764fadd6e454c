"""One POST on a connection of aiohttp's pool, for the one kind of call of which there are millions.

``ClientSession.post`` spends two thirds of a call's CPU on what a data call never has: redirects,
cookies, middlewares, traces, a task to write sixty bytes. Here a request is one piece of bytes. The
pool and its limit, names, TLS, the parser, flow control and unpacking are aiohttp's as ever, but
some of these parts are not documented: hence aiohttp's ceiling (docs/decisions/0021).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple, cast
from urllib.parse import quote

import aiohttp
from yarl import URL

from harvester.core.secret import Secret

if TYPE_CHECKING:
    from aiohttp.client_proto import ResponseHandler

MAX_BODY = 16 * 1024 * 1024
"""The most bytes of an answer, unpacked; WeChat's longest are some hundred KiB."""

_REMEMBERED = 2048
_SWITCHING_PROTOCOLS = 101


class Reply(NamedTuple):
    """An answer as it came. A body longer than `MAX_BODY` is not whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Exchange:
    """Posts to one server through the connections of a session."""

    def __init__(
        self, session: aiohttp.ClientSession, base: URL, headers: Mapping[str, str]
    ) -> None:
        self._connector = cast("aiohttp.BaseConnector", session.connector)
        self._timeout = session.timeout
        self._base = base.raw_path.rstrip("/")
        # What the pool knows a server by, and connects to. It is never sent.
        self._server = aiohttp.ClientRequest("POST", base, session=session)
        lines = {"Host": self._server.headers["Host"], **headers}
        self._lines = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self._heads: dict[tuple[str, Secret], bytes] = {}

    async def post(self, path: str, token: Secret, body: bytes) -> Reply:
        """Send a body with a token. Raises what `aiohttp` raises."""
        try:
            connection = await self._connector.connect(self._server, [], self._timeout)
        except TimeoutError:
            # Told from an answer that is late, as the session does it.
            raise aiohttp.ConnectionTimeoutError from None
        try:
            protocol = cast("ResponseHandler", connection.protocol)
            # A server that spoke unasked while nobody looked: its words answer no question of ours.
            if connection.transport is None or protocol.should_close:
                raise aiohttp.ServerDisconnectedError
            protocol.set_response_params(read_until_eof=True)
            # No name holds the head: a reporter that prints variables finds no token.
            connection.transport.write(
                b"%b%d\r\n\r\n%b" % (self._head(path, token), len(body), body)
            )
            message, content = await protocol.read()
            while 100 <= message.code < 200 and message.code != _SWITCHING_PROTOCOLS:
                message, content = await protocol.read()
            reply = Reply(message.code, message.headers, await read(content))
        except BaseException:
            # What is still under way must not be taken for the answer to the next request.
            connection.close()
            raise
        connection.release()
        return reply

    def _head(self, path: str, token: Secret) -> bytes:
        """All that goes before the length of the body; an account has hundreds of windows."""
        head = self._heads.get((path, token))
        if head is None:
            if len(self._heads) >= _REMEMBERED:
                self._heads.clear()
            target = f"{self._base}{path}?access_token={quoted(token)}"
            head = self._heads[path, token] = (
                f"POST {target} HTTP/1.1\r\n{self._lines}Content-Length: ".encode("ascii")
            )
        return head


async def read(content: aiohttp.StreamReader) -> bytes:
    """The whole body, or as much of one that is too long as shows it."""
    first = await content.readany()
    if content.at_eof():
        return first
    parts, size = [first], len(first)
    while size <= MAX_BODY and (part := await content.readany()):
        parts.append(part)
        size += len(part)
    return b"".join(parts)


def quoted(value: Secret | str) -> str:
    """A value as it stands in a query."""
    text = value.reveal() if isinstance(value, Secret) else value
    return quote(text, safe="", errors="replace")

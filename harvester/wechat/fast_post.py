"""Fast POST of data calls on a connection of aiohttp's pool.

``ClientSession.post`` spends two thirds of a data call's CPU on redirects, cookies, middlewares,
traces and a task that writes sixty bytes, none of which a data call needs. Here a request is one
write. The pool and its limit, name look-up, TLS, parser, flow control and decompression stay
aiohttp's, but some of these parts are undocumented, so aiohttp's version has an upper bound
(docs/decisions/0021).
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
"""Maximum bytes of an answer, decompressed; WeChat's longest are some hundred KiB."""

_MAX_HEADS = 2048
_SWITCHING_PROTOCOLS = 101


class HttpResponse(NamedTuple):
    """An answer as it came. A body longer than `MAX_BODY` is incomplete."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class FastPost:
    """Sender of data calls to one server, through the connections of a session."""

    def __init__(
        self, session: aiohttp.ClientSession, base: URL, headers: Mapping[str, str]
    ) -> None:
        self._connector = cast("aiohttp.BaseConnector", session.connector)
        self._timeout = session.timeout
        self._base = base.raw_path.rstrip("/")
        # Never sent: the pool reads from it which server to connect to.
        self._server = aiohttp.ClientRequest("POST", base, session=session)
        lines = {"Host": self._server.headers["Host"], **headers}
        self._lines = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self._heads: dict[tuple[str, Secret], bytes] = {}

    async def post(self, path: str, token: Secret, body: bytes) -> HttpResponse:
        """Send a body with a token and return the answer. Raises aiohttp's errors."""
        try:
            connection = await self._connector.connect(self._server, [], self._timeout)
        except TimeoutError:
            # A type of its own, as the session raises it, because nothing has been sent yet.
            raise aiohttp.ConnectionTimeoutError from None
        try:
            protocol = cast("ResponseHandler", connection.protocol)
            # Unsolicited bytes on an idle connection must not be read as the next response.
            if connection.transport is None or protocol.should_close:
                raise aiohttp.ServerDisconnectedError
            protocol.set_response_params(read_until_eof=True)
            # The head has no name, because it holds the token and error reporters print variables.
            connection.transport.write(
                b"%b%d\r\n\r\n%b" % (self._head(path, token), len(body), body)
            )
            message, content = await protocol.read()
            while 100 <= message.code < 200 and message.code != _SWITCHING_PROTOCOLS:
                message, content = await protocol.read()
            response = HttpResponse(message.code, message.headers, await read_body(content))
        except BaseException:
            # Closed, because a late answer must not be read as the next response.
            connection.close()
            raise
        connection.release()
        return response

    def _head(self, path: str, token: Secret) -> bytes:
        """Return all that precedes the body's length; cached, as an account has many windows."""
        head = self._heads.get((path, token))
        if head is None:
            if len(self._heads) >= _MAX_HEADS:
                self._heads.clear()
            target = f"{self._base}{path}?access_token={quoted(token)}"
            head = self._heads[path, token] = (
                f"POST {target} HTTP/1.1\r\n{self._lines}Content-Length: ".encode("ascii")
            )
        return head


async def read_body(content: aiohttp.StreamReader) -> bytes:
    """Read the whole body; of one that is too long, just over `MAX_BODY` bytes."""
    first = await content.readany()
    if content.at_eof():
        return first
    parts, size = [first], len(first)
    while size <= MAX_BODY and (part := await content.readany()):
        parts.append(part)
        size += len(part)
    return b"".join(parts)


def quoted(value: Secret | str) -> str:
    """Quote a value for a query."""
    text = value.reveal() if isinstance(value, Secret) else value
    return quote(text, safe="", errors="replace")

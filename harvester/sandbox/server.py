"""The emulator on a socket: HTTP in, `FakeWeChat.answer`, HTTP out.

One low-level handler, without routes and access log, so that the server costs less than the client
it measures. All rules are in `harvester.sandbox.server_state`.
"""

from __future__ import annotations

import asyncio
import functools
import socket
import struct
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from email.utils import formatdate
from urllib.parse import parse_qsl

import anyio
from aiohttp import hdrs, web

from harvester.sandbox.call_faults import Wire
from harvester.sandbox.calls import Reply, Request
from harvester.sandbox.server_state import FakeWeChat

_SHUTDOWN_SECONDS = 0.2
"""Seconds that pending answers have when the server stops."""

_BROKEN = {Wire.CLOSE, Wire.RESET, Wire.CUT, Wire.GARBAGE, Wire.UNTIL_CLOSED}
"""Parts after which the connection ends."""

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""The value of SO_LINGER with which a close resets the connection."""


@asynccontextmanager
async def serve(wechat: FakeWeChat, *, port: int = 0) -> AsyncIterator[str]:
    """Serve an emulator while the block runs, and yield its address, ``http://127.0.0.1:8080``.

    Port 0 takes a free one. Raises OSError if the port is taken.
    """

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        path, query = _target(request.raw_path)
        unsized = hdrs.TRANSFER_ENCODING in request.headers
        reply = wechat.answer(Request(request.method, path, query, await request.read(), unsized))
        if reply.delay:
            await asyncio.sleep(reply.delay)
        if reply.wire in _BROKEN:
            _break_off(request, reply, date_text(wechat.now()))
        headers = {hdrs.CONTENT_TYPE: reply.content_type, hdrs.DATE: date_text(wechat.now())}
        response = web.Response(body=reply.body, status=reply.status, headers=headers)
        if reply.wire is Wire.CHUNKS:
            response.enable_chunked_encoding()
        elif reply.wire is Wire.COMPRESSED:
            response.enable_compression(web.ContentCoding.gzip)
        return response

    server = web.Server(handle, access_log=None, handler_cancellation=True)
    runner = web.ServerRunner(server, shutdown_timeout=_SHUTDOWN_SECONDS)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", port, backlog=1024)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def run(wechat: FakeWeChat, *, port: int = 0, announce: Callable[[str], object]) -> None:
    """Serve an emulator until a signal ends the process.

    ``announce`` gets the address as soon as connections are accepted. Raises OSError if the port is
    taken.
    """

    async def until_ended() -> None:
        async with serve(wechat, port=port) as address:
            announce(address)
            await anyio.sleep_forever()

    anyio.run(until_ended)


# A client sends the same target for every call of a token and an API, so the result is cached.
@functools.lru_cache(maxsize=16_384)
def _target(raw_path: str) -> tuple[str, Mapping[str, str]]:
    """Split a request's target into its path and its query."""
    path, _, query = raw_path.partition("?")
    return path, dict(parse_qsl(query))


def date_text(now: float) -> str:
    """Return a moment, in seconds since the Unix epoch, as in the header ``Date``."""
    return _date_text(int(now))


@functools.lru_cache(maxsize=16)
def _date_text(second: int) -> str:
    return formatdate(second, usegmt=True)


def _break_off(request: web.BaseRequest, reply: Reply, date: str) -> None:
    """Send a part of a reply and close the connection; a later response has no effect."""
    transport = request.transport
    if transport is None:
        return
    transport.write(_fragment(reply, date))
    if reply.wire is Wire.RESET:
        transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE
        )
        transport.abort()
    transport.close()


def _fragment(reply: Reply, date: str) -> bytes:
    """Return the bytes that are sent before the connection ends."""
    if reply.wire is Wire.GARBAGE:
        return b"\x16\x03\x01 no HTTP at all\r\n\r\n"
    head = f"HTTP/1.1 {reply.status} OK\r\nContent-Type: {reply.content_type}\r\nDate: {date}\r\n"
    if reply.wire is Wire.CUT:
        head += f"Content-Length: {len(reply.body)}\r\n\r\n"
        return head.encode() + reply.body[: len(reply.body) // 2]
    if reply.wire is Wire.UNTIL_CLOSED:
        return f"{head}Connection: close\r\n\r\n".encode() + reply.body
    return b""

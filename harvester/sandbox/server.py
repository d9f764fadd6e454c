"""The sandbox on a socket: HTTP in, `World.answer`, HTTP out.

One low-level handler, no routes and no access log, so that the server costs less than the client it
is there to measure. All rules are in `harvester.sandbox.server_state`.
"""

from __future__ import annotations

import asyncio
import functools
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from urllib.parse import parse_qsl

import anyio
from aiohttp import hdrs, web

from harvester.sandbox.call_faults import Wire
from harvester.sandbox.calls import Reply, Request
from harvester.sandbox.server_state import FakeWeChat

_GOODBYE = 0.2
"""Seconds that answers under way get when the server stops."""

_NO_LINGER = struct.pack("ii", 1, 0)


@asynccontextmanager
async def serve(world: FakeWeChat, *, port: int = 0) -> AsyncIterator[str]:
    """Serve a world while the block runs, and give its address, such as ``http://127.0.0.1:8080``.

    Port 0 takes a free one. Raises OSError if the port is taken.
    """
    server = web.Server(_handler(world), access_log=None, handler_cancellation=True)
    runner = web.ServerRunner(server, shutdown_timeout=_GOODBYE)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", port, backlog=1024)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def run(world: FakeWeChat, *, port: int = 0, announce: Callable[[str], object]) -> None:
    """Serve a world until a signal ends the process.

    ``announce`` gets the address as soon as connections are accepted. Raises OSError if the port is
    taken.
    """

    async def until_ended() -> None:
        async with serve(world, port=port) as address:
            announce(address)
            await anyio.sleep_forever()

    anyio.run(until_ended)


def _handler(world: FakeWeChat) -> Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]:
    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        reply = world.answer(await _read(request))
        if reply.delay:
            await asyncio.sleep(reply.delay)
        if reply.wire is not Wire.WHOLE:
            _break_off(request, reply)
        return web.Response(
            body=reply.body, status=reply.status, headers={hdrs.CONTENT_TYPE: reply.content_type}
        )

    return handle


async def _read(request: web.BaseRequest) -> Request:
    path, query = _target(request.raw_path)
    return Request(
        request.method, path, query, await request.read(), hdrs.TRANSFER_ENCODING in request.headers
    )


@functools.lru_cache(maxsize=16_384)
def _target(raw_path: str) -> tuple[str, Mapping[str, str]]:
    """The path and the query of a request line. A token makes thousands of calls, so it is kept."""
    path, _, query = raw_path.partition("?")
    return path, dict(parse_qsl(query))


def _break_off(request: web.BaseRequest, reply: Reply) -> None:
    """Leave the client with less than an answer. What aiohttp sends afterwards reaches nobody."""
    transport = request.transport
    if transport is None:
        return
    transport.write(_fragment(reply))
    if reply.wire is Wire.RESET:
        transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER
        )
        transport.abort()
    transport.close()


def _fragment(reply: Reply) -> bytes:
    """What of a broken answer is sent before the connection ends."""
    if reply.wire is Wire.GARBAGE:
        return b"\x16\x03\x01 no HTTP at all\r\n\r\n"
    if reply.wire is Wire.CUT:
        head = (
            f"HTTP/1.1 {reply.status} OK\r\nContent-Type: {reply.content_type}\r\n"
            f"Content-Length: {len(reply.body)}\r\n\r\n"
        )
        return head.encode() + reply.body[: len(reply.body) // 2]
    return b""

"""The emulator on a socket: HTTP in, `FakeWeChat.answer`, HTTP out.

One low-level handler, without routes and access log, so that the server costs less than the client
it measures. All rules are in `harvester.sandbox.server_state`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
from aiohttp import hdrs, web

from harvester.sandbox.calls import Request, date_text
from harvester.sandbox.server_state import FakeWeChat

_SHUTDOWN_SECONDS = 0.2
"""Seconds that pending answers have when the server stops."""


@asynccontextmanager
async def serve(wechat: FakeWeChat, *, port: int = 0) -> AsyncIterator[str]:
    """Serve an emulator while the block runs, and yield its address, ``http://127.0.0.1:8080``.

    Port 0 takes a free one. Raises OSError if the port is taken.
    """

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        unsized = hdrs.TRANSFER_ENCODING in request.headers
        body = await request.read()
        asked = Request(request.method, request.path, request.query, body, unsized)
        reply = wechat.answer(asked)
        if reply.delay:
            await asyncio.sleep(reply.delay)
        if reply.raw is not None and request.transport is not None:
            # The response that follows has no effect on a closed connection.
            reply.raw(request.transport)
            request.transport.close()
        date = date_text(int(wechat.now())) + wechat.date_comment
        headers = {hdrs.CONTENT_TYPE: reply.content_type, hdrs.DATE: date}
        return web.Response(body=reply.body, status=reply.status, headers=headers)

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

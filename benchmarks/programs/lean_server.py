"""A sandbox that remembers its answers by the bytes of the request: it takes a tenth of the CPU.

Its address is on the first line of stdout. Where clients and the server share two cores, a server
that takes as much as a client would be what is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from urllib.parse import parse_qsl

from harvester.sandbox import FakeWeChat, Rules
from harvester.sandbox.calls import Request
from tests.support.fault_server import http

_END = b"\r\n\r\n"


class Conversation(asyncio.Protocol):
    """One connection, on which a request comes once the one before is answered."""

    def __init__(self, wechat: FakeWeChat, latency: float, known: dict[bytes, bytes]) -> None:
        self._wechat = wechat
        self._latency = latency
        self._known = known
        self._data = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer a request once it is whole."""
        self._data += data
        answer = self._known.get(self._data) or self._answer()
        if answer is not None:
            self._data = b""
            asyncio.get_running_loop().call_later(self._latency, self._write, answer)

    def _write(self, answer: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(answer)

    def _answer(self) -> bytes | None:
        """Return the answer to the request, None if there is more of it to come."""
        head, end, body = self._data.partition(_END)
        line, *headers = head.decode().split("\r\n")
        named = dict(header.lower().split(": ", 1) for header in headers)
        if not end or len(body) < int(named.get("content-length", "0")):
            return None
        method, target, _ = line.split(" ")
        path, _, query = target.partition("?")
        reply = self._wechat.answer(Request(method, path, dict(parse_qsl(query)), body))
        answer = http(reply.body)
        if path.startswith("/datacube/"):
            self._known[self._data] = answer
        return answer


async def serve(latency: float) -> None:
    """Serve until terminated; an answer takes ``latency`` seconds."""
    wechat, known = FakeWeChat(Rules(), time.time), dict[bytes, bytes]()
    server = await asyncio.get_running_loop().create_server(
        lambda: Conversation(wechat, latency, known), "127.0.0.1", 0, backlog=4096
    )
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


def main() -> None:
    """Serve until terminated."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--latency", type=float, default=0.0)
    asyncio.run(serve(parser.parse_args().latency))


if __name__ == "__main__":
    main()

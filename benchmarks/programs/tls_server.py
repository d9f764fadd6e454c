"""A sandbox behind TLS or plain HTTP: its address and its certificate on two lines of stdout."""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import parse_qsl

from benchmarks.cached_answers import CachedWeChat
from harvester.sandbox import FakeWeChat, Rules
from harvester.sandbox.calls import Request
from tests.support.fault_server import certificate, http, read_request


async def serve(wechat: FakeWeChat, latency: float, *, tls: bool) -> None:
    """Serve until terminated; an answer takes ``latency`` seconds."""

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                asked = await read_request(reader)
                method, target, _ = asked.line.split(" ")
                path, _, query = target.partition("?")
                reply = wechat.answer(Request(method, path, dict(parse_qsl(query)), asked.body))
                if latency:
                    await asyncio.sleep(latency)
                writer.write(http(reply.body))
        writer.close()

    context, public = certificate(Path(tempfile.mkdtemp()))
    server = await asyncio.start_server(
        converse, "127.0.0.1", 0, ssl=context if tls else None, backlog=4096
    )
    port = server.sockets[0].getsockname()[1]
    print(f"http{'s' if tls else ''}://127.0.0.1:{port}", public, sep="\n", flush=True)
    await server.serve_forever()


def main() -> None:
    """Serve until terminated."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--latency", type=float, default=0.0)
    parser.add_argument("--tls", action="store_true")
    options = parser.parse_args()
    wechat = CachedWeChat(Rules(), time.time, most=80_000)
    asyncio.run(serve(wechat, options.latency, tls=options.tls))


if __name__ == "__main__":
    main()

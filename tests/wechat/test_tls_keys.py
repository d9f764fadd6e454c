"""SSLKEYLOGFILE, with which Python writes the keys of TLS sessions to a file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CALLS = """
import asyncio, pathlib, ssl, sys
import aiohttp
from harvester.core.config.settings import Api
from harvester.core.errors import CallError
from harvester.core.secret import Secret
from harvester.wechat.transport import Transport
from tests.support.fault_server import certificate, fault_server, http, say

async def main():
    folder = pathlib.Path(sys.argv[1])
    tls, public = certificate(folder)
    async with fault_server(say(http()), tls=tls) as server:
        if sys.argv[2] == "aiohttp":
            async with aiohttp.ClientSession() as session:
                try:
                    await session.get(server.url)
                except aiohttp.ClientSSLError as error:
                    print(type(error).__name__)
            return
        for file in (public, None):
            api = Api(base_url=server.url, ca_file=file)
            async with Transport(api, connections=1) as transport:
                try:
                    print(*await transport.post("wx0", "/x", b"{}", Secret("canary-token")))
                except CallError as error:
                    print(type(error).__name__)

asyncio.run(main())
"""


@pytest.mark.parametrize(("client", "logged"), [("harvester", False), ("aiohttp", True)])
def test_no_session_key_is_written(tmp_path: Path, client: str, *, logged: bool) -> None:
    """Neither with a ca_file nor without, though aiohttp by itself would write them."""
    log = tmp_path / "keys"
    root = Path(__file__).parents[2]
    environ = {**os.environ, "SSLKEYLOGFILE": str(log), "PYTHONPATH": str(root)}
    command = [sys.executable, "-c", CALLS, str(tmp_path), client]
    ended = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    calls = ["ClientConnectorCertificateError"] if logged else ["200 b'{\"list\":[]}'", "BadTls"]
    assert ended.stdout.splitlines() == calls
    assert ("TRAFFIC_SECRET" in log.read_text()) is logged

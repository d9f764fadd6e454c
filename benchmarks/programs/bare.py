"""The yardstick: the least that a client does with aiohttp.

A hundred workers post, read and parse until nothing is left. No retry, no limit, no check, and
what came is thrown away.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import orjson

from benchmarks.workload import HOURLY, Load, bodies, read_load

WORKERS = 100


async def token_of(session: aiohttp.ClientSession, address: str, appid: str) -> str:
    """The account's token."""
    asked = {
        "grant_type": "client_credential",
        "appid": appid,
        "secret": "not-a-secret",
        "force_refresh": False,
    }
    async with session.post(f"{address}/cgi-bin/stable_token", json=asked) as response:
        granted = orjson.loads(await response.read())
    return str(granted["access_token"])


async def work(
    session: aiohttp.ClientSession, urls: dict[str, str], windows: Iterator[tuple[str, bytes]]
) -> int:
    """Ask until there is nothing left to ask; gives the number of rows."""
    rows = 0
    for appid, body in windows:
        async with session.post(urls[appid], data=body) as response:
            answer = orjson.loads(await response.read())
        rows += len(answer["list"])
    return rows


async def harvest(load: Load) -> int:
    """Fetch the load; gives the number of rows."""
    connector = aiohttp.TCPConnector(limit=WORKERS)
    async with aiohttp.ClientSession(connector=connector) as session:
        urls = {}
        if load.days:
            for appid in load.appids:
                token = await token_of(session, load.address, appid)
                urls[appid] = f"{load.address}{HOURLY}?access_token={token}"
        windows = bodies(load)
        rows = await asyncio.gather(*(work(session, urls, windows) for _ in range(WORKERS)))
    return sum(rows)


if __name__ == "__main__":
    print(json.dumps({"rows": asyncio.run(harvest(read_load(Path(sys.argv[1]))))}))

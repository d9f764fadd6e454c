"""A simple script for comparison: gather, a semaphore, dicts, pandas, one Parquet file."""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pandas as pd  # type: ignore[import-untyped]

from benchmarks.programs.bare import token_of
from benchmarks.workload import BEGIN, HOURLY, Load, read_load
from harvester.core.calendar import day_text

AT_ONCE = 100


class Fetcher:
    """Asks for one day at a time, AT_ONCE of them at once."""

    def __init__(self, session: aiohttp.ClientSession, address: str) -> None:
        self._session = session
        self._address = address
        self._gate = asyncio.Semaphore(AT_ONCE)

    async def fetch(self, appid: str, token: str, date: str) -> list[dict[str, Any]]:
        """One day's rows."""
        url = f"{self._address}{HOURLY}?access_token={token}"
        asked = {"begin_date": date, "end_date": date}
        async with self._gate, self._session.post(url, json=asked) as response:
            answer = await response.json(content_type=None)
        return [{"appid": appid, **row} for row in answer["list"]]


async def harvest(load: Load) -> list[list[dict[str, Any]]]:
    """Every answer's rows."""
    async with aiohttp.ClientSession() as session:
        fetcher = Fetcher(session, load.address)
        calls = []
        for appid in load.appids if load.days else ():
            token = await token_of(session, load.address, appid)
            calls += [
                fetcher.fetch(appid, token, day_text(day)) for day in range(BEGIN, load.end + 1)
            ]
        return await asyncio.gather(*calls)


def main(load: Load, target: Path) -> None:
    """Fetch the load and write it to a file; prints the number of rows."""
    answers = asyncio.run(harvest(load))
    frame = pd.DataFrame(itertools.chain.from_iterable(answers))
    frame.to_parquet(target)
    print(json.dumps({"rows": len(frame)}))


if __name__ == "__main__":
    main(read_load(Path(sys.argv[1])), Path(sys.argv[2]))

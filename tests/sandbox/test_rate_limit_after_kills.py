"""The limit as a server counts it over real HTTP: fifty accounts, faults, and processes killed."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import time

import pytest

from harvester.core.exit_codes import Exit
from harvester.sandbox.server import serve
from tests.end_to_end.test_kills import ENVIRONMENT, PYTHON
from tests.support.counting_wechat import StrictRules
from tests.support.faulty_wechat import FaultyWeChat as Sandbox
from tests.support.run_harness import appid

MANIFEST = """
api: {{base_url: "{address}"}}
defaults: {{credential: {{secret: "${{SECRET}}"}}}}
accounts:
{accounts}
jobs: [{{datasets: interface_summary_hour, begin_date: 2026-01-01, end_date: 2026-01-{last}}}]
limits: {{per_token: {{rate: {rate}, burst: {burst}, concurrency: 4}}}}
output: output
"""


class CountedRuns:
    """Runs against an emulator that counts every call."""

    def __init__(self, folder: Path, wechat: Sandbox, address: str) -> None:
        self.wechat = wechat
        self._folder = folder
        self._address = address

    def write(self, rate: str, burst: int, last: int) -> None:
        """Write a manifest of fifty accounts, for the days up to ``last`` of the month."""
        accounts = "\n".join(f"  - appid: {appid(number)}" for number in range(1, 51))
        text = MANIFEST.format(
            address=self._address, accounts=accounts, rate=rate, burst=burst, last=last
        )
        (self._folder / "jobs.yaml").write_text(text)

    async def run(self, seconds: float) -> int:
        """Run once, killed after ``seconds``; return the exit code."""
        command = (*PYTHON, "harvester", "run", str(self._folder / "jobs.yaml"))
        silence = asyncio.subprocess.DEVNULL
        process = await asyncio.create_subprocess_exec(
            *command, stdout=silence, stderr=silence, env=ENVIRONMENT
        )
        try:
            async with asyncio.timeout(seconds):
                return await process.wait()
        except TimeoutError:
            process.send_signal(signal.SIGKILL)
            return await process.wait()


@asynccontextmanager
async def counted_runs(folder: Path, limit: tuple[int, float]) -> AsyncIterator[CountedRuns]:
    """Serve an emulator with this limit, in which a tenth of all calls fails."""
    wechat = Sandbox(StrictRules(window_limit=limit, fault_rate=0.1, latency_jitter=0.02), time)
    async with serve(wechat) as address:
        yield CountedRuns(folder, wechat, address)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rate", "limit", "burst"),
    [("4/s", (4, 1.0), 1), ("4/s", (4, 1.0), 4), ("20/min", (20, 60.0), 20)],
)
async def test_the_rate_limit_holds_however_often_runs_are_killed(
    tmp_path: Path, rate: str, limit: tuple[int, float], burst: int
) -> None:
    """Runs are killed every few seconds, until one is done or twelve have run."""
    rng = random.Random(burst)
    async with counted_runs(tmp_path, limit) as runs:
        runs.write(rate, burst, 20)
        for _ in range(12):
            if await runs.run(rng.uniform(2.0, 6.0)) == Exit.DONE:
                break
        worst = runs.wechat.peak_load().values()
        assert len(worst) == 50
        assert max(worst) <= limit[0]
        assert runs.wechat.counters.errcodes[45011] == 0

from __future__ import annotations

import asyncio
from functools import partial

import anyio
import pytest

from harvester.core.config.settings import Pace
from harvester.core.model import Rate
from harvester.engine.rate_limiter import RATE_MARGIN, RateLimiter
from tests.support.fake_time import Time, VirtualLoop

COUNT, PERIOD = 10, 2.0


async def starts(limiter: RateLimiter, time: Time) -> list[float]:
    """Moments at which thirty requests start of an account that always has more to ask."""
    begun: list[float] = []
    while len(begun) < 30:
        if limiter.can_start("wx"):
            await limiter.take("wx")
            begun.append(time.elapsed)
        else:
            await anyio.sleep(0.001)
    return begun


@pytest.mark.parametrize("burst", [1, 2, 5])
def test_a_burst_starts_at_once_and_the_rest_evenly(burst: int) -> None:
    """The limiter runs ahead of the rate by its margins alone, and never by a second burst."""
    time = Time()
    limiter = RateLimiter(Pace(Rate(COUNT, PERIOD), burst, concurrency=8))
    with asyncio.Runner(loop_factory=partial(VirtualLoop, time)) as runner:
        begun = runner.run(starts(limiter, time))
    gap = PERIOD / COUNT * RATE_MARGIN**2
    assert begun[burst - 1] < 0.001
    for number, at in enumerate(begun[burst:], 1):
        # A poll may come up to a millisecond late.
        assert number * gap - 0.001 <= at <= number * (gap + 0.002)

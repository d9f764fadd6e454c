"""Cost of allocating a request among many account queues. Prints CPU microseconds.

Every lane is paced, granted its calls in blocks, and asked in turn, as in a run over as many
accounts; the clock, also that of the spacing, goes on as fast as they may be asked together.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import random
import sys
import time

from benchmarks.workload import BEGIN, appids
from harvester.catalogue import CATALOGUE
from harvester.core.calendar import day_range
from harvester.core.config.settings import Limits, Pace, Retry
from harvester.core.model import Rate
from harvester.engine.rate_limiter import RateLimiter
from harvester.scheduling.account_queue import AccountQueue, Attempt, Backlog
from harvester.scheduling.scheduler import Scheduler

PACE = Pace(Rate(10, 1.0), burst=1, concurrency=4)
WINDOWS = 20
FLIGHT = 100
BLOCK = 10_000
REPEATS = 5
"""The least of them counts: whatever else the machine does only adds."""


class Clock(asyncio.SelectorEventLoop):
    """A loop whose clock stands until it is moved: the spacing reads it too."""

    now = 1e9

    def time(self) -> float:
        """The moment it was moved to."""
        return self.now


async def measure(count: int, clock: Clock) -> dict[str, float]:
    """Ask everything once; that a request takes its room in the spacing is part of its grant."""
    lanes = [
        AccountQueue(
            appid,
            0,
            [Backlog(CATALOGUE["interface_summary_hour"], day_range(BEGIN, BEGIN + WINDOWS - 1))],
        )
        for appid in itertools.islice(appids(), count)
    ]
    spacing = RateLimiter(PACE)
    limits = Limits(per_token=PACE)
    schedule = Scheduler(lanes, limits, policy=Retry(), limiter=spacing, jitter=random.Random(1))
    schedule.start_day(0.0)
    for lane, work in schedule.refill_requests:
        schedule.allocate(lane, work, BLOCK, "", 0.0)
    granting, answering = 0.0, 0.0
    while not schedule.is_finished(clock.now):
        # The lanes together may ask so often.
        clock.now += FLIGHT / (count * PACE.rate.count)
        begun = time.process_time()
        flying = await _grant(schedule, spacing, clock.now)
        granted = time.process_time()
        for attempt in flying:
            schedule.answered(attempt, clock.now)
        granting += granted - begun
        answering += time.process_time() - granted
    asked = count * WINDOWS
    return {
        "a grant": granting / asked * 1e6,
        "a grant and its answer": (granting + answering) / asked * 1e6,
    }


async def _grant(schedule: Scheduler, spacing: RateLimiter, now: float) -> list[Attempt]:
    """Take all attempts that may start at once, up to the number of connections."""
    found: list[Attempt] = []
    while len(found) < FLIGHT:
        attempt = schedule.next(now)
        if attempt is None:
            break
        await spacing.take(attempt.queue.appid)
        found.append(attempt)
    return found


def _measured(count: int) -> dict[str, float]:
    clock = Clock()
    with asyncio.Runner(loop_factory=lambda: clock) as runner:
        return runner.run(measure(count, clock))


def main() -> None:
    """Measure with the number of account queues in the first argument."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    found = [_measured(int(sys.argv[1])) for _ in range(REPEATS)]
    print(json.dumps({name: min(each[name] for each in found) for name in found[0]}))


if __name__ == "__main__":
    main()

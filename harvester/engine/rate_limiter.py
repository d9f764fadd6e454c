"""Even spacing of the request starts of each account, polled and never awaited.

The scheduler asks `RateLimiter.can_start` before it hands out a window, unless the queue has paused
for an interval: then there is room. The worker that got the window takes it at once, without a
wait. The scheduler's slots keep the limit of the counting window; the spacing here keeps a token
from using its whole allowance at once.
"""

from __future__ import annotations

from collections.abc import Awaitable

from aiolimiter import AsyncLimiter

from harvester.core.config.settings import Pace

RATE_MARGIN = 0.95
"""The limiter runs a little ahead of the rate, because each late wake-up would be lost for good;
the scheduler's reserved slots keep the rate itself."""


class RateLimiter:
    """One leaky bucket per account, of the burst of ``pace``. Made inside the running loop."""

    def __init__(self, pace: Pace) -> None:
        self.pace = pace
        self._buckets: dict[str, AsyncLimiter] = {}

    @property
    def interval(self) -> float:
        """Seconds after which a full bucket has room for one request again."""
        return self.pace.rate.period / self.pace.rate.count * RATE_MARGIN

    def can_start(self, appid: str) -> bool:
        """Return whether a request of this account may start now."""
        bucket = self._buckets.get(appid)
        return bucket is None or bucket.has_capacity()

    def take(self, appid: str) -> Awaitable[None]:
        """Start a request: after an interval, or if `can_start` said yes, it does not wait."""
        bucket = self._buckets.get(appid)
        if bucket is None:
            burst = self.pace.burst
            # It refills a little faster than queues pause: a queue that paused finds room unasked.
            bucket = AsyncLimiter(burst, burst * self.interval * RATE_MARGIN)
            self._buckets[appid] = bucket
        return bucket.acquire()

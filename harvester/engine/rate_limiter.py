"""How fast each token is used: an even spacing of request starts, polled and never awaited.

The schedule asks `Spacing.has_room` before it hands out a window, but for a lane that has paused
for an interval: that one has room. The worker that got the window takes it at once. Nothing waits
here. Strictness over the server's counting window is the schedule's own matter (its slots); spacing
is what keeps a token from using its whole allowance in one gulp.
"""

from __future__ import annotations

from collections.abc import Awaitable

from aiolimiter import AsyncLimiter

from harvester.core.config import Pace

RATE_MARGIN = 0.95
"""Spacing runs a little ahead of the rate, since an empty bucket saves nothing and each late
wake-up would be lost for good; the schedule's slots hold the rate itself."""


class RateLimiter:
    """One leaky bucket per account, holding ``burst`` requests. Made inside the running loop."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._buckets: dict[str, AsyncLimiter] = {}

    @property
    def interval(self) -> float:
        """Seconds after which a full bucket has room for one request again."""
        return self._pace.period / self._pace.count * RATE_MARGIN

    def can_start(self, appid: str) -> bool:
        """Whether a request of this account may start now."""
        bucket = self._buckets.get(appid)
        return bucket is None or bucket.has_capacity()

    def take(self, appid: str) -> Awaitable[None]:
        """Start a request: after an interval, or if `has_room` said yes, it does not wait."""
        bucket = self._buckets.get(appid)
        if bucket is None:
            burst = self._pace.burst
            # It drips a little faster than lanes pause: who paused finds room, without asking.
            bucket = AsyncLimiter(burst, burst * self.interval * RATE_MARGIN)
            self._buckets[appid] = bucket
        return bucket.acquire()

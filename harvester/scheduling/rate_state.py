"""Rate state of one account: what is in flight, and when the next request may start."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Protocol

NEVER = float("inf")
"""The time of what only another event can bring about."""


class RateLimit(Protocol):
    """The spacing of request starts, polled; `rate_limiter.RateLimiter` is the real one."""

    @property
    def interval(self) -> float:
        """Seconds after which a used-up bucket has room again."""

    def can_start(self, appid: str) -> bool:
        """Return whether a request of this account may start now."""


@dataclass(slots=True)
class RateState:
    """Concurrency, pauses and rate-limit slots of one account.

    Only its methods change it, but for ``queued``: the scheduler sets it while the account stands
    in one of its heaps.

    ``concurrency`` is how many requests may be in flight, ``not_before`` the end of a pause.
    ``reserved_until`` has the times at which used slots of the counting window fall free,
    ``window_seconds`` after their answer. ``interval`` seconds lie between two starts.
    ``refused_until`` ends the pause of a minute limit, ``minute_limits`` counts such pauses and
    ``failures`` failed attempts since the last answer. ``answers_after_midnight`` came after the
    day had ended.
    """

    concurrency: int = 1
    in_flight: int = 0
    not_before: float = 0.0
    reserved_until: deque[float] = field(default_factory=deque)
    window_seconds: float = 0.0
    interval: float = 0.0
    minute_limits: int = 0
    refused_until: float = 0.0
    is_slowed: bool = False
    failures: int = 0
    answers_after_midnight: int = 0
    queued: bool = False

    def start(self, now: float) -> None:
        """Count a request that starts now. A slowed account pauses after it."""
        self.in_flight += 1
        if self.is_slowed:
            self.not_before = now + self.interval

    def slot_at(self, now: float, count: int) -> float:
        """Return when one of ``count`` rate-limit slots is free; NEVER if an answer comes first."""
        slots = self.reserved_until
        while slots and slots[0] <= now:
            slots.popleft()
        if self.in_flight + len(slots) < count:
            return now
        return slots[0] if slots else NEVER

    def release(self, now: float, *, day_is_over: bool) -> None:
        """Take a request home. Its slot falls free a whole counting window after the answer.

        This keeps the limit strict, because the server may count the request as late as it answers.
        """
        self.in_flight -= 1
        if day_is_over:
            self.answers_after_midnight += 1
        self.reserved_until.append(now + self.window_seconds)

    def recover(self, concurrency: int) -> None:
        """Allow ``concurrency`` requests at once again, because an answer came."""
        self.concurrency = concurrency
        self.minute_limits = 0
        self.failures = 0

    def fail(self) -> None:
        """Count a failure; allow one request at a time until the next answer."""
        self.concurrency = 1
        self.failures += 1

    def pause(self, until: float) -> None:
        """Start nothing before a moment."""
        self.not_before = max(self.not_before, until)

    def slow_down(self, interval: float, factor: float, longest: float) -> None:
        """Count a minute limit; stretch the pace, at least ``interval``, by ``factor``.

        An account whose interval has reached ``longest`` seconds is slowed no further, nor one that
        was not answered since the last minute limit: others use all, and its pace was not tried.
        """
        if not self.minute_limits and self.interval < longest:
            # The window too, because a burst would otherwise use its slots at the old rate.
            self.interval = max(self.interval, interval) * factor
            self.window_seconds *= factor
        self.minute_limits += 1
        # For the rest of the run: the other callers of the account will not have gone either.
        self.is_slowed = True

    def refuse_until(self, until: float) -> None:
        """Pause until the minute limit of WeChat has passed."""
        self.refused_until = until
        self.pause(until)

    def reserve(self, until: float, calls: int) -> None:
        """Reserve slots for calls of an earlier run, which may still be counted."""
        self.reserved_until.extend([until] * calls)

    def call_beside(self, now: float) -> None:
        """Count a call that is not the scheduler's, in the place of one of its calls."""
        self.reserve(now + self.window_seconds, 1)
        self.pause(now + self.interval)

    def take_midnight_calls(self) -> int:
        """Return how many calls were in flight at the end of the day, and forget them."""
        calls = self.in_flight + self.answers_after_midnight
        self.answers_after_midnight = 0
        return calls

    def recent_calls(self, now: float) -> tuple[int, float]:
        """Return how many calls WeChat may still count, and until when it may."""
        # A call that was given up in flight may have arrived all the same.
        calls = self.in_flight + sum(1 for slot in self.reserved_until if slot > now)
        if self.in_flight:
            return calls, now + self.window_seconds
        return calls, self.reserved_until[-1] if self.reserved_until else 0.0

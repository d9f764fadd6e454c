"""Slowness of this machine, for tests that bound CPU time: a bound holds on any machine."""

from __future__ import annotations

import time
from functools import cache

_USUAL_SECONDS = 0.06
"""CPU seconds that a usual machine takes for the work below."""


@cache
def slowness() -> float:
    """Return how many times as long as a usual machine this one takes, at least 1."""
    begin = time.process_time()
    for _ in range(10):
        sum(number & 7 for number in range(100_000))
    return max(1.0, (time.process_time() - begin) / _USUAL_SECONDS)

"""Elapsed seconds of this machine, unaffected by changes of its clock."""

from __future__ import annotations

import time
from functools import partial

from harvester.core.calendar import Clock

# Chosen once, because each request asks for the time more than once.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

boot_seconds: Clock = partial(time.clock_gettime, _CLOCK)
"""Returns the seconds since this machine started, including sleep if the system counts it."""

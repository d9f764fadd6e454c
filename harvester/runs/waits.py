"""Waits between the runs of one call that goes on until everything wanted is covered."""

from __future__ import annotations

import math
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass

from harvester.core.calendar import Clock
from harvester.storage.backends.elapsed import boot_seconds

DEFAULT_WAIT = 86_400.0
"""Seconds that all runs and waits of a call may take together, if the call does not say."""

JITTER_SECONDS = 60.0
"""Most seconds that a run begins after its moment, so that many machines do not begin at once."""

_STEP_SECONDS = 60.0


@dataclass(eq=False)
class Waits:
    """Waits of one call. The runs count too: all of it takes at most ``limit`` seconds.

    ``elapsed`` counts seconds, ``sleep`` waits that many seconds or until the event is set, and
    ``jitter`` chooses a number between two.
    """

    elapsed: Clock = boot_seconds
    sleep: Callable[[threading.Event, float], object] = threading.Event.wait
    jitter: Callable[[float, float], float] = random.uniform
    limit: float = math.inf

    def __post_init__(self) -> None:
        """Begin to count."""
        self._began = self.elapsed()
        self._cancelled = threading.Event()

    def left(self) -> float:
        """Return the seconds that are left of the limit."""
        return self._began + self.limit - self.elapsed()

    def before_next(self, seconds: float) -> float:
        """Return in how many seconds a next run begins that may begin in ``seconds``, or is due."""
        return max(0.0, seconds) + self.jitter(0.0, JITTER_SECONDS)

    def pause(self, seconds: float) -> bool:
        """Wait that many seconds; returns False if `cancel` was called."""
        until = self.elapsed() + seconds
        # In steps, because a sleep does not count the time for which the machine is suspended.
        while not self._cancelled.is_set() and (left := until - self.elapsed()) > 0:
            self.sleep(self._cancelled, min(left, _STEP_SECONDS))
        return not self._cancelled.is_set()

    def cancel(self) -> None:
        """End the pause at once, and each later one. For any thread."""
        self._cancelled.set()

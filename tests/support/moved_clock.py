"""Another date for the suite and for every Python program that it starts.

`.ci/full date` puts this module into the .venv, where each start of Python calls it. ``time.time``
is the clock of dates of the package and of its tests; no other one decides what is tested.
Durations, the dates of files and other programs' clocks stay as they are.
"""

import time


def move_by(seconds: float) -> None:
    """Move ``time.time`` of this process forward by ``seconds``."""
    real, real_ns = time.time, time.time_ns
    time.time = lambda: real() + seconds
    time.time_ns = lambda: real_ns() + round(seconds * 1e9)

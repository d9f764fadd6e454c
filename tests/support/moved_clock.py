"""Another date for the suite and for every Python program that it starts.

`.ci/full date` puts this module into the .venv, where each start of Python calls it. ``time.time``
is the clock of dates of the package and of its tests; no other one decides what is tested.
Durations, the dates of files and other programs' clocks stay as they are.
"""

import time

_moved: list[float] = []


def move_by(seconds: float, elapsed: float = 0.0) -> None:
    """Move ``time.time`` of this process forward by ``seconds``.

    The machine started ``elapsed`` seconds earlier, as if they had passed. Python 3.11 calls this
    twice in a virtual environment, and the second call does nothing.
    """
    if _moved:
        return
    _moved.append(seconds)
    real, real_ns, since_start = time.time, time.time_ns, time.clock_gettime
    time.time = lambda: real() + seconds
    time.time_ns = lambda: real_ns() + round(seconds * 1e9)
    if elapsed:
        time.clock_gettime = lambda clock: since_start(clock) + elapsed

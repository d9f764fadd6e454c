"""Another date for the suite and for every Python program that it starts.

With this folder in PYTHONPATH, ``time.time`` is ahead by as many seconds as TESTS_CLOCK_AHEAD
says. It is the one clock of dates of the package and of its tests: `tests/test_architecture.py`
forbids all others. Durations, the dates of files and other programs' clocks stay as they are.
"""  # noqa: INP001 - not a package: Python looks for this module by its name

import os
import time

_AHEAD = float(os.environ.get("TESTS_CLOCK_AHEAD", "0"))
_real = time.time
_real_ns = time.time_ns

if _AHEAD:
    time.time = lambda: _real() + _AHEAD
    time.time_ns = lambda: _real_ns() + round(_AHEAD * 1e9)

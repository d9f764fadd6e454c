"""A clock that starts where a test wants, and may go faster; put in place before harvester is.

The modules of harvester may keep the functions of `time` when they are loaded, so the functions are
replaced before that. Processes that harvester starts find the clock in their environment: a folder
with a ``sitecustomize`` is on their path.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

VARIABLE = "GOLDEN_CLOCK"
"""Unix time at the start, seconds of the machine at the start, and factor."""

_machine_seconds = time.monotonic
_gettime = time.clock_gettime


class _Settings:
    """The clock of this process, as `set_clock` or the environment set it."""

    start = origin = 0.0
    factor = 1.0


def set_clock(start: float, factor: float = 1.0) -> None:
    """Let the clock of this process, and of those it will start, begin at a Unix time."""
    _Settings.start, _Settings.origin, _Settings.factor = start, _machine_seconds(), factor
    os.environ[VARIABLE] = f"{start!r} {_Settings.origin!r} {factor!r}"


def factor() -> float:
    """Return how many times faster than the machine's this clock goes."""
    return _Settings.factor


def install(folder: Path | None = None) -> None:
    """Replace the clocks of `time`, and with a folder also those of processes to come."""
    if VARIABLE in os.environ:
        words = os.environ[VARIABLE].split()
        _Settings.start, _Settings.origin, _Settings.factor = map(float, words)
    time.time = _now
    time.time_ns = lambda: int(_now() * 1e9)
    time.clock_gettime = _clock
    if folder is not None:
        text = "from tests.golden_runs import virtual_clock\nvirtual_clock.install()\n"
        (folder / "sitecustomize.py").write_text(text)
        os.environ["PYTHONPATH"] = os.pathsep.join((str(folder), str(Path.cwd())))


def _elapsed() -> float:
    return (_machine_seconds() - _Settings.origin) * _Settings.factor


def _now() -> float:
    return _Settings.start + _elapsed()


def _clock(kind: int) -> float:
    if kind == getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC):
        return _Settings.origin + _elapsed()
    return _gettime(kind)

"""Commands whose time passes faster: real sockets and processes, and minutes that take a second.

``python -m tests.support.fast_time FACTOR run jobs.yaml …`` is the command line in such a time.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace

import anyio
import pytest

from harvester.runs import clock
from tests.support.fast_loop import FastLoop


@contextmanager
def fast_time(factor: float) -> Iterator[Callable[[], float]]:
    """Let the time of commands pass so many times faster while the block runs; yield their clock.

    It starts at the present time, in seconds since the Unix epoch.
    """
    began, start = time.monotonic(), time.time()
    factory = {"loop_factory": partial(FastLoop, factor)}

    def seconds() -> float:
        return began + (time.monotonic() - began) * factor

    def wall() -> float:
        return start + seconds() - began

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(anyio, "run", partial(anyio.run, backend_options=factory))
        patch.setattr(clock, "boot_seconds", seconds)
        patch.setattr(clock, "time", SimpleNamespace(time=wall))
        yield wall


def main() -> int:
    """Execute a command line in a fast time."""
    from harvester import signals  # noqa: PLC0415 - as in harvester.__main__
    from harvester.cli import invoke  # noqa: PLC0415 - as in harvester.__main__

    signals.install()
    with fast_time(float(sys.argv[1])):
        return invoke(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())

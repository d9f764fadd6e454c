"""Commands whose time passes faster: real sockets and processes, and minutes that take a second.

``python -m tests.support.fast_time FACTOR run jobs.yaml …`` is the command line in such a time.
"""

from __future__ import annotations

import asyncio
import selectors
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from harvester.runs import clock


class _FastSelector(selectors.BaseSelector):
    """A selector that waits for a part of the time that it is told."""

    def __init__(self, factor: float) -> None:
        self._inner = selectors.DefaultSelector()
        self._factor = factor

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._inner.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._inner.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._inner.modify(fileobj, events, data)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        part = None if timeout is None else timeout / self._factor
        return self._inner.select(part)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._inner.get_map()

    def close(self) -> None:
        self._inner.close()


class _FastLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock runs faster."""

    def __init__(self, factor: float) -> None:
        self._factor = factor
        super().__init__(_FastSelector(factor))

    def time(self) -> float:
        """Return the seconds that seem to have passed."""
        return time.monotonic() * self._factor


@contextmanager
def fast_time(factor: float) -> Iterator[Callable[[], float]]:
    """Let the time of commands pass so many times faster while the block runs; yield their clock.

    It starts at the present time, in seconds since the Unix epoch.
    """
    began, start = time.monotonic(), time.time()
    factory = {"loop_factory": partial(_FastLoop, factor)}

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

"""An event loop whose time passes faster than the machine's."""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Mapping
from typing import Any


class FastSelector(selectors.BaseSelector):
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


class FastLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock runs ``factor`` times as fast."""

    def __init__(self, factor: float) -> None:
        self._factor = factor
        super().__init__(FastSelector(factor))

    def time(self) -> float:
        """Return the seconds that seem to have passed."""
        return time.monotonic() * self._factor

"""An event loop for one operation, out of which its errors come as they are."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import anyio

from harvester.core.errors import HarvesterError

T = TypeVar("T")


def run_in_loop(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine; of a group of nothing but HarvesterErrors raise the first by itself."""
    try:
        return anyio.run(work)
    except BaseExceptionGroup as group:
        ours, others = group.split(HarvesterError)
        if ours is None or others is not None:
            raise
        raise _first_error(ours) from None


def _first_error(group: BaseExceptionGroup[HarvesterError]) -> HarvesterError:
    """Return the first error that is no group. Those that follow it have the same cause."""
    error: HarvesterError | BaseExceptionGroup[HarvesterError] = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error

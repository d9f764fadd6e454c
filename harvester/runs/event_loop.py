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
        # Those that follow the first one have the same cause.
        error: BaseException = ours
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        # Its cause tells a lack of descriptors from a disk that fails.
        raise error from error.__cause__

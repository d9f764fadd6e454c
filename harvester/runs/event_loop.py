"""An event loop for one operation, out of which its errors come as they are."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import anyio

from harvester.core.errors import HarvesterError
from harvester.runs.record.events import own_error

T = TypeVar("T")


def run_in_loop(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine; of a group of nothing but HarvesterErrors raise the first by itself."""
    try:
        return anyio.run(work)
    except BaseExceptionGroup as group:
        ours, others = group.split(HarvesterError)
        if ours is None or others is not None:
            raise
        error = own_error(ours)
        # Its cause tells a lack of descriptors from a disk that fails.
        raise error from error.__cause__

"""Calls that wait for an object store or a disk, a bounded number of them at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_T = TypeVar("_T")
_R = TypeVar("_R")

MAX_CALLS = 16
"""Calls that run at once."""


def map_concurrently(
    function: Callable[[_T], _R], items: Iterable[_T], calls: int = MAX_CALLS
) -> Iterator[_R]:
    """Yield the result for each item, in order, while ``calls`` threads make the next ones.

    At most twice as many results as calls are ready or being made, the one that is used included.
    """
    pool = ThreadPoolExecutor(calls)
    waiting: deque[Future[_R]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) == 2 * calls:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)

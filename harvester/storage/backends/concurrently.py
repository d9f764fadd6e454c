"""Calls that wait for an object store, a bounded number of them at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_T = TypeVar("_T")
_R = TypeVar("_R")

MAX_CALLS = 16
"""Calls that run at once."""


def map_concurrently(function: Callable[[_T], _R], items: Iterable[_T]) -> Iterator[_R]:
    """Yield the result for each item, in order, while a bounded number of calls run."""
    pool = ThreadPoolExecutor(MAX_CALLS)
    waiting: deque[Future[_R]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) == 2 * MAX_CALLS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)

"""Limits of this process's memory: the message when one is reached, and when it is too low."""

from __future__ import annotations

import errno
import resource
from collections.abc import Iterator

from harvester.core.errors import HarvesterError, UsageError

MIN_ADDRESS_SPACE = 640 << 20
"""Bytes of address space below which a run is refused.

Arrow's C++ ends the process where it cannot allocate, so no message could follow later. Most of the
address space is reserved by threads and never used.
"""


def refuse_low_limit() -> None:
    """Raise UsageError if the address space of this process is limited to less than a run needs."""
    if _is_limit_low():
        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        raise UsageError(
            f"this process may use {_mebibytes(limit)} of address space, and a run needs"
            f" {_mebibytes(MIN_ADDRESS_SPACE)}",
            "raise the limit (ulimit -v); nothing was requested",
        )


def shortage(error: BaseException) -> HarvesterError | None:
    """Return the error to show if memory was refused to the process, None for any other error."""
    if not any(map(_is_shortage, _all_of(error))):
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    now = "" if limit == resource.RLIM_INFINITY else f", now {_mebibytes(limit)}"
    return HarvesterError(
        "the system refused memory to this process",
        f"raise its limit (ulimit -v{now}; the container's memory), or run with more buckets or"
        " shards; what was harvested is safe",
    )


def _is_limit_low() -> bool:
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return limit != resource.RLIM_INFINITY and limit < MIN_ADDRESS_SPACE


def _is_shortage(error: BaseException) -> bool:
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    text = str(error)
    return (
        isinstance(error, MemoryError)
        # The loader of shared libraries and the start of a thread tell it by their text alone.
        or (isinstance(error, ImportError) and ("map segment" in text or "memory" in text))
        or (isinstance(error, RuntimeError) and text == "can't start new thread")
        # Python's name for compiled code that failed and did not say why.
        or (isinstance(error, SystemError) and _is_limit_low())
    )


def _all_of(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, those of its group, and those that led to it."""
    yield error
    inner = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    for each in (*inner, error.__cause__ or error.__context__):
        if each is not None:
            yield from _all_of(each)


def _mebibytes(count: int) -> str:
    return f"{count >> 20:,} MiB"

"""Limits of this process's memory: the message when one is reached, and when it is too low."""

from __future__ import annotations

import errno
import resource

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
    if not _is_shortage(error):
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


def _is_shortage(error: BaseException | None) -> bool:
    """Return whether an error, one of its group, or one that led to it is a lack of memory."""
    match error:
        case None:
            return False
        case MemoryError() | OSError(errno=errno.ENOMEM):
            return True
        # A thread that cannot be started has no type of its own, and is no bug at any limit.
        case RuntimeError(args=["can't start new thread"]):
            return True
        # The loader of shared libraries and compiled code use these, for other faults too.
        case ImportError() | SystemError() if _is_limit_low():
            return True
    inner = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    return any(map(_is_shortage, (*inner, error.__cause__ or error.__context__)))


def _mebibytes(count: int) -> str:
    return f"{count >> 20:,} MiB"

"""Lack of memory or descriptors: what a process says when one is refused, and it is no bug."""

from __future__ import annotations

import errno
import resource
from contextlib import suppress
from pathlib import Path

from harvester.core.errors import Shortage, UsageError

MIN_ADDRESS_SPACE = 640 << 20
"""Bytes of address space below which a run is refused.

Arrow's C++ ends the process where it cannot allocate, so no message could follow later. Most of the
address space is reserved by threads and never used.
"""

_STATM = Path("/proc/self/statm")


def refuse_low_limit() -> None:
    """Raise UsageError if the address space of this process is limited to less than a run needs."""
    if _is_limit_low():
        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        raise UsageError(
            f"this process may use {mebibytes(limit)} of address space, and a run needs"
            f" {mebibytes(MIN_ADDRESS_SPACE)}",
            "raise the limit (ulimit -v); nothing was requested",
        )


def shortage(error: BaseException) -> Shortage | None:
    """Return the error to show for a lack of memory or descriptors, None for any other error."""
    match _refused(error):
        case None | Shortage() as told:
            return told
        case OSError(errno=errno.EMFILE | errno.ENFILE):
            limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
            return Shortage(
                "this process has as many files and connections open as it may",
                f"raise the limit (ulimit -n, now {limit:,}), or lower limits.connections; what was"
                " harvested is safe",
            )
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    now = "" if limit == resource.RLIM_INFINITY else f", now {mebibytes(limit)}"
    return Shortage(
        "the system refused memory to this process",
        f"raise its limit (ulimit -v{now}; the container's memory), or run with fewer --processes,"
        " or with more buckets or shards; what was harvested is safe",
    )


def resident_memory() -> int:
    """Return the bytes of memory that this process has now; its peak where that is not known."""
    with suppress(OSError):
        return int(_STATM.read_text("ascii").split()[1]) * resource.getpagesize()
    # Bytes on macOS, which has no /proc.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _is_limit_low() -> bool:
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return limit != resource.RLIM_INFINITY and limit < MIN_ADDRESS_SPACE


def _refused(error: BaseException) -> BaseException | None:
    """Return the lack that an error, one of its group, or one that led to it stands for."""
    waiting, seen = [error], set[int]()
    while waiting:
        each = waiting.pop()
        if _is_lack(each):
            return each
        inner = each.exceptions if isinstance(each, BaseExceptionGroup) else ()
        found = filter(None, (*inner, each.__cause__ or each.__context__))
        # One that was raised anew may have led to itself.
        seen.add(id(each))
        waiting += (one for one in found if id(one) not in seen)
    return None


def _is_lack(error: BaseException) -> bool:
    match error:
        case Shortage() | MemoryError():
            return True
        case OSError(errno=errno.ENOMEM | errno.EMFILE | errno.ENFILE):
            return True
        # A thread that cannot be started has no type of its own, and is no bug at any limit.
        case RuntimeError(args=["can't start new thread"]):
            return True
        # The loader of shared libraries and compiled code use these, for other faults too.
        case ImportError() | SystemError():
            return _is_limit_low()
        case _:
            return False


def mebibytes(count: int) -> str:
    """Return a number of bytes as text, ``1,024 MiB``."""
    return f"{count >> 20:,} MiB"

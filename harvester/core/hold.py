"""Hold of a run on its buckets: a lock, or a lease that it may lose."""

from __future__ import annotations

from collections.abc import Callable

from harvester.core.errors import LeaseLost


class Hold:
    """Ownership of the buckets that a run works on.

    It is asked where a call is handed out, before a file is replaced and before one is deleted:
    threads cannot be cancelled, and a process that wakes after its lease must not go on.
    ``is_good`` returns True while no other run may work on the buckets, and never again after its
    first False. By default a hold cannot be lost.
    """

    __slots__ = ("is_good",)

    def __init__(self, is_good: Callable[[], bool] = lambda: True) -> None:
        self.is_good = is_good

    def check(self) -> None:
        """Raise LeaseLost if another run may work on the buckets."""
        if not self.is_good():
            problem = "another run may work on these buckets: their lease was not renewed in time"
            raise LeaseLost(problem, "run again: what is done already stays done")


UNLOSABLE = Hold()
"""The hold of a lock, or of buckets that no other run can take."""

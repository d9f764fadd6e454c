"""A run that dies, as by `kill -9`, just before its Nth change of the file system.

``python -m tests.dying ROOT N`` harvests the lab's range into ROOT and exits with 9 if it died, or
with 0 if it came through: then N was more than a run has changes.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harvester.store import files
from tests.lab import Lab

DIED = 9


def lab_of(root: Path) -> Lab:
    """The same work for every life of the run."""
    return Lab(root, accounts=2, begin="2026-03-30", end="2026-04-02")


def die_at(count: int) -> None:
    """Let the process end before the Nth flush, rename or removal."""
    left = count

    def mortal(change: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                os._exit(DIED)
            return change(*args, **kwargs)

        return wrapped

    files.sync = mortal(files.sync)
    for name in ("replace", "unlink"):
        setattr(Path, name, mortal(getattr(Path, name)))


if __name__ == "__main__":
    die_at(int(sys.argv[2]))
    lab_of(Path(sys.argv[1])).run()

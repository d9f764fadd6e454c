"""A run that dies, as by `kill -9`, just before its Nth change of the file system.

``python -m tests.support.kill_at ROOT N`` harvests the lab's range into ROOT and exits with 9 if it
died, or with 0 if it came through: then N was more than a run has changes. ROOT may be a place in
an object store, of which the environment says where it is; then the changes are its puts, copies
and deletes.

Without arguments it reads lines of N and ROOT, and prints how each such life ended. They are
forked, so that what takes time to load is loaded once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import obstore

from harvester.core.config import Output
from harvester.storage.backends import atomic_files
from tests.support.run_harness import RunHarness

DIED = 9


def harness_for(root: Path, output: Output | None = None) -> RunHarness:
    """The same work for every life of the run."""
    return RunHarness(root, output, accounts=2, begin="2026-03-30", end="2026-04-02")


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

    for name in ("put", "copy", "delete"):
        setattr(obstore, name, mortal(getattr(obstore, name)))
    atomic_files.sync = mortal(atomic_files.sync)
    for name in ("replace", "unlink"):
        setattr(Path, name, mortal(getattr(Path, name)))


def run_until_killed(root: str, count: int) -> None:
    """One life, to its end."""
    die_at(count)
    if "://" in root:
        harness_for(Path.cwd(), Output(root, endpoint=os.environ["S3_ADDRESS"])).run()
    else:
        harness_for(Path(root)).run()


def run_in_child(root: str, count: int) -> int:
    """One life in a process of its own; returns its exit code."""
    child = os.fork()
    if not child:
        run_until_killed(root, count)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    if sys.argv[1:]:
        run_until_killed(sys.argv[1], int(sys.argv[2]))
    else:
        for line in sys.stdin:
            number, _, root = line.rstrip("\n").partition(" ")
            sys.stdout.write(f"{run_in_child(root, int(number))}\n")
            sys.stdout.flush()

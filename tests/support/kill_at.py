"""A run that ends, as by `kill -9`, just before its Nth change of the file system.

``python -m tests.support.kill_at`` reads lines of N and ROOT, and prints for each the exit code of
a run into ROOT: 9 if it was killed, or 0 if it has fewer than N changes. ROOT may be in an object
store, whose endpoint is in the environment; the changes are then its puts, copies and deletes. The
runs are forked, because loading the modules takes longer than a run.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import obstore

from harvester.core.config.settings import Output
from harvester.storage.backends import atomic_files
from tests.support.run_harness import RunHarness
from tests.support.store_backends import QUICK_LEASE

DIED = 9


def harness_for(root: Path, output: Output | None = None) -> RunHarness:
    """Return the harness of every run."""
    return RunHarness(root, output, accounts=2, begin="2026-03-30", end="2026-04-02")


def die_at(count: int) -> None:
    """Make the process end before its Nth flush, rename or removal."""
    left = count

    def counting(change: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                os._exit(DIED)
            return change(*args, **kwargs)

        return wrapped

    for name in ("put", "copy", "delete"):
        setattr(obstore, name, counting(getattr(obstore, name)))
    atomic_files.sync = counting(atomic_files.sync)
    for name in ("replace", "unlink"):
        setattr(Path, name, counting(getattr(Path, name)))


def run_until_killed(root: str, count: int) -> None:
    """Run until the Nth change or to the end."""
    die_at(count)
    if "://" in root:
        output = Output(root, endpoint=os.environ["S3_ADDRESS"], lease=QUICK_LEASE)
        harness_for(Path.cwd(), output).run()
    else:
        harness_for(Path(root)).run()


def run_in_child(root: str, count: int) -> int:
    """Run in a child process, and return its exit code."""
    child = os.fork()
    if not child:
        run_until_killed(root, count)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    for line in sys.stdin:
        number, _, root = line.rstrip("\n").partition(" ")
        sys.stdout.write(f"{run_in_child(root, int(number))}\n")
        sys.stdout.flush()

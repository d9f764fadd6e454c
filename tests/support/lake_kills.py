"""Exports that end, as by `kill -9`, just before their Nth step.

A step is a copy, a change of the store of the tables, or a commit, before and after it. In the
process of a test an exception ends the export. ``python -m tests.support.lake_kills`` reads lines
of JSON, N and the arguments of an export, and prints for each the exit code of a forked process: 9
if it was killed, 10 just before a commit, 0 if it has fewer than N steps.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import mock

from harvester.storage.backends import atomic_files
from harvester.storage.backends.local import LocalStore
from harvester.verbs.lakehouse.copies import Copies
from harvester.verbs.lakehouse.export import export

DIED, DIED_COMMITTING = 9, 10


class Killed(BaseException):
    """The end of a process, by its exit code."""


@contextmanager
def dying_at(count: int, to: str, lake: Path, die: Callable[[int], None]) -> Iterator[None]:
    """Call ``die`` with an exit code before the Nth step of an export in the block."""
    left = count

    def step(code: int) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            die(code)

    def counting(change: Callable[..., Any], *, after: bool = False) -> Callable[..., Any]:
        def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
            is_counted = not isinstance(self, LocalStore) or self.root == lake
            if is_counted:
                step(DIED_COMMITTING if after else DIED)
            made = change(self, *args, **kwargs)
            if is_counted and after:
                step(DIED)
            return made

        return wrapped

    tables = import_module(f"harvester.verbs.lakehouse.{to}").Tables
    with (
        mock.patch.object(LocalStore, "put", counting(LocalStore.put)),
        mock.patch.object(LocalStore, "delete", counting(LocalStore.delete)),
        mock.patch.object(Copies, "copy", counting(Copies.copy)),
        mock.patch.object(tables, "commit", counting(tables.commit, after=True)),
        mock.patch.object(tables, "expire", counting(tables.expire)),
    ):
        yield


def _raise(code: int) -> None:
    raise Killed(code)


def export_raised_at(count: int, **arguments: Any) -> int:
    """Export until the Nth step; return the exit code."""
    try:
        with dying_at(count, arguments["to"], Path(arguments["uri"]), _raise):
            export(**arguments)
    except Killed as killed:
        return int(killed.args[0])
    return 0


class Zygote:
    """A process whose forks are killed: it has loaded all modules, and used none."""

    def __init__(self, to: str) -> None:
        command = [sys.executable, "-m", "tests.support.lake_kills", to]
        pipe, root = subprocess.PIPE, Path(__file__).parents[2]
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=root)

    def export(self, count: int, **arguments: Any) -> int:
        """Export until the Nth step; return the exit code."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        given = {name: value and str(value) for name, value in arguments.items()}
        self._process.stdin.write(f"{json.dumps([count, given])}\n")
        self._process.stdin.flush()
        code = int(self._process.stdout.readline())
        assert code in (0, DIED, DIED_COMMITTING)
        return code

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


def _in_child(count: int, arguments: dict[str, Any]) -> int:
    child = os.fork()
    if not child:
        with dying_at(count, arguments["to"], Path(arguments["uri"]), os._exit):
            export(**{**arguments, "expire": bool(arguments["expire"])})
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    import_module(f"harvester.verbs.lakehouse.{sys.argv[1]}")
    # Killed processes lose nothing of what was written.
    mock.patch.object(atomic_files, "sync").start()
    for line in sys.stdin:
        sys.stdout.write(f"{_in_child(*json.loads(line))}\n")
        sys.stdout.flush()

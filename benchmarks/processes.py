"""Child processes: measured by the kernel, with clients and the server on cores of their own.

The kernel counts a child's peak memory from the moment it is forked, so its parent must be
small: nothing in this process imports pyarrow, aiohttp or the harvester's command line.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import nan
from pathlib import Path
from typing import IO, NamedTuple

_BYTECODE = Path(tempfile.gettempdir()) / "harvester-benchmarks-bytecode"
_DONT = "PYTHONDONTWRITEBYTECODE"

_SECRETS = ("BENCHMARK_SECRET", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")

_MEBI = 1024


class Usage(NamedTuple):
    """The usage of a process: CPU (user and system) and wall seconds, peak memory in MiB."""

    cpu: float
    wall: float
    rss: float
    output: str


def cores() -> tuple[int, int] | None:
    """The client's core and the server's, if this machine lets us choose."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    free = sorted(os.sched_getaffinity(0))
    return (free[0], free[1]) if len(free) > 1 else None


def program(name: str, *arguments: object) -> list[str]:
    """The command of one of `benchmarks.programs`."""
    return [sys.executable, "-m", f"benchmarks.programs.{name}", *map(str, arguments)]


def harvester(*arguments: object) -> list[str]:
    """A command line of the harvester."""
    return [sys.executable, "-m", "harvester", *map(str, arguments)]


def measure(command: Sequence[str]) -> Usage:
    """Run a command to its end. Raises RuntimeError with what it said if it fails."""
    with tempfile.TemporaryFile("w+") as complaints:
        begun = time.perf_counter()
        process = _start(command, complaints.fileno(), core=0)
        assert process.stdout is not None
        with process.stdout:
            output = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            complaints.seek(0)
            raise RuntimeError(f"{' '.join(command)}: {process.returncode}\n{complaints.read()}")
    return Usage(used.ru_utime + used.ru_stime, wall, _peak(used.ru_maxrss), output)


def cut_short(command: Sequence[str], seconds: float) -> None:
    """Run a command for so long, and kill it if it has not ended by then."""
    process = _start(command, subprocess.DEVNULL, core=0)
    assert process.stdout is not None
    with process.stdout:
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def serving(command: Sequence[str], core: int | None = 1) -> Iterator[IO[str]]:
    """A server in a process of its own while the block runs; gives its standard output.

    Its core is the server's, or with None any that is free.
    """
    process = _start(command, None, core=core)
    assert process.stdout is not None
    with process.stdout:
        try:
            yield process.stdout
        finally:
            process.terminate()
            process.wait()


@contextmanager
def server(*options: object) -> Iterator[str]:
    """A sandbox in a process of its own while the block runs; gives its address."""
    with serving(program("server", *options)) as output:
        yield output.readline().strip()


@contextmanager
def s3_server() -> Iterator[str]:
    """An S3 server in a process of its own while the block runs; gives its address."""
    command = [sys.executable, "-m", "tests.support.s3_server"]
    process = _start(command, None, core=1, stdin=subprocess.PIPE)
    assert process.stdout is not None
    with process.stdout:
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.terminate()
            process.wait()


def _start(
    command: Sequence[str], stderr: int | None, *, core: int | None, stdin: int | None = None
) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        command, env=environment(), stdin=stdin, stdout=subprocess.PIPE, stderr=stderr, text=True
    )
    chosen = cores()
    if chosen is not None and core is not None:
        os.sched_setaffinity(process.pid, {chosen[core]})
    return process


def environment() -> dict[str, str]:
    """Ours, with the secret that the manifests name, and what an S3 server wants to be told.

    Bytecode is kept, as with every installed package, or each start would compile everything anew.
    """
    kept = {name: value for name, value in os.environ.items() if name != _DONT}
    secrets = dict.fromkeys(_SECRETS, "not-a-secret")
    return kept | secrets | {"PYTHONPYCACHEPREFIX": str(_BYTECODE)}


def _peak(kibibytes: int) -> float:
    """A child's peak in MiB, NaN if it is no more than ours and so may not be its own."""
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kibibytes / _MEBI if kibibytes > own else nan

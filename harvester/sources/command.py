"""A command that prints a secret: no shell, no terminal, a time limit, and never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from contextlib import suppress
from functools import partial
from pathlib import Path

import anyio

from harvester.access import Command
from harvester.errors import CallTimedOut
from harvester.secret import Secret
from harvester.wire import safe_text

AT_ONCE = 8
"""So many commands run at the same time; a thread waits for each."""

_LARGEST = 64 * 1024
_SHORTEST_SECRET = 8
_TAIL = 4096


def name_of(command: Command) -> str:
    """A command as messages call it: its program alone, arguments may be telling."""
    return f"the command `{safe_text(Path(command.argv[0]).name, 60)}`"


async def run(
    command: Command, limiter: anyio.CapacityLimiter, given: Secret | None = None
) -> Secret | str:
    """What a command prints, or why it failed, safe to print. ``given`` is its standard input.

    It runs in the directory of the manifest with our environment. Raises CallTimedOut when it takes
    too long; then, and when the caller is cancelled, it is killed with all that it started.
    """
    child = _Child(command)
    try:
        return await anyio.to_thread.run_sync(
            partial(child.run, given), abandon_on_cancel=True, limiter=limiter
        )
    finally:
        child.kill()


class _Child:
    """One process. It runs in a thread and may be killed from another."""

    def __init__(self, command: Command) -> None:
        self._command = command
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._killed = False

    def run(self, given: Secret | None) -> Secret | str:
        """Start it and wait for its end."""
        name = name_of(self._command)
        try:
            process = self._start()
        except OSError as error:
            return f"{name} could not be started: {os.strerror(error.errno or 0)}"
        except ValueError:
            return f"{name} could not be started: its words are none"
        late: CallTimedOut | None = None
        try:
            output, errors = process.communicate(
                given.reveal().encode() if given else b"", timeout=self._command.timeout
            )
        except subprocess.TimeoutExpired:
            output = errors = b""
            self.kill()
            process.communicate()
            late = CallTimedOut(f"{name} did not end within {self._command.timeout:g} s")
        with self._lock:
            # It has ended: its number may belong to another process soon.
            self._process = None
        if late is not None:
            raise late
        if process.returncode:
            return f"{name} {_end(process.returncode)}{_told(errors, output)}"
        if len(output) > _LARGEST:
            return f"{name} printed more than {_LARGEST // 1024} KiB"
        return Secret(output.decode(errors="replace"))

    def kill(self) -> None:
        """End it, and the processes it started; one that is not started yet never will be."""
        with self._lock:
            self._killed = True
            process = self._process
        if process is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)

    def _start(self) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._killed:
                raise OSError
            self._process = subprocess.Popen(  # noqa: S603 - the words are of the manifest
                self._command.argv,
                cwd=self._command.folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                # A group of its own: a Ctrl-C ends the run in order, and a kill ends all of it.
                start_new_session=True,
            )
            return self._process


def _end(code: int) -> str:
    return f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"


def _told(errors: bytes, output: bytes) -> str:
    """The last line of what it said of its failure, without anything it printed as the secret."""
    lines = errors[-_TAIL:].decode(errors="replace").strip().splitlines()
    if not lines:
        return ""
    line = lines[-1].strip()
    for word in output.decode(errors="replace").split():
        if len(word) >= _SHORTEST_SECRET:
            line = line.replace(word, "***")
    return f": {safe_text(line, 200)}"

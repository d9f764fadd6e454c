"""A command that prints a secret: no shell, no terminal, a time limit, and never left behind."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import threading
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO, Any

import anyio

from harvester.core.credentials import Command
from harvester.errors import CallTimedOut
from harvester.secret import Secret
from harvester.wire import safe_text

AT_ONCE = 8
"""So many commands run at the same time; a thread waits for each."""

_LARGEST = 64 * 1024
_SHORTEST_SECRET = 8
_TAIL = 4096

_LOOK_SECONDS = 0.05
"""Between two looks whether a process has ended whose pipes are still open."""

_MOMENT = 0.5
"""Seconds for what was printed just before the end, or is by somebody that was started last."""

_READ = 1 << 20
"""As many bytes as any pipe can hold."""


def name_of(command: Command) -> str:
    """A command as messages call it: its program alone, arguments may be telling."""
    return f"the command `{safe_text(Path(command.argv[0]).name, 60)}`"


async def run(
    command: Command, limiter: anyio.CapacityLimiter, given: Secret | None = None
) -> Secret | str:
    """What a command prints, or why it failed, safe to print. ``given`` is its standard input.

    It runs in the directory of the manifest with our environment. Raises CallTimedOut when it takes
    too long; then, and when the caller is cancelled, it is killed with all that it started. What
    has a session of its own, as daemons have, is left alone and not waited for.
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
        pipes = _Pipes(process, given.reveal().encode() if given else b"")
        late: CallTimedOut | None = None
        try:
            pipes.listen(self._command.timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            # One that belongs to root by now may outlive this.
            with suppress(subprocess.TimeoutExpired):
                process.wait(_MOMENT)
            late = CallTimedOut(f"{name} did not end within {self._command.timeout:g} s")
        finally:
            pipes.close()
        if late is not None:
            raise late
        output, errors = bytes(pipes.output), bytes(pipes.errors)
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
        # Once it has ended its number may belong to another process.
        if process is not None and process.returncode is None:
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


class _Pipes:
    """What a process is given, and what it prints.

    Its own end counts and not that of its pipes: whoever it leaves behind (an agent, a connection
    kept open) has them too, for as long as it lives, and is in no group that could be killed.
    """

    def __init__(self, process: subprocess.Popen[bytes], given: bytes) -> None:
        self._process = process
        self._given = given
        self._open = selectors.DefaultSelector()
        self.output, self.errors = bytearray(), bytearray()
        self._add(process.stdout, selectors.EVENT_READ, self.output)
        self._add(process.stderr, selectors.EVENT_READ, self.errors)
        self._add(process.stdin, selectors.EVENT_WRITE, None)

    def _add(self, pipe: IO[bytes] | None, event: int, heard: bytearray | None) -> None:
        if pipe is not None:
            os.set_blocking(pipe.fileno(), False)
            self._open.register(pipe, event, heard)

    def listen(self, seconds: float) -> None:
        """Go on until the process has ended. Raises TimeoutExpired if it has not in time."""
        ended, until = False, time.monotonic() + seconds
        while self._open.get_map():
            # Even then once more: what was printed in time counts, however late we are.
            late = time.monotonic() >= until
            self._pass_on(0.0 if late else _LOOK_SECONDS)
            if late and ended:
                return
            if late:
                raise subprocess.TimeoutExpired(self._process.args, seconds)
            if not ended and self._process.poll() is not None:
                ended, until = True, time.monotonic() + _MOMENT
        self._process.wait(max(0.0, until - time.monotonic()))

    def _pass_on(self, seconds: float) -> None:
        """Pass on what can be, after waiting for it so long at most."""
        for key, _ in self._open.select(seconds):
            if key.data is None:
                going_on = self._give(key.fd)
            else:
                said = os.read(key.fd, _READ)
                key.data.extend(said)
                going_on = bool(said)
            if not going_on:
                self._close(key.fileobj)

    def _give(self, descriptor: int) -> bool:
        """Hand over as much as there is room for; returns whether there is more."""
        try:
            self._given = self._given[os.write(descriptor, self._given) :]
        except BrokenPipeError:
            return False
        return bool(self._given)

    def close(self) -> None:
        """Let go of the pipes that others may still hold."""
        for key in list(self._open.get_map().values()):
            self._close(key.fileobj)
        self._open.close()

    def _close(self, pipe: Any) -> None:
        self._open.unregister(pipe)
        pipe.close()


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

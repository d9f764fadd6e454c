"""Runs commands that print secrets: no shell, no terminal, a time limit, nothing left behind."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path

import anyio
from anyio.abc import Process

from harvester.core.credentials import Command
from harvester.core.errors import CallTimedOut
from harvester.core.safe_text import safe_text
from harvester.core.secret import Secret

MAX_COMMANDS = 8
"""Maximum number of commands that run at the same time."""

_MAX_OUTPUT = 64 * 1024
"""Maximum bytes of a command's output."""

_MIN_SECRET_LENGTH = 8
"""Minimum length of a word of the output that is masked in the error output."""

_GRACE_SECONDS = 0.5
"""Seconds to read the rest of the pipes after the end, and for a killed process to end."""


def name_of(command: Command) -> str:
    """Name a command in a message: its program alone, because arguments may hold secrets."""
    return f"the command `{safe_text(Path(command.argv[0]).name, 60)}`"


async def run(
    command: Command, limiter: anyio.CapacityLimiter, given: Secret | None = None
) -> Secret | str:
    """Return what a command prints, or as a text why it failed, safe to print.

    The command runs in the manifest's directory with the environment of this process; ``given`` is
    its standard input. When it takes longer than its timeout, or when the caller is cancelled, it
    is killed with its process group. A daemon, which has a session of its own, is neither killed
    nor waited for. Raises CallTimedOut.
    """
    name = name_of(command)
    async with limiter:
        with ExitStack() as pipes:
            try:
                child = await _start(command, pipes)
            except OSError as error:
                return f"cannot start {name}: {os.strerror(error.errno or 0)}"
            except ValueError:
                return f"cannot start {name}: an argument contains a NUL byte"
            try:
                code = await child.communicate(given, command.timeout)
            finally:
                await child.kill()
    if code is None:
        raise CallTimedOut(f"{name} did not end within {command.timeout:g} s")
    if len(child.output) > _MAX_OUTPUT:
        return f"{name} printed more than {_MAX_OUTPUT // 1024} KiB"
    if code:
        return f"{name} {_ending(code)}{_last_error(child.errors, child.output)}"
    return Secret(child.output.decode(errors="replace"))


async def _start(command: Command, pipes: ExitStack) -> _Child:
    # Not asyncio's pipes, because it waits for their end and a daemon may hold them open.
    (stdin, feed), (output, stdout), (errors, stderr) = (_pipe(pipes) for _ in range(3))
    # Shielded, because the process group of a start that was cancelled could not be killed.
    with anyio.CancelScope(shield=True):
        process = await anyio.open_process(
            command.argv,
            cwd=command.folder,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            # A group of its own, so that Ctrl-C does not reach it and a kill reaches all of it.
            start_new_session=True,
        )
    for end in (stdin, stdout, stderr):
        end.close()
    for end in (feed, output, errors):
        os.set_blocking(end.fileno(), False)
    return _Child(process, feed, output, errors)


def _pipe(pipes: ExitStack) -> tuple[FileIO, FileIO]:
    reading, writing = os.pipe()
    return pipes.enter_context(FileIO(reading)), pipes.enter_context(FileIO(writing, "w"))


@dataclass(frozen=True, slots=True)
class _Child:
    """A process, this side's ends of its pipes, and the newest bytes that came out of them."""

    process: Process
    stdin: FileIO
    stdout: FileIO
    stderr: FileIO
    output: bytearray = field(default_factory=bytearray)
    errors: bytearray = field(default_factory=bytearray)

    async def communicate(self, given: Secret | None, seconds: float) -> int | None:
        """Wait until the process ends; returns its exit code, or None after ``seconds``."""
        code: int | None = None
        async with anyio.create_task_group() as group:
            group.cancel_scope.deadline = anyio.current_time() + seconds
            group.start_soon(_feed, self.stdin, given.reveal().encode() if given else b"")
            group.start_soon(_collect, self.stdout, self.output)
            group.start_soon(_collect, self.stderr, self.errors)
            code = await self.process.wait()
            # Limited, because a daemon holds the pipes open; not zero, as a child may still print.
            group.cancel_scope.deadline = anyio.current_time() + _GRACE_SECONDS
        return code

    async def kill(self) -> None:
        """Kill the process group unless the process has ended, and collect the process."""
        # Not after its end, because then its number may belong to another process.
        if self.process.returncode is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
        # Limited, because a process that has become root's cannot be killed.
        with anyio.move_on_after(_GRACE_SECONDS, shield=True):
            await self.process.wait()


async def _feed(pipe: FileIO, data: bytes) -> None:
    with pipe, suppress(BrokenPipeError):
        while data:
            await anyio.wait_writable(pipe)
            data = data[pipe.write(data) :]


async def _collect(pipe: FileIO, kept: bytearray) -> None:
    """Read to the end, and keep the newest bytes: one more than allowed, to notice an excess."""
    while True:
        await anyio.wait_readable(pipe)
        data = pipe.read(_MAX_OUTPUT)
        if not data:
            return
        kept += data
        del kept[: -_MAX_OUTPUT - 1]


def _ending(code: int) -> str:
    return f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"


def _last_error(errors: bytearray, output: bytearray) -> str:
    """Return the last line of the error output, with each word of the output masked."""
    lines = errors.decode(errors="replace").strip().splitlines()
    if not lines:
        return ""
    line = lines[-1].strip()
    for word in output.decode(errors="replace").split():
        if len(word) >= _MIN_SECRET_LENGTH:
            line = line.replace(word, "***")
    return f": {safe_text(line, 200)}"

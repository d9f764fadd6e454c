"""Runs commands that print secrets: no shell, no terminal, bounds of time and output.

Nothing of a command is left behind.
"""

from __future__ import annotations

import os
import re
import signal
import string
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path

import anyio
from anyio.abc import Process
from anyio.lowlevel import RunVar

from harvester.core.config.credentials import Command
from harvester.core.errors import CallTimedOut
from harvester.core.secret import Secret
from harvester.core.text.safe_text import safe_text
from harvester.core.text.secret_words import MASK

MAX_COMMANDS = 8
"""Maximum number of commands that run at the same time in one event loop."""

_LIMITER: RunVar[anyio.CapacityLimiter] = RunVar("limiter of commands")

_MAX_OUTPUT = 64 * 1024
"""Maximum bytes of a command's output. A command that prints more is killed at once."""

_MAX_ERRORS = 4 * 1024
"""Maximum bytes of a command's error output that are kept: its last ones."""

# Tokens are longer than seven characters, and have digits or are longer than any usual word.
_PLAIN_WORD = re.compile(r"\W*[A-Za-z]?[a-z]{1,15}\W*")
_MAX_SHORT_WORD = 7

_GRACE_SECONDS = 0.5
"""Seconds to read the rest of the pipes after the end, and for a killed process to end."""


def name_of(command: Command) -> str:
    """Name a command in a message: its program alone, because arguments may hold secrets."""
    return f"the command `{safe_text(Path(command.argv[0]).name, 60)}`"


async def run(command: Command, given: Secret | None = None) -> Secret | str:
    """Return what a command prints, or as a text why it failed, safe to print.

    The command runs in the manifest's directory with the environment of this process, without the
    variables of other credentials; ``given`` is its standard input. When it takes longer than its
    timeout or prints too much, or when the caller is cancelled, it is killed with its process
    group. A daemon, which has a session of its own, is neither killed nor waited for. The secret is
    not masked elsewhere, because it may have other words beside the token. Raises CallTimedOut.
    """
    name = name_of(command)
    async with _limiter():
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
    if len(child.output) > _MAX_OUTPUT:
        return f"{name} printed more than {_MAX_OUTPUT // 1024} KiB"
    if code is None:
        raise CallTimedOut(f"{name} did not end within {command.timeout:g} s")
    if code:
        return f"{name} {_ending(code)}{_last_error(child.errors, child.output)}"
    return Secret(child.output.decode(errors="replace"), parts=())


def _limiter() -> anyio.CapacityLimiter:
    """Return the limiter of all commands of this event loop."""
    limiter = _LIMITER.get(None) or anyio.CapacityLimiter(MAX_COMMANDS)
    _LIMITER.set(limiter)
    return limiter


async def _start(command: Command, pipes: ExitStack) -> _Child:
    # Not asyncio's pipes, because it waits for their end and a daemon may hold them open.
    (stdin, feed), (output, stdout), (errors, stderr) = (_pipe(pipes) for _ in range(3))
    # Shielded, because the process group of a start that was cancelled could not be killed.
    with anyio.CancelScope(shield=True):
        process = await anyio.open_process(
            command.argv,
            cwd=command.folder,
            env={name: os.environ[name] for name in os.environ.keys() - command.hidden},
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
    """A process, this side's ends of its pipes, and the bytes that came out of them."""

    process: Process
    stdin: FileIO
    stdout: FileIO
    stderr: FileIO
    output: bytearray = field(default_factory=bytearray)
    errors: bytearray = field(default_factory=bytearray)

    async def communicate(self, given: Secret | None, seconds: float) -> int | None:
        """Wait until the process ends, and return its exit code.

        Returns None after ``seconds``, or once the output is too long.
        """
        code: int | None = None
        async with anyio.create_task_group() as group:
            group.cancel_scope.deadline = anyio.current_time() + seconds
            group.start_soon(_feed, self.stdin, given.reveal().encode() if given else b"")
            group.start_soon(self._read_output, group.cancel_scope)
            group.start_soon(self._read_errors)
            code = await self.process.wait()
            # Limited, because a daemon holds the pipes open; not zero, as a child may still print.
            group.cancel_scope.deadline = anyio.current_time() + _GRACE_SECONDS
        return code

    async def _read_output(self, scope: anyio.CancelScope) -> None:
        """Read to the end, or cancel the scope when there is more than allowed."""
        while data := await _read(self.stdout):
            self.output.extend(data)
            if len(self.output) > _MAX_OUTPUT:
                scope.cancel()

    async def _read_errors(self) -> None:
        """Read to the end, and keep the last bytes."""
        while data := await _read(self.stderr):
            self.errors.extend(data)
            del self.errors[:-_MAX_ERRORS]

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


async def _read(pipe: FileIO) -> bytes | None:
    await anyio.wait_readable(pipe)
    return pipe.read(_MAX_OUTPUT)


def _ending(code: int) -> str:
    return f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"


def _last_error(errors: bytearray, output: bytearray) -> str:
    """Return the last line of the error output, with ``***`` for each word that may be secret."""
    text = errors.decode(errors="replace")
    if len(errors) == _MAX_ERRORS:
        # The first word is half a word.
        text = f"*** {text.partition(' ')[2]}"
    lines = text.strip().splitlines()
    if not lines:
        return ""
    printed = output.decode(errors="replace")
    words = [word if _is_plain(word, printed) else MASK for word in lines[-1].split()]
    return f": {safe_text(' '.join(words), 200)}"


def _is_plain(word: str, printed: str) -> bool:
    """Return whether a word is too short for a secret, or an ordinary word that was not printed."""
    if len(word) <= _MAX_SHORT_WORD:
        return True
    return _PLAIN_WORD.fullmatch(word) is not None and word.strip(string.punctuation) not in printed

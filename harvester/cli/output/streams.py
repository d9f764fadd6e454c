"""Standard streams in any state: closed, full, or in an old charset."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from typing import IO, Any

from rich.console import Console
from rich.theme import Theme

from harvester.cli.output import json_lines
from harvester.cli.output.styles import STYLES
from harvester.cli.output.workflow_commands import annotations_of
from harvester.core.errors import HarvesterError
from harvester.core.text.inert_text import inert_line
from harvester.core.text.redaction import masked
from harvester.runs.record.events import own_error


class PlainConsole(Console):
    """A console that raises write errors, where rich would end the process with 1.

    It is plain if NO_COLOR is set, where rich would still make words bold.
    """

    def __init__(self, **how: Any) -> None:
        colours = None if os.environ.get("NO_COLOR") else "auto"
        super().__init__(theme=Theme(STYLES), **{"color_system": colours, **how})

    def on_broken_pipe(self) -> None:
        """Raise the error that rich is handling."""
        raise  # noqa: PLE0704 - as the line above says


class HelpConsole(PlainConsole):
    """The console of help and usage errors."""

    def print(self, *objects: Any, **how: Any) -> None:
        """Print, ignoring write errors: losing a help text changes no exit code."""
        try:
            super().print(*objects, **how)
            # A buffered stream reports a full disk only here; left in the buffer, the text would
            # fail again at the last flush of the process, as if an answer had been lost.
            self.file.flush()
        except OSError:
            _discard(self.file)


def fix_std_streams() -> None:
    """Make every stream writable in any charset; the descriptor of a closed one is a device."""
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - for good
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - for good
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextmanager
def stdout_output() -> Iterator[None]:
    """Print an answer to stdout; the block does nothing else.

    A closed pipe is no error and changes no exit code. Raises HarvesterError if the answer cannot
    be written, because a part of it must not be taken for all.
    """
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        _discard(sys.stdout)
    except OSError as error:
        _discard(sys.stdout)
        raise HarvesterError(f"stdout: {error.strerror}") from None


@contextmanager
def stderr_output() -> Iterator[None]:
    """Print to stderr, ignoring write errors."""
    with suppress(OSError):
        yield
        sys.stderr.flush()


def flush(code: int) -> int:
    """Flush both streams and return the exit code: a failure if an answer was lost."""
    try:
        with stdout_output():
            pass
    except HarvesterError as error:
        report_error(error)
        code = code or error.exit_code
    with stderr_output():
        pass
    return code


def _discard(stream: IO[str]) -> None:
    """Redirect a stream that cannot be written to the null device, its buffer included."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def report_error(error: BaseException, where: str = "") -> None:
    """Print what is wrong, ``where`` a bug was met, and what to do to stderr."""
    if json_lines.is_on():
        json_lines.tell_error(error, where)
        return
    shown = own_error(error)
    with stderr_output():
        lines = [inert_line(masked(line)) for line in (*shown.lines[:-1], shown.lines[-1] + where)]
        print("error: " + "\n".join(lines), file=sys.stderr)
        if shown.advice:
            print(f"\n{inert_line(masked(shown.advice))}", file=sys.stderr)
    print_commands(annotations_of(error))


def print_commands(commands: Iterable[str]) -> None:
    """Print commands to a runner, a line each."""
    with stderr_output():
        for command in commands:
            print(command, file=sys.stderr)

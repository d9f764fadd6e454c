"""Signal handling that works at every moment: during imports, during a run, while a call hangs.

Python writes the number of each signal to a pipe, and a thread of this module reads it. The signal
is noticed even if the main thread waits in the kernel, in a library or in a busy loop, and no code
is interrupted half-way. The output is safe at any moment, so this thread may end the process, and
it never waits for a thread that hangs.

Imports the standard library alone: a signal may come before anything else is loaded.
"""

from __future__ import annotations

import _thread
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Protocol

GRACEFUL_SECONDS = 6.0
"""Seconds that a run may take to end in order after the first signal."""

FINAL_WRITE_SECONDS = 0.5
"""Seconds that `Stoppable.final_write` may take; it is called if the run did not end in order."""


class Stoppable(Protocol):
    """Work that a signal stops. Its methods are called in the signal thread."""

    def stop(self, code: int) -> bool:
        """Request a stop and return at once: True if the work ends by itself soon."""

    def describe(self) -> str:
        """Return what the work waits for, in lines for people."""

    def final_write(self) -> None:
        """Record that the work was stopped. The process ends after FINAL_WRITE_SECONDS at most."""


_stoppable: Stoppable | None = None
_forgiven: frozenset[int] = frozenset()
_write_description: Callable[[str], object] | None = None


@cache
def install() -> None:
    """Make SIGINT, SIGTERM and SIGHUP end the process with exit code 128 plus their number.

    Under nohup, SIGHUP stays ignored. SIGUSR1 prints what the work waits for. Child processes
    receive signals as usual: none is blocked or ignored for them. Only for the main thread, and
    once, because a process has one set of signals.
    """
    _take_closed_streams()
    numbers, told = os.pipe()
    os.set_blocking(told, False)
    signal.set_wakeup_fd(told, warn_on_full_buffer=False)
    threading.Thread(target=_listen, args=(numbers,), name="signals", daemon=True).start()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        # SIGHUP stays ignored under nohup, because the process must outlive its terminal.
        if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            # Nothing is to be done: the signal thread reads the number from the pipe.
            signal.signal(number, lambda *_: None)
            # System calls in libraries are restarted, because not every library retries them.
            signal.siginterrupt(number, False)


def _take_closed_streams() -> None:
    """Open the null device in the place of each standard stream that is closed."""
    # Or the next opened file would get its descriptor, and then receive what is printed.
    while (descriptor := os.open(os.devnull, os.O_RDWR)) < 3:
        pass
    os.close(descriptor)


def set_ok_exit(codes: frozenset[int]) -> None:
    """Set the exit codes that are turned into 0."""
    global _forgiven  # noqa: PLW0603 - a process has one set of signals
    _forgiven = codes


def describe_by(write: Callable[[str], object] | None) -> None:
    """Set the function that writes descriptions, or None: this module writes them to stderr.

    With a function, this module writes nothing to stderr itself.
    """
    global _write_description  # noqa: PLW0603 - as above
    _write_description = write


@contextmanager
def stopping(what: Stoppable) -> Iterator[None]:
    """Let a signal stop ``what`` while the block runs, instead of ending the process at once."""
    global _stoppable  # noqa: PLW0603 - as above
    _stoppable = what
    try:
        yield
    finally:
        _stoppable = None


def _listen(numbers: int) -> None:
    code = _next_stop(numbers, None)
    what = _stoppable
    # The process ends also if no memory is left for what is to be done before.
    with suppress(RuntimeError, MemoryError):
        if what is not None:
            # A second signal within the grace period ends the process at once, with its own code.
            if what.stop(code) and (second := _next_stop(numbers, GRACEFUL_SECONDS)):
                _leave(second)
            # In a thread of its own, because a write to a disk that hangs never returns. Without
            # the memory for one `Thread.start` would not return either.
            written = threading.Event()
            _thread.start_new_thread(_write_at_last, (what, written))
            written.wait(FINAL_WRITE_SECONDS)
    _leave(code)


def _write_at_last(what: Stoppable, written: threading.Event) -> None:
    what.final_write()
    written.set()


def _next_stop(numbers: int, seconds: float | None) -> int:
    """Wait for a signal that stops, and return its exit code; 0 after ``seconds``."""
    until = None if seconds is None else time.monotonic() + seconds
    while True:
        left = None if until is None else max(0.0, until - time.monotonic())
        if not select.select([numbers], [], [], left)[0]:
            return 0
        if (number := os.read(numbers, 1)[0]) != signal.SIGUSR1:
            return 128 + number
        # In a thread of its own, because a write to a full pipe may never return.
        with suppress(RuntimeError, MemoryError):
            _thread.start_new_thread(_describe, ())


def _describe() -> None:
    """Print what the work waits for."""
    what = _stoppable
    try:
        text = "nothing is running yet" if what is None else what.describe()
    except (IndexError, RuntimeError) as error:
        # The event loop may change a collection while this thread reads it.
        text = f"the state changed while it was read, send SIGUSR1 again ({type(error).__name__})"
    if _write_description is not None:
        _write_description(text)
        return
    with suppress(OSError):
        os.write(2, f"{text}\n".encode())


def _leave(code: int) -> None:
    if _write_description is None and os.isatty(2):
        # Show the cursor again, because a progress bar hides it.
        os.write(2, b"\x1b[?25h")
    os._exit(0 if code in _forgiven else code)

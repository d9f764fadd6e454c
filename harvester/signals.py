"""Signals, obeyed at every moment: while modules are loaded, while a run works, while a call hangs.

Python tells the number of a signal to a pipe the moment it comes, and a thread of ours reads it. So
it is heard although the main thread may sit in the kernel, in a library or in a busy loop, and
nothing of ours is ever interrupted half-way. Whatever a verb is doing, the files are safe without
it; so the process may be ended from here, and never waits for a thread that hangs.

Only the standard library is needed here: a signal may come before anything else is loaded.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol

GRACEFUL_SECONDS = 6.0
"""After the first signal, a run that can end in order gets so long."""

FINAL_WRITE_SECONDS = 0.5
"""Then, or at once if there is no order to keep, it may say that it was stopped."""


class Stoppable(Protocol):
    """What a signal stops. Both are called in the thread that hears signals."""

    def stop(self, code: int) -> bool:
        """Whether it will come to an end by itself, soon. Returns at once."""

    def final_write(self) -> None:
        """Write down that it was stopped; the process is ended when this returns, or before."""


_stoppable: Stoppable | None = None
_listening = False
_forgiven: frozenset[int] = frozenset()


def install() -> None:
    """From now on a signal ends the process with 128 plus its number. Main thread only.

    Programs that we start get signals as if nothing were: they are neither blocked nor ignored.
    """
    global _listening  # noqa: PLW0603 - a process has one set of signals
    if _listening:
        return
    _listening = True
    numbers, told = _pipe()
    os.set_blocking(told, False)
    signal.set_wakeup_fd(told, warn_on_full_buffer=False)
    threading.Thread(target=_listen, args=(numbers,), name="signals", daemon=True).start()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Whoever starts us by nohup wants us to stay when the terminal goes.
        if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _noop)
            # No library of others has to begin its system calls anew.
            signal.siginterrupt(number, False)


def _pipe() -> tuple[int, int]:
    """A pipe whose ends are none of the standard streams, even if those are closed."""
    low = os.pipe()
    numbers, told = (fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 3) for end in low)
    for end in low:
        os.close(end)
    return numbers, told


def _noop(_number: int, _frame: FrameType | None) -> None:
    """The thread knows already."""


def set_ok_exit(codes: frozenset[int]) -> None:
    """Whoever asked for it gets 0 in the place of these."""
    global _forgiven  # noqa: PLW0603 - as above
    _forgiven = codes


@contextmanager
def stopping(what: Stoppable) -> Iterator[None]:
    """While the block runs, a signal stops this instead of just ending the process."""
    global _stoppable  # noqa: PLW0603 - as above
    _stoppable = what
    try:
        yield
    finally:
        _stoppable = None


def _listen(numbers: int) -> None:
    code = 128 + os.read(numbers, 1)[0]
    what = _stoppable
    if what is not None:
        if what.stop(code) and select.select([numbers], [], [], GRACEFUL_SECONDS)[0]:
            _leave(128 + os.read(numbers, 1)[0])
        farewell = threading.Thread(target=what.final_write, daemon=True)
        farewell.start()
        farewell.join(FINAL_WRITE_SECONDS)
    _leave(code)


def _leave(code: int) -> None:
    if os.isatty(2):
        # A progress bar hides the cursor.
        os.write(2, b"\x1b[?25h")
    os._exit(0 if code in _forgiven else code)

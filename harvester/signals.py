"""Signals, obeyed at every moment: while modules are loaded, while a run works, while a call hangs.

They are blocked in all threads, and a thread of their own waits for them. So one that comes is
heard although the main thread may sit in the kernel, in a library or in a busy loop, and nothing
of ours is ever interrupted half-way. Whatever a verb is doing, the files are safe without it; so
the process may be ended from here, and never waits for a thread that hangs.

Only the standard library is needed here: a signal may come before anything else is loaded.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

ORDER_SECONDS = 6.0
"""After the first signal, a run that can end in order gets so long."""

FAREWELL_SECONDS = 0.5
"""Then, or at once if there is no order to keep, it may say that it was stopped."""


class Stoppable(Protocol):
    """What a signal stops. Both are called in the thread that hears signals."""

    def stop(self, code: int) -> bool:
        """Whether it will come to an end by itself, soon. Returns at once."""

    def farewell(self) -> None:
        """Write down that it was stopped; the process is ended when this returns, or before."""


_stoppable: Stoppable | None = None
_listening = False
_forgiven: frozenset[int] = frozenset()


def obey() -> None:
    """From now on a signal ends the process with 128 plus its number. Main thread only.

    To be called before other threads are started: they inherit what is blocked.
    """
    global _listening  # noqa: PLW0603 - a process has one set of signals
    if _listening:
        return
    _listening = True
    heard = {signal.SIGINT, signal.SIGTERM}
    # Whoever starts us by nohup wants us to stay when the terminal goes.
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        heard.add(signal.SIGHUP)
    signal.pthread_sigmask(signal.SIG_BLOCK, heard)
    threading.Thread(target=_listen, args=(heard,), name="signals", daemon=True).start()


def forgive(codes: frozenset[int]) -> None:
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


def _listen(heard: set[signal.Signals]) -> None:
    code = 128 + signal.sigwait(heard)
    what = _stoppable
    if what is not None:
        if what.stop(code):
            again = signal.sigtimedwait(heard, ORDER_SECONDS)
            if again is not None:
                _leave(128 + again.si_signo)
        farewell = threading.Thread(target=what.farewell, daemon=True)
        farewell.start()
        farewell.join(FAREWELL_SECONDS)
    _leave(code)


def _leave(code: int) -> None:
    if os.isatty(2):
        # A progress bar hides the cursor.
        os.write(2, b"\x1b[?25h")
    os._exit(0 if code in _forgiven else code)

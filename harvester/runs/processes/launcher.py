"""Start of processes from a forkserver of the run's own.

That of `multiprocessing` belongs to the host program: it runs the host's main module again in each
process, and a daemonic process of the host may not start any.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from typing import Self

from harvester.core.errors import HarvesterError, UsageError
from harvester.runs.processes.control import (
    NUMBER_BYTES,
    UNKNOWN_END,
    bytes_of,
    number_of,
)

_CODE = """\
import gc, signal
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
    if signal.getsignal(number) is not signal.SIG_IGN:
        signal.signal(number, lambda *_: None)
gc.disable()
import sys
sys.path[:] = {path!r}
from harvester.runs.processes.forkserver import serve
serve({descriptor})
"""
"""The program of the forkserver. Signals concern the process that started it alone."""

_END_SECONDS = 2.0


class Launcher:
    """The forkserver of a run. Threads may use it at the same time."""

    def __init__(self) -> None:
        self._server: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._lock = threading.Lock()
        self._has_forked = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End the forkserver. The processes that it has forked end by themselves."""
        with self._lock:
            self._end()

    def prepare(self) -> None:
        """Start the forkserver, which loads its modules meanwhile. Raises UsageError."""
        with self._lock, suppress(OSError):
            self._connected()

    def start(self) -> tuple[int, socket.socket]:
        """Start a process; return its number and the socket to it. Raises HarvesterError."""
        ours, its = socket.socketpair()
        with self._lock, its:
            # A forkserver may have been killed meanwhile.
            for _ in range(2):
                with suppress(OSError, EOFError):
                    control = self._connected()
                    self._has_forked = True
                    socket.send_fds(control, [bytes(NUMBER_BYTES)], [its.fileno()])
                    return _answer(control), ours
                self._end()
        ours.close()
        raise HarvesterError(
            "no further process can be started",
            "look for the limits of this user (ulimit -u) and of the container's memory",
        )

    def end_of(self, pid: int) -> str:
        """Return how a process ended, in words. It must have closed its socket."""
        with self._lock, suppress(OSError, EOFError):
            if self._control is not None:
                self._control.sendall(bytes_of(pid))
                return _words(_answer(self._control))
        return _words(UNKNOWN_END)

    def _connected(self) -> socket.socket:
        if self._control is None:
            self._control, its = socket.socketpair()
            with its:
                self._server = _start_server(its)
        return self._control

    def _end(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._server is not None:
            # One that is still loading has nothing to end in order.
            with suppress(subprocess.TimeoutExpired):
                self._server.wait(_END_SECONDS if self._has_forked else 0)
            self._server.kill()
            self._server.wait()
            self._server = None


def _start_server(control: socket.socket) -> subprocess.Popen[bytes]:
    if not sys.executable:
        raise UsageError(
            "this program has no Python interpreter of its own to start processes with",
            "run harvester in one process here",
        )
    # Nothing in it may start a thread, and a pool of Arrow's that is not used does.
    own = {"ARROW_DEFAULT_MEMORY_POOL": "system", "JE_ARROW_MALLOC_CONF": "background_thread:false"}
    environ = {**own, **os.environ}
    # Python would write the keys of all TLS sessions there.
    environ.pop("SSLKEYLOGFILE", None)
    code = _CODE.format(path=sys.path, descriptor=control.fileno())
    return subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-P", "-c", code],
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        pass_fds=[control.fileno()],
        # Ctrl-C reaches the group of the terminal, and this process passes it on in order.
        process_group=0,
    )


def _answer(control: socket.socket) -> int:
    return number_of(control.recv(NUMBER_BYTES, socket.MSG_WAITALL))


def _words(code: int) -> str:
    """Return the end of a process in words."""
    if code == UNKNOWN_END:
        return "ended"
    if code >= 0:
        return f"ended with code {code}"
    with suppress(ValueError):
        return f"was ended by {signal.Signals(-code).name}"
    return f"was ended by signal {-code}"

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
from typing import NamedTuple, Self

from harvester.core.errors import ProcessDied
from harvester.core.shortage import shortage
from harvester.runs.processes.messages import PAIR, UNKNOWN_END

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
_ANSWER_SECONDS = 60.0


class End(NamedTuple):
    """The end of a process; ``peak_memory`` is in bytes, 0 if it is not known."""

    code: int = UNKNOWN_END
    peak_memory: int = 0

    @property
    def signal(self) -> str | None:
        """The name of the signal that ended it; None if none did."""
        names = {each.value: each.name for each in signal.Signals}
        return names.get(-self.code, f"signal {-self.code}") if self.code < 0 else None

    def __str__(self) -> str:
        how = f"was ended by {self.signal}" if self.signal else f"ended with code {self.code}"
        if self.code == UNKNOWN_END:
            how = "ended"
        return f"{how} at {self.peak_memory >> 20:,} MiB of memory" if self.peak_memory else how


class Launcher:
    """The forkserver of a run. Threads may use it at the same time."""

    def __init__(self) -> None:
        self._server: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        """Start the forkserver, which loads its modules meanwhile."""
        with self._lock, suppress(OSError):
            self._connected()
        return self

    def __exit__(self, *_: object) -> None:
        """End the forkserver. The processes that it has forked end by themselves."""
        with self._lock:
            self._end()

    def start(self) -> tuple[int, socket.socket]:
        """Start a process; return its number and the socket to it. Raises ProcessDied."""
        failed: Exception = EOFError()
        with self._lock:
            # A forkserver may have been killed or stopped meanwhile.
            for _ in range(2):
                try:
                    return self._forked()
                except (OSError, EOFError) as error:
                    failed = error
                    self._end()
        raise shortage(failed) or ProcessDied(
            "no further process can be started",
            "look for the limits of this user (ulimit -u) and of the container's memory, or use"
            " fewer --processes",
        )

    def end_of(self, pid: int) -> End:
        """Return how a process ended. It must have closed its socket, or been killed."""
        with self._lock:
            if self._control is not None:
                with suppress(OSError, EOFError):
                    self._control.sendall(PAIR.pack(pid, 0))
                    return End(*_answer(self._control))
                # A late answer would be taken for that of the next question.
                self._end()
        return End()

    def _forked(self) -> tuple[int, socket.socket]:
        control = self._connected()
        ours, its = socket.socketpair()
        with its:
            try:
                socket.send_fds(control, [bytes(PAIR.size)], [its.fileno()])
                return _answer(control)[0], ours
            except BaseException:
                ours.close()
                raise

    def _connected(self) -> socket.socket:
        if self._control is None:
            self._control, its = socket.socketpair()
            # Without it a forkserver that was stopped would stop the run.
            self._control.settimeout(_ANSWER_SECONDS)
            with its:
                self._server = _start_server(its)
        return self._control

    def _end(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._server is not None:
            self._server.kill()
            with suppress(subprocess.TimeoutExpired):
                self._server.wait(_END_SECONDS)
            self._server = None


def _start_server(control: socket.socket) -> subprocess.Popen[bytes]:
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


def _answer(control: socket.socket) -> tuple[int, int]:
    """Return the answer of a forkserver. Raises OSError, and EOFError if it is gone."""
    data = control.recv(PAIR.size, socket.MSG_WAITALL)
    if len(data) < PAIR.size:
        raise EOFError
    number, memory = PAIR.unpack(data)
    return number, memory

"""Process that has harvester loaded and forks a process for each shard.

It has one thread and uses neither Arrow nor an object store, because threads and locks do not
survive a fork. It ends when the process that started it closes the control socket, or dies.
"""

from __future__ import annotations

import gc
import os
import resource
import socket
import sys
import time
from contextlib import suppress

# Loaded here, because else each process that is forked would load its own.
import pyarrow.compute  # noqa: F401 - as the line above says

from harvester.runs.processes.messages import PAIR, UNKNOWN_END
from harvester.runs.processes.shard_process import work

_MAX_WAIT = 1.0
"""Seconds in which a process that has closed its socket must have ended."""

_POLL_SECONDS = 0.01


def serve(descriptor: int) -> None:
    """Answer requests on the control socket: a socket to fork with, or a process to wait for.

    Returns once the other end is closed, or a process cannot be forked, which closes this end.
    """
    control = socket.socket(fileno=descriptor)
    # A core dump would hold every secret.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # The modules are never freed. Collecting garbage in them would copy them into each process.
    gc.freeze()
    gc.enable()
    # The process that started this one may be killed at any moment; no error is then reported.
    with suppress(OSError):
        while True:
            data, descriptors, _, _ = socket.recv_fds(control, PAIR.size, 1)
            if not data:
                return
            if descriptors:
                control.sendall(PAIR.pack(_fork(control, descriptors[0]), 0))
            else:
                control.sendall(PAIR.pack(*_end_of(PAIR.unpack(data)[0])))


def _fork(control: socket.socket, descriptor: int) -> int:
    """Fork a process that works with the socket; return its number."""
    # Received descriptors would stay open in the commands that a process starts.
    os.set_inheritable(descriptor, False)
    pid = os.fork()
    if pid == 0:
        # Whatever happens, a child must not go on with the loop of the forkserver.
        try:
            control.close()
            work(socket.socket(fileno=descriptor))
        finally:
            os._exit(1)
    os.close(descriptor)
    return pid


def _end_of(pid: int) -> tuple[int, int]:
    """Return how a process ended, and the most bytes of memory that it had.

    The end is that of `os.waitstatus_to_exitcode`; UNKNOWN_END, and 0 bytes, if it goes on.
    """
    until = time.monotonic() + _MAX_WAIT
    # One that hangs in the kernel does not even end when it is killed, and is not waited for.
    while time.monotonic() < until:
        ended, status, usage = os.wait4(pid, os.WNOHANG)
        if ended:
            unit = 1 if sys.platform == "darwin" else 1024
            return os.waitstatus_to_exitcode(status), usage.ru_maxrss * unit
        time.sleep(_POLL_SECONDS)
    return UNKNOWN_END, 0

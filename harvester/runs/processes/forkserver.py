"""Process that has harvester loaded and forks a process for each shard.

It has one thread and uses neither Arrow nor an object store, because threads and locks do not
survive a fork. It ends when the process that started it closes the control socket, or dies.
"""

from __future__ import annotations

import gc
import os
import resource
import socket
import time

from harvester.runs.processes.control import (
    NUMBER_BYTES,
    UNKNOWN_END,
    bytes_of,
    number_of,
)
from harvester.runs.processes.shard_process import work

_MAX_WAIT = 1.0
"""Seconds in which a process that has closed its socket must have ended."""

_POLL_SECONDS = 0.01


def serve(descriptor: int) -> None:
    """Answer requests on the control socket: a socket to fork with, or a process to wait for."""
    control = socket.socket(fileno=descriptor)
    # A core dump would hold every secret.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # The modules are never freed. Collecting garbage in them would copy them into each process.
    gc.freeze()
    gc.enable()
    while True:
        data, descriptors, _, _ = socket.recv_fds(control, NUMBER_BYTES, 1)
        if not data:
            return
        answer = _fork(control, descriptors[0]) if descriptors else _status_of(number_of(data))
        control.sendall(bytes_of(answer))


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


def _status_of(pid: int) -> int:
    """Return how a process ended, as `os.waitstatus_to_exitcode` does, or UNKNOWN_END."""
    until = time.monotonic() + _MAX_WAIT
    while time.monotonic() < until:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(_POLL_SECONDS)
    return UNKNOWN_END

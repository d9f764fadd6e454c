"""A server before another one that falls silent, as one that hangs behind a balancer does."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Lock, Thread

_BLOCK = 1 << 16


class SilentProxy:
    """Server on loopback that passes on some messages of its clients, and then keeps all others.

    Connections stay open, and new ones are accepted. ``left`` is the number of messages that it
    still passes on; ``is_silent`` tells whether it has kept one.
    """

    def __init__(self, target: int, messages: int) -> None:
        self.left, self.is_silent = messages, False
        self._target, self._lock = target, Lock()
        self._server = socket.create_server(("127.0.0.1", 0))
        self._sockets = [self._server]
        self.port: int = self._server.getsockname()[1]
        Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """End all connections, so that those who wait for an answer get an error."""
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._server.accept()
                behind = socket.create_connection(("127.0.0.1", self._target))
                self._sockets += [client, behind]
                Thread(target=self._ask, args=(client, behind), daemon=True).start()
                Thread(target=self._answer, args=(behind, client), daemon=True).start()

    def _ask(self, client: socket.socket, behind: socket.socket) -> None:
        with suppress(OSError):
            while message := client.recv(_BLOCK):
                with self._lock:
                    self.left -= 1
                    self.is_silent = self.is_silent or self.left < 0
                if not self.is_silent:
                    behind.sendall(message)
            behind.shutdown(socket.SHUT_WR)

    def _answer(self, behind: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while message := behind.recv(_BLOCK):
                client.sendall(message)
            client.shutdown(socket.SHUT_WR)


@contextmanager
def silent_proxy(target: int, messages: int) -> Iterator[SilentProxy]:
    """Serve before the server at a port of loopback for the block."""
    proxy = SilentProxy(target, messages)
    try:
        yield proxy
    finally:
        proxy.close()

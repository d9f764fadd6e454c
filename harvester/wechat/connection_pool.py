"""Pool of open connections to WeChat, each of which serves one account.

An answer that no request asked for (a proxy that repeats answers, a late byte) can only be read as
an answer of the same connection. So a connection is never handed from one account to another, and
is looked at for such answers when it is taken and when it is given back.

aiohttp opens, secures and parses the connections. Its own pool is keyed by server, so the
connections stay acquired there from beginning to end (docs/decisions/0028).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, cast

from aiohttp import ServerDisconnectedError
from aiohttp.connector import Connection
from aiohttp.http import HttpProcessingError

if TYPE_CHECKING:
    from aiohttp.client_proto import ResponseHandler

KEEP_ALIVE_SECONDS = 10.0
"""Seconds for which an idle connection is used again; WeChat closes it soon after."""

Connect: TypeAlias = Callable[[], Awaitable[Connection]]


class PooledConnection(NamedTuple):
    """A connection that serves a request, and whether it has served one before."""

    connection: Connection
    protocol: ResponseHandler
    reused: bool


class ConnectionPool:
    """Idle connections by account, at most ``limit`` of them open unless more are in use.

    ``connect`` opens a connection and raises aiohttp's errors. ``surplus`` counts the answers that
    no request asked for. Since the first of them no connection is used for a second request.
    """

    def __init__(self, connect: Connect, limit: int) -> None:
        self._connect = connect
        self._limit = limit
        # The account that was served longest ago comes first.
        self._idle: OrderedDict[str, list[tuple[PooledConnection, float]]] = OrderedDict()
        self._open = 0
        self.surplus = 0

    def take_idle(self, account: str) -> PooledConnection | None:
        """Return an idle connection of the account, None if it has none."""
        while (idle := self._idle.get(account)) is not None:
            pooled, since = idle.pop()
            if not idle:
                del self._idle[account]
            if self._is_usable(pooled.protocol, since):
                return pooled
            self._count_surplus(pooled.protocol)
            self._close(pooled.connection)
        return None

    async def open(self) -> PooledConnection:
        """Return a new connection, for an account that has no idle one. Raises aiohttp's errors."""
        if self._open >= self._limit:
            self._close_oldest()
        self._open += 1
        try:
            connection = await self._connect()
        except BaseException:
            self._open -= 1
            raise
        # A connection that this program has not closed has its protocol.
        protocol = cast("ResponseHandler", connection.protocol)
        if protocol.should_close:
            # An answer that came before any request would be read as the answer to it.
            self.surplus += protocol.is_connected()
            self._close(connection)
            raise ServerDisconnectedError
        return PooledConnection(connection, protocol, reused=False)

    def give_back(self, account: str, pooled: PooledConnection) -> None:
        """Keep a connection whose answer was read to its end for the account's next request."""
        # A surplus answer on the connection makes it one that should be closed.
        if self.surplus or pooled.protocol.should_close or not pooled.protocol.is_connected():
            self._count_surplus(pooled.protocol)
            self._close(pooled.connection)
            return
        again = pooled if pooled.reused else pooled._replace(reused=True)
        self._idle.setdefault(account, []).append((again, monotonic()))
        self._idle.move_to_end(account)

    def discard(self, pooled: PooledConnection) -> None:
        """Close a connection after a failed request: a late answer must not become the next one."""
        if pooled.reused:
            # The beginning of a surplus answer may have arrived before the request was sent, and
            # then its rest is no HTTP. A whole answer is that of this request, and came too late.
            self.surplus += isinstance(pooled.protocol.exception(), HttpProcessingError)
        self._close(pooled.connection)

    def distrust(self, account: str) -> None:
        """Count a surplus answer that was read as one of this account's own."""
        self.surplus += 1
        self.close_account(account)

    def inspect(self) -> None:
        """Count the surplus answers that came to idle connections, which are closed then."""
        for account in [*self._idle]:
            before = self.surplus
            for pooled, _ in self._idle[account]:
                self._count_surplus(pooled.protocol)
            if self.surplus > before:
                self.close_account(account)

    def close_account(self, account: str) -> None:
        """Close the idle connections of an account, which is done or not trusted any more."""
        for pooled, _ in self._idle.pop(account, ()):
            self._close(pooled.connection)

    def close(self) -> None:
        """Close all idle connections."""
        for account in [*self._idle]:
            self.close_account(account)

    def _is_usable(self, protocol: ResponseHandler, since: float) -> bool:
        fresh = monotonic() - since <= KEEP_ALIVE_SECONDS
        return fresh and not self.surplus and protocol.is_connected() and not protocol.should_close

    def _count_surplus(self, protocol: ResponseHandler) -> None:
        """Count answers, and bytes that are no HTTP, for which no request waits."""
        self.surplus += len(protocol) + isinstance(protocol.exception(), HttpProcessingError)

    def _close_oldest(self) -> None:
        """Close the connection that has been idle longest, if one is idle."""
        if self._idle:
            account, idle = next(iter(self._idle.items()))
            pooled, _ = idle.pop(0)
            if not idle:
                del self._idle[account]
            self._close(pooled.connection)

    def _close(self, connection: Connection) -> None:
        self._open -= 1
        connection.close()

"""The pool of connections against a server that counts them and sends what it was not asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import anyio
import pytest

from harvester.core.config.settings import Api
from harvester.core.errors import BadAnswer, CallError, CallTimedOut, ConnectionFailed
from harvester.core.secret import Secret
from harvester.wechat import transport as module
from harvester.wechat.transport import Transport
from tests.support.fault_server import ROWS, FaultServer, fault_server, http, say

ONE, OTHER, THIRD = (f"wx000000000000000{number}" for number in range(1, 4))
PATH = "/datacube/getinterfacesummary"
STRAY = b'{"list":["of another request"]}'


async def call(transport: Transport, account: str = ONE) -> bytes:
    """Make a data call of an account and return the body of its answer."""
    status, body = await transport.post(account, PATH, b"{}", Secret(f"token of {account}"))
    assert status == 200
    return body


def to(server: FaultServer, connections: int = 4) -> Transport:
    """Return a transport to a server."""
    return Transport(Api(base_url=server.url, timeout=300.0), connections=connections)


async def test_a_connection_serves_one_account() -> None:
    """Calls of one account share a connection, also its token's; another account has its own."""
    async with fault_server(say(http())) as server, to(server) as transport:
        for account in (ONE, OTHER, ONE, OTHER):
            await transport.post(account, "/cgi-bin/stable_token", b"{}")
            await transport.get(account, "/cgi-bin/token", {"appid": account})
            await call(transport, account)
    assert server.connections == 2


@pytest.mark.parametrize(
    "ask",
    [
        lambda transport, _: transport.post_as_platform("/x", b"{}", Secret("T")),
        lambda transport, server: transport.get_from(Secret(f"{server.url}/t"), {}),
    ],
    ids=["platform", "token server"],
)
async def test_calls_of_no_account_have_connections_of_their_own(
    ask: Callable[[Transport, FaultServer], Awaitable[object]],
) -> None:
    """They are closed after the answer, and an account's connection stays as it is."""
    async with fault_server(say(http())) as server, to(server) as transport:
        await call(transport)
        for _ in range(2):
            await ask(transport, server)
        await call(transport)
    assert server.connections == 3


async def test_the_account_served_longest_ago_loses_its_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The number of open connections has a bound."""
    monkeypatch.setattr(module, "MAX_OPEN_CONNECTIONS", 2)
    async with fault_server(say(http())) as server, to(server, 1) as transport:
        for account in (ONE, OTHER, ONE, THIRD):
            await call(transport, account)
        assert server.connections == 3
        await call(transport, ONE)
        assert server.connections == 3
        await call(transport, OTHER)
    assert server.connections == 4


async def test_the_connections_of_an_account_that_is_done_are_closed() -> None:
    """A later call of the account has a new connection."""
    async with fault_server(say(http())) as server, to(server) as transport:
        await call(transport, ONE)
        await call(transport, OTHER)
        transport.pool.close_account(ONE)
        await call(transport, OTHER)
        assert server.connections == 2
        await call(transport, ONE)
    assert server.connections == 3


async def test_an_idle_connection_is_not_used_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the time for which servers keep a connection it is opened anew."""
    now = [0.0]
    monkeypatch.setattr("harvester.wechat.connection_pool.monotonic", lambda: now[0])
    async with fault_server(say(http())) as server, to(server) as transport:
        await call(transport)
        now[0] = 9.9
        await call(transport)
        assert server.connections == 1
        now[0] = 20.0
        await call(transport)
    assert server.connections == 2


async def test_surplus_answers_are_counted_and_end_the_use_of_connections_again() -> None:
    """Two answers to one request are noticed with the answer, in the same packet."""
    twice = say(http() + http(STRAY))
    async with fault_server(twice, say(http())) as server, to(server) as transport:
        assert await call(transport) == ROWS
        assert transport.pool.surplus == 1
        for account in (ONE, OTHER, ONE):
            assert await call(transport, account) == ROWS
    assert server.connections == 4


async def test_a_surplus_answer_to_one_account_ends_the_use_of_all_idle_connections() -> None:
    """A proxy that repeats answers serves the other accounts too, so each call has a new one."""
    once, twice = say(http()), say(http() + http(STRAY))
    async with fault_server(once, twice, once) as server, to(server) as transport:
        await call(transport, OTHER)
        await call(transport, ONE)
        assert transport.pool.surplus == 1
        assert await call(transport, OTHER) == ROWS
    assert server.connections == 3


async def test_a_late_answer_on_an_idle_connection_is_found_by_inspection() -> None:
    """No further request is needed to notice it."""

    async def late(writer: asyncio.StreamWriter) -> None:
        writer.write(http())
        await asyncio.sleep(0.02)
        writer.write(http(STRAY))

    async with fault_server(late) as server, to(server) as transport:
        await call(transport)
        transport.pool.inspect()
        assert transport.pool.surplus == 0
        await anyio.sleep(0.1)
        transport.pool.inspect()
        transport.pool.inspect()
        assert transport.pool.surplus == 1


async def test_the_rest_of_a_surplus_answer_is_a_surplus_answer() -> None:
    """Its beginning came before the request, so its rest is no HTTP, and the call fails."""
    begun = http(STRAY)

    async def half(writer: asyncio.StreamWriter) -> None:
        writer.write(http() + begun[:20])

    async def rest(writer: asyncio.StreamWriter) -> None:
        writer.write(begun[20:] + http())

    async with fault_server(half, rest, say(http())) as server, to(server) as transport:
        assert await call(transport) == ROWS
        await anyio.sleep(0.02)
        with pytest.raises(BadAnswer, match="not HTTP"):
            await call(transport)
        assert transport.pool.surplus == 1
        assert await call(transport) == ROWS


async def test_an_answer_that_comes_as_its_call_is_given_up_is_no_surplus_answer() -> None:
    """As after a pause of the process, when the time limit of the call has passed as well."""
    async with fault_server(say(http())) as server, to(server) as transport:
        await call(transport)
        pooled = transport.pool.take_idle(ONE)
        assert pooled is not None
        transport.pool.give_back(ONE, pooled)
        # To be cancelled at once, as by its deadline: a task group would let it read the answer.
        calling = asyncio.create_task(call(transport))  # noqa: TID251
        while not len(pooled.protocol):
            await anyio.lowlevel.checkpoint()
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        assert transport.pool.surplus == 0
        assert await call(transport) == ROWS
    assert server.connections == 2


async def test_an_answer_that_comes_before_any_request_is_noticed() -> None:
    """A server that speaks first is found out at the latest by the answer to the first request."""
    async with (
        fault_server(say(http()), greeting=http(STRAY)) as server,
        to(server) as transport,
    ):
        with suppress(CallError):
            await call(transport)
        await anyio.sleep(0.02)
        transport.pool.inspect()
        assert transport.pool.surplus == 1


async def test_a_distrusted_account_gets_a_new_connection() -> None:
    """An answer to another request counts, and its connection is closed."""
    async with fault_server(say(http())) as server, to(server) as transport:
        await call(transport)
        transport.pool.distrust(ONE)
        await call(transport)
        assert transport.pool.surplus == 1
    assert server.connections == 2


async def test_a_failed_call_leaves_no_open_connection() -> None:
    """Neither a refused connection nor one that breaks takes room in the pool."""
    async with fault_server(say(close=True)) as server, to(server) as transport:
        for _ in range(3):
            with pytest.raises(ConnectionFailed):
                await call(transport)
        assert transport.pool._open == 0
    async with Transport(Api(base_url=server.url), connections=1) as transport:
        with pytest.raises(ConnectionFailed):
            await call(transport)
        assert transport.pool._open == 0


async def test_a_late_answer_is_not_that_to_the_next_request() -> None:
    """It comes when the next request waits, so that nothing but its connection tells them apart."""
    overdue = asyncio.Event()

    async def late(writer: asyncio.StreamWriter) -> None:
        await overdue.wait()
        writer.write(http(STRAY))

    async with (
        fault_server(late, say(http())) as server,
        to(server, 1) as transport,
    ):
        transport._seconds = 0.2
        with pytest.raises(CallTimedOut):
            await call(transport)
        # However slow this machine is, the next call has its answer in time.
        transport._seconds = 300.0
        # The call sends its request before the server gets to run.
        overdue.set()
        assert await call(transport) == ROWS
    assert server.connections == 2


async def test_calls_through_a_proxy_share_the_connections_of_their_account() -> None:
    """Over plain HTTP each request has the absolute URL, and the proxy's password."""
    async with fault_server(say(http())) as proxy:
        address = proxy.url.replace("//", "//user:pass%20word@")
        api = Api(base_url="http://127.0.0.1:1/base", proxy=address)
        async with Transport(api, connections=1) as transport:
            for account in (ONE, OTHER, ONE):
                await call(transport, account)
            await transport.get(ONE, "/cgi-bin/token", {"appid": ONE})
    assert proxy.connections == 2
    lines = {request.line.partition("?")[0] for request in proxy.requests}
    assert lines == {
        f"POST http://127.0.0.1:1/base{PATH}",
        "GET http://127.0.0.1:1/base/cgi-bin/token",
    }
    passwords = {request.headers["proxy-authorization"] for request in proxy.requests}
    assert passwords == {"Basic dXNlcjpwYXNzIHdvcmQ="}

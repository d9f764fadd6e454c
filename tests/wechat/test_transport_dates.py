"""The ``Date`` of answers: told once a connection and second, and of the API alone."""

from __future__ import annotations

from contextlib import suppress

import pytest

from harvester.core.config.settings import Api
from harvester.core.errors import CallError
from harvester.core.secret import Secret
from harvester.wechat.transport import Transport
from tests.support.fault_server import ROWS, Answer, fault_server, say
from tests.wechat.test_transport import send

NOON, LATER = "Wed, 20 May 2026 04:00:00 GMT", "Wed, 20 May 2026 04:00:01 GMT"

each_way = pytest.mark.parametrize("token", [Secret("canary-token"), None], ids=["data", "other"])


def dated(*dates: str, status: str = "200 OK", body: bytes = ROWS) -> Answer:
    """Return an answer with these Date headers."""
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n"
    return say((head + "".join(f"Date: {date}\r\n" for date in dates) + "\r\n").encode() + body)


async def test_a_date_has_one_vote_on_a_connection() -> None:
    """A thousand answers of one second are one text, and a cached one comes again for ever."""
    answers = [dated(NOON), dated(NOON), dated(), dated(LATER), dated(LATER), dated(NOON)]
    heard: list[str] = []
    async with (
        fault_server(*answers) as server,
        Transport(Api(base_url=server.url), connections=1, on_date=heard.append) as transport,
    ):
        for _ in answers:
            await send(transport, Secret("canary-token"))
    assert [date for date in heard if date] == [NOON, LATER]


async def test_each_connection_has_a_vote() -> None:
    """Two accounts have two connections, which may lead to two servers."""
    heard: list[str] = []
    async with (
        fault_server(dated(NOON), dated(NOON)) as server,
        Transport(Api(base_url=server.url), connections=2, on_date=heard.append) as transport,
    ):
        for name in ("wx0000000000000001", "wx0000000000000002"):
            await transport.post(name, "/datacube/getusersummary", b"{}", Secret("canary-token"))
    assert heard == [NOON, NOON]


@each_way
@pytest.mark.parametrize(
    "body", [b"<html></html>", b'{"message":"Forbidden"}', b"[]", b'{"list":', b"\x00"]
)
async def test_only_answers_of_the_api_have_a_vote(token: Secret | None, body: bytes) -> None:
    """A gateway or a proxy before it has a clock of its own."""
    heard: list[str] = []
    async with (
        fault_server(dated(NOON, body=body)) as server,
        Transport(Api(base_url=server.url), connections=1, on_date=heard.append) as transport,
    ):
        with suppress(CallError):
            await send(transport, token)
    assert heard == []


@each_way
async def test_an_error_has_a_date_too(token: Secret | None) -> None:
    """WeChat answers 200 to nearly everything, and a gateway before it does not."""
    heard: list[str] = []
    async with (
        fault_server(dated(NOON, status="503 Busy")) as server,
        Transport(Api(base_url=server.url), connections=1, on_date=heard.append) as transport,
    ):
        assert await send(transport, token) == (503, ROWS)
    assert heard == [NOON]


async def test_the_date_of_a_token_server_is_not_wechats() -> None:
    """Its clock is another one."""
    heard: list[str] = []
    async with (
        fault_server(dated(NOON)) as server,
        Transport(Api(base_url=server.url), connections=1, on_date=heard.append) as transport,
    ):
        await transport.get_from(Secret(f"{server.url}/canary-path"), {})
    assert heard == []


async def test_without_an_observer_a_date_is_passed_over() -> None:
    """The transport itself needs no time."""
    async with (
        fault_server(dated(NOON)) as server,
        Transport(Api(base_url=server.url), connections=1) as transport,
    ):
        assert await send(transport) == (200, ROWS)

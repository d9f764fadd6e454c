from __future__ import annotations

import time
from collections.abc import AsyncIterator

import aiohttp
import anyio
import pytest

from harvester.core.calendar import parse_day
from harvester.sandbox.call_faults import TOKEN
from harvester.sandbox.data import Row
from harvester.sandbox.server import serve
from tests.support import faulty_wechat
from tests.support.faulty_wechat import AskedWindow, Fault, Wire
from tests.support.sandboxes import (
    BUSY,
    DAILY,
    HOURLY,
    NOON,
    PLAIN,
    QUIET,
    STABLE,
    Client,
    client_for,
    fake_wechat_at,
)


async def test_unknown_paths() -> None:
    """A path WeChat does not have is HTTP 404, also the one that generated clients make up."""
    wechat, _ = fake_wechat_at()
    async with client_for(wechat) as client:
        for path in ("/", "/datacube/getnothing", "/cgi-bin/datacube/getinterfacesummary"):
            assert (await client.send("POST", path, data=b"{}")).status == 404


async def test_chunked_requests() -> None:
    """A body without Content-Length is HTTP 412."""

    async def pieces() -> AsyncIterator[bytes]:
        yield b'{"begin_date":"2024-06-01","end_date":"2024-06-01"}'

    wechat, _ = fake_wechat_at()
    async with client_for(wechat) as client:
        token = wechat.token_of(BUSY)
        got = await client.send("POST", DAILY, params={"access_token": token}, data=pieces())
    assert got.status == 412


@pytest.mark.parametrize(
    ("fault", "status", "body"),
    [
        (faulty_wechat.BAD_GATEWAY, 502, b"<html>"),
        (faulty_wechat.HTML_PAGE, 200, b"<html>"),
        (faulty_wechat.EMPTY_BODY, 200, b""),
        (faulty_wechat.EMPTY_OBJECT, 200, b"{}"),
        (faulty_wechat.NULL_LIST, 200, b'{"list":null}'),
        (Fault(body=b'{"errcode":"40001"}'), 200, b'{"errcode":"40001"}'),
    ],
)
async def test_malformed_answers(fault: Fault, status: int, body: bytes) -> None:
    """A fault can put any status and any bytes in the place of an answer, with its own type."""
    wechat, _ = fake_wechat_at()
    wechat.fail(BUSY, fault, times=1)
    async with client_for(wechat) as client:
        token = wechat.token_of(BUSY)
        got = await client.ask(token, "2024-06-01", "2024-06-01")
        assert (await client.ask(token, "2024-06-01", "2024-06-01")).errcode == 0
    assert (got.status, got.headers["Content-Type"]) == (status, fault.content_type)
    assert got.body.startswith(body)
    assert bool(got.body) == bool(body)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (faulty_wechat.CLOSED, aiohttp.ServerDisconnectedError),
        (faulty_wechat.RESET, aiohttp.ClientOSError),
        (faulty_wechat.CUT, aiohttp.ClientPayloadError),
        (faulty_wechat.GARBAGE, aiohttp.ClientResponseError),
    ],
    ids=["closed", "reset", "cut", "garbage"],
)
async def test_broken_connections(fault: Fault, error: type[Exception]) -> None:
    """A fault can break the connection, and the server goes on as if nothing had been."""
    wechat, _ = fake_wechat_at()
    wechat.fail(BUSY, fault, times=1)
    async with client_for(wechat) as client:
        token = wechat.token_of(BUSY)
        with pytest.raises(error):
            await client.ask(token, "2024-06-01", "2024-06-01")
        assert (await client.ask(token, "2024-06-01", "2024-06-01")).errcode == 0


async def test_latency_jitter_and_delay_add_up() -> None:
    """Latency, jitter and the delay of a fault add up, and calls wait side by side."""
    wechat, _ = fake_wechat_at(latency=0.03, latency_jitter=0.01)
    wechat.fail(BUSY, Fault(delay=1.0))
    async with client_for(wechat) as client:
        token = wechat.token_of(BUSY)
        began = time.monotonic()
        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(client.ask, token, "2024-06-01", "2024-06-01")
        took = time.monotonic() - began
    assert 1.03 <= took < 15  # one after the other they would take 20.6 s


async def test_stopping_does_not_wait_for_slow_answers() -> None:
    """A server that owes an answer for an hour is gone before."""
    arrived = anyio.Event()

    def notice(rows: list[Row]) -> list[Row]:
        arrived.set()
        return rows

    async def ask_in_vain(client: Client) -> None:
        with pytest.raises(aiohttp.ClientError):
            await client.ask(wechat.token_of(BUSY), "2024-06-01", "2024-06-01")

    wechat, _ = fake_wechat_at()
    wechat.fail(BUSY, Fault(alter=notice, delay=3600))
    async with aiohttp.ClientSession() as session, anyio.create_task_group() as group:
        with anyio.fail_after(300):
            async with serve(wechat) as address:
                group.start_soon(ask_in_vain, Client(session, address))
                await arrived.wait()


async def test_everything_is_counted() -> None:
    """Requests, paths, calls, token calls and errcodes; for tests the windows asked as well."""
    wechat, _ = fake_wechat_at(window_limit=(100, 1.0))
    async with client_for(wechat) as client:
        token = (await client.stable_token(BUSY)).json["access_token"]
        await client.plain_token(BUSY)
        for _ in range(2):
            await client.ask(token, "2024-06-01", "2024-06-02")
        await client.ask(token, "2024-06-01", "2024-06-02", path=HOURLY)
        await client.ask("stale", "2024-06-01", "2024-06-02")
        await client.send("GET", "/favicon.ico")
        told = (await client.send("GET", "/sandbox/counters")).json
    counters = wechat.counters
    assert counters.requests == told["requests"] == 7
    assert counters.paths == told["paths"] == {STABLE: 1, PLAIN: 1, DAILY: 3, HOURLY: 1, "?": 1}
    assert counters.calls == told["calls"] == {BUSY: 3}
    assert counters.token_calls == told["token_calls"] == {BUSY: 2}
    assert (counters.errcodes, told["errcodes"]) == ({61501: 1, 40001: 1}, {"61501": 1, "40001": 1})
    assert told["peak_load"] == {BUSY: 3}
    days = parse_day("2024-06-01"), parse_day("2024-06-02")
    assert wechat.windows[AskedWindow(BUSY, "interface_summary", *days)] == 2


async def test_a_reset_clears_counters_and_limits() -> None:
    """A reset forgets what was counted, limits included, and leaves tokens as they are."""
    wechat, _ = fake_wechat_at(daily_quota=1)
    async with client_for(wechat) as client:
        token = wechat.token_of(QUIET)
        for expected in (0, 45009):
            assert (await client.ask(token, "2024-06-01", "2024-06-01")).errcode == expected
        assert (await client.send("GET", "/sandbox/reset")).status == 405
        assert (await client.send("POST", "/sandbox/reset")).json == {}
        assert wechat.counters.requests == 0
        assert (await client.ask(token, "2024-06-01", "2024-06-01")).errcode == 0


async def test_a_taken_port_is_an_error() -> None:
    """Two sandboxes cannot share a port."""
    wechat, _ = fake_wechat_at()
    async with serve(wechat) as address:
        port = int(address.rpartition(":")[2])
        with pytest.raises(OSError, match="address already in use"):
            async with serve(wechat, port=port):
                pass


@pytest.mark.parametrize("wire", [None, Wire.CUT])
async def test_every_answer_has_the_date_of_the_emulators_clock(wire: Wire | None) -> None:
    """To the second, and of answers that break off too."""
    wechat, clock = fake_wechat_at(NOON + 0.9)
    async with client_for(wechat) as client:
        for moved, text in ((0.0, "04:00:00"), (0.2, "04:00:01"), (3600.0, "05:00:01")):
            clock.now += moved
            if wire is not None:
                wechat.fail(BUSY, Fault(wire=wire), times=1, dataset=TOKEN)
            assert await date_of_answer(client) == f"Wed, 12 Jun 2024 {text} GMT"


async def date_of_answer(client: Client) -> str:
    """Return the Date of an answer whose body is not needed."""
    asked = {"appid": BUSY, "secret": "s", "grant_type": "client_credential"}
    async with client.session.post(client.address + STABLE, json=asked) as response:
        return response.headers["Date"]

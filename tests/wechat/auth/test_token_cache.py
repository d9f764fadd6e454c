from __future__ import annotations

import asyncio
import traceback
from collections.abc import Mapping

import anyio
import anyio.lowlevel
import orjson
import pytest

from harvester.core.config.credentials import Access, SecretReader
from harvester.core.errors import BadAnswer, CallError, CallTimedOut, ConnectionFailed
from harvester.core.secret import Secret
from harvester.wechat.auth.provider import TokenDenied
from tests.support.fault_server import Answer, http, say, silence
from tests.support.token_harness import (
    APP_SECRET,
    FIRST,
    SECOND,
    A,
    B,
    Clock,
    grant,
    refusal,
    token_harness,
)

STATIC: Mapping[str, Access] = {A: SecretReader(lambda: Secret("given"))}


async def test_the_token_is_asked_for_in_normal_mode() -> None:
    """Only stable_token is called, by POST, and never so that the present token would end."""
    async with token_harness(FIRST) as at:
        assert (await at.tokens.current(A)).reveal() == "first"
    (request,) = at.server.requests
    assert request.line == "POST /cgi-bin/stable_token HTTP/1.1"
    assert orjson.loads(request.body) == {
        "grant_type": "client_credential",
        "appid": A,
        "secret": APP_SECRET,
        "force_refresh": False,
    }


async def test_fifty_workers_cost_one_call() -> None:
    """All workers that need the token of an account share one call."""
    async with token_harness(FIRST, SECOND) as at:
        found: list[str] = []

        async def worker() -> None:
            found.append((await at.tokens.current(A)).reveal())

        async with anyio.create_task_group() as group:
            for _ in range(50):
                group.start_soon(worker)
        assert found == ["first"] * 50
        assert at.calls == len(at.server.requests) == 1


async def test_each_account_has_its_own_token() -> None:
    """The token of one account is never given to another."""
    async with token_harness(FIRST, SECOND) as at:
        assert (await at.tokens.current(A)).reveal() == "first"
        assert (await at.tokens.current(B)).reveal() == "second"
        assert (await at.tokens.current(A)).reveal() == "first"


@pytest.mark.parametrize(
    ("life", "kept"),
    [
        (7200, 6900),
        (700, 400),
        (345, 172),
        (2, 1),
        (10**9, 6900),
        ("7200", 6900),
        (0, 30),
        (-5, 30),
        (None, 30),
        ("soon", 30),
        ({}, 30),
    ],
)
async def test_a_token_is_renewed_before_it_ends(life: object, kept: float) -> None:
    """Five minutes before the end, or after half of a short life, a new token is fetched."""
    async with token_harness(grant("first", expires_in=life), SECOND) as at:
        await at.tokens.current(A)
        at.clock.now += kept - 0.5
        assert (await at.tokens.current(A)).reveal() == "first"
        at.clock.now += 1
        assert (await at.tokens.current(A)).reveal() == "second"


async def test_a_token_s_life_counts_from_the_request() -> None:
    """A slow answer does not extend the life of its token."""
    clock = Clock()

    async def late(writer: asyncio.StreamWriter) -> None:
        clock.now += 20
        await FIRST(writer)

    async with token_harness(late, SECOND, clock=clock) as at:
        await at.tokens.current(A)
        clock.now += 6879
        assert (await at.tokens.current(A)).reveal() == "first"
        clock.now += 2
        assert (await at.tokens.current(A)).reveal() == "second"


async def test_a_rejected_token_is_replaced_once() -> None:
    """The first failure replaces a token with which calls of many workers fail."""
    async with token_harness(FIRST, SECOND) as at:
        token = await at.tokens.current(A)
        assert at.tokens.invalidate(A, token, 40001)
        assert not at.tokens.invalidate(A, token, 40001)
        fresh = await at.tokens.current(A)
        assert fresh.reveal() == "second"
        assert not at.tokens.invalidate(A, token, 40001)
        assert await at.tokens.current(A) is fresh
        assert at.calls == 2


async def test_a_late_rejection_does_not_drop_an_equal_token() -> None:
    """WeChat issues the same token again: a call that failed with the first keeps the second."""
    async with token_harness(FIRST) as at:
        old = await at.tokens.current(A)
        at.tokens.invalidate(A, old, 40001)
        fresh = await at.tokens.current(A)
        assert fresh == old
        assert not at.tokens.invalidate(A, old, 40001)
        assert at.tokens.invalidate(A, fresh, 40001)


async def test_a_token_that_was_not_issued_cannot_be_rejected() -> None:
    """A rejection changes nothing for an account without a token."""
    async with token_harness(FIRST) as at:
        assert not at.tokens.invalidate(A, Secret("first"), 40001)


async def test_a_static_token_is_used_without_a_call() -> None:
    """A token from the manifest is used until WeChat rejects it."""
    async with token_harness(FIRST, kinds=STATIC) as at:
        token = await at.tokens.current(A)
        at.clock.now += 1e6
        assert await at.tokens.current(A) is token
        assert at.server.requests == []


async def test_a_rejected_static_token_stops_its_account() -> None:
    """The message says that only the owner can renew the token."""
    async with token_harness(FIRST, kinds=STATIC) as at:
        assert at.tokens.invalidate(A, await at.tokens.current(A), 40001)
        for _ in range(2):
            with pytest.raises(TokenDenied, match="only its owner can renew it"):
                await at.tokens.current(A)
        assert at.calls == 0


@pytest.mark.parametrize("errcode", [40001, 40013, 40125, 40164, 40243, 89501, 89507, 99999])
async def test_an_account_that_cannot_be_authorised_costs_one_call(errcode: int) -> None:
    """A permanent refusal is remembered, and other accounts are not affected."""
    async with token_harness(refusal(errcode, "no rid: 654df33c-64386a2f-29857782"), FIRST) as at:
        for _ in range(3):
            with pytest.raises(TokenDenied) as caught:
                await at.tokens.current(A)
            assert caught.value.why == (errcode, "no", "654df33c-64386a2f-29857782")
        assert (await at.tokens.current(B)).reveal() == "first"
        assert at.calls == 2


@pytest.mark.parametrize("errcode", [-1, 45009, 45011])
async def test_a_temporary_refusal_is_not_remembered(errcode: int) -> None:
    """After a busy endpoint or a reached limit, the next attempt asks again."""
    async with token_harness(refusal(errcode), FIRST) as at:
        with pytest.raises(TokenDenied):
            await at.tokens.current(A)
        assert (await at.tokens.current(A)).reveal() == "first"


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (say(close=True), ConnectionFailed),
        (silence, CallTimedOut),
        (say(http(b"<html>")), BadAnswer),
        (say(http(b"", status="502 Bad Gateway")), BadAnswer),
        (say(http(b"{}")), BadAnswer),
        (grant(""), BadAnswer),
        (say(http(b'{"access_token":"canary0123456789","expires_in"')), BadAnswer),
        (say(http(b'["canary0123456789"]')), BadAnswer),
    ],
)
async def test_a_failed_call_is_repeated(answer: Answer, kind: type[CallError]) -> None:
    """A broken answer is an error without the text of the answer, and is not remembered."""
    async with token_harness(answer, FIRST, seconds=0.3) as at:
        with pytest.raises(kind) as caught:
            await at.tokens.current(A)
        assert_silent(caught.value)
        assert (await at.tokens.current(A)).reveal() == "first"


async def test_all_waiting_workers_share_a_failure() -> None:
    """Each waiting worker gets an error of its own, and the call is made once."""
    async with token_harness(say(http(b"{}")), FIRST) as at:
        errors: list[CallError] = []

        async def worker() -> None:
            try:
                await at.tokens.current(A)
            except CallError as error:
                errors.append(error)

        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(worker)
        assert len({id(error) for error in errors}) == 5
        assert at.calls == 1


async def test_a_call_outlives_the_worker_that_started_it() -> None:
    """The waiting workers get the result of the call whose first worker is cancelled."""
    arrived, release = anyio.Event(), anyio.Event()

    async def hold_back(writer: asyncio.StreamWriter) -> None:
        arrived.set()
        await release.wait()
        await FIRST(writer)

    async with token_harness(hold_back, SECOND) as at:
        found: list[str] = []

        async def lead(scope: anyio.CancelScope) -> None:
            with scope:
                found.append((await at.tokens.current(A)).reveal())

        scopes = [anyio.CancelScope() for _ in range(4)]
        async with anyio.create_task_group() as group:
            for scope in scopes:
                group.start_soon(lead, scope)
            await arrived.wait()
            for scope in scopes[:3]:
                scope.cancel()
            await anyio.wait_all_tasks_blocked()
            release.set()
        assert found == ["first"]
        assert at.calls == len(at.server.requests) == 1


async def test_the_end_of_a_run_cancels_pending_requests() -> None:
    """A cancelled run does not wait for a token."""
    async with token_harness(silence) as at, anyio.create_task_group() as group:
        group.start_soon(at.tokens.current, A)
        while not at.server.requests:
            await anyio.lowlevel.checkpoint()
        group.cancel_scope.cancel()


async def test_an_error_is_raised_while_a_token_is_requested() -> None:
    """The end of pending requests does not hide the error that ends the run."""

    async def run_short_of_memory() -> None:
        async with token_harness(silence) as at:
            async with anyio.create_task_group() as group:
                group.start_soon(at.tokens.current, A)
                while not at.server.requests:
                    await anyio.lowlevel.checkpoint()
                group.cancel_scope.cancel()
            raise MemoryError("planted")

    with pytest.raises(MemoryError, match="planted"):
        await run_short_of_memory()


async def test_a_cancelled_worker_does_not_cancel_the_call() -> None:
    """The others still get the token after a waiting worker is cancelled."""
    release = anyio.Event()

    async def hold_back(writer: asyncio.StreamWriter) -> None:
        await release.wait()
        await FIRST(writer)

    async with token_harness(hold_back) as at, anyio.create_task_group() as group:
        found: list[str] = []

        async def lead() -> None:
            found.append((await at.tokens.current(A)).reveal())

        group.start_soon(lead)
        await anyio.wait_all_tasks_blocked()
        with anyio.move_on_after(0.01) as scope:
            await at.tokens.current(A)
        assert scope.cancelled_caught
        release.set()
        assert (await at.tokens.current(A)).reveal() == "first"
        assert at.calls == 1
    assert found == ["first"]


def assert_silent(error: BaseException) -> None:
    """Assert that no text and no variable of the package holds the AppSecret or a token."""
    report = traceback.TracebackException.from_exception(error, capture_locals=True)
    ours = [frame.locals for frame in report.stack if "/harvester/" in frame.filename]
    assert len(ours) > 0
    assert "canary" not in f"{error!r} {error.__context__!r} {error.__cause__!r} {ours}"

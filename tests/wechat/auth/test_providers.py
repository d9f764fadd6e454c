"""Each token provider: its request, its reading of the answer, and when it stops asking."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import orjson
import pytest

from harvester.catalogue import CATALOGUE
from harvester.core.config.credentials import Access, AppSecret, HttpSource, SecretReader
from harvester.core.config.settings import Api
from harvester.core.errors import (
    BadAnswer,
    BadTls,
    CallError,
    CallTimedOut,
    ConnectionFailed,
    Unreachable,
    UsageError,
)
from harvester.core.model import Window
from harvester.core.rule import Action, Scope
from harvester.core.secret import Secret
from harvester.wechat import attempt
from harvester.wechat.auth import external
from harvester.wechat.auth.provider import TokenDenied
from harvester.wechat.transport import Transport
from tests.support.fault_server import Answer, certificate, fault_server, http, say, silence
from tests.support.run_harness import DAILY
from tests.support.token_harness import (
    APP_SECRET,
    FETCHED,
    FIRST,
    SECOND,
    A,
    B,
    Clock,
    Kinds,
    TokenHarness,
    denial,
    refusal,
    token_harness,
)

LEGACY: Mapping[str, Access] = {A: AppSecret(Secret(APP_SECRET), legacy=True)}


async def rejected(at: TokenHarness, errcode: int = 40001) -> Secret:
    """Return the current token after WeChat has rejected it."""
    token = await at.tokens.current(A)
    assert at.tokens.invalidate(A, token, errcode)
    return token


# AppSecrets


class Budget:
    """A number of permitted replacements by force; counts the requests for one."""

    def __init__(self, granted: int) -> None:
        self.left = granted
        self.asked = 0

    async def __call__(self, _: str) -> bool:
        self.asked += 1
        self.left -= 1
        return self.left >= 0


def forced(at: TokenHarness) -> list[bool]:
    """Return for each token call whether it was by force."""
    return [orjson.loads(request.body)["force_refresh"] for request in at.server.requests]


async def test_a_token_is_replaced_by_force_only_when_its_successor_is_rejected_too() -> None:
    """One call in normal mode, one by force, and then the account stops."""
    budget = Budget(5)
    async with token_harness(FIRST, FIRST, SECOND, budget=budget) as at:
        await rejected(at)
        assert budget.asked == 0
        await rejected(at)
        assert (await rejected(at)).reveal() == "second"
        refused = await denial(at)
        await denial(at)
        assert forced(at) == [False, False, True]
    assert budget.asked == 1
    assert (refused.rule.action, refused.rule.scope) == (Action.STOP, Scope.ACCOUNT)


async def test_rejected_tokens_that_had_worked_are_not_replaced_by_force() -> None:
    """Normal mode gets the new token each time that another service has replaced it."""
    budget = Budget(5)
    async with token_harness(FIRST, SECOND, FIRST, SECOND, budget=budget) as at:
        for _ in range(4):
            token = await at.tokens.current(A)
            at.tokens.mark_working(A, token)
            at.tokens.invalidate(A, token, 40001)
        assert forced(at) == [False] * 4
    assert budget.asked == 0


async def test_a_late_success_of_an_equal_token_prevents_force() -> None:
    """A late answer to a call with an equal token proves that its rejection was a mistake."""
    budget = Budget(5)
    async with token_harness(FIRST, FIRST, SECOND, FIRST, budget=budget) as at:
        first = await rejected(at)
        await at.tokens.current(A)
        at.tokens.mark_working(A, first)
        again = await rejected(at)
        at.tokens.mark_working(A, again)
        await rejected(at)
        at.tokens.mark_working(A, Secret("second"))
        await at.tokens.current(A)
        assert forced(at) == [False] * 4
    assert budget.asked == 0


async def test_tokens_that_worked_are_replaced_in_normal_mode_however_often() -> None:
    """Another service ends them; by force harvester would only end that one's in turn."""
    budget = Budget(5)
    async with token_harness(FIRST, SECOND, FIRST, SECOND, FIRST, budget=budget) as at:
        for _ in range(5):
            token = await at.tokens.current(A)
            at.tokens.mark_working(A, token)
            assert at.tokens.invalidate(A, token, 40001)
        assert forced(at) == [False] * 5
    assert budget.asked == 0


async def test_a_token_that_worked_is_none_of_the_two_that_justify_force() -> None:
    """The first one worked; force needs two after it that never did."""
    async with token_harness(FIRST, SECOND, FIRST, SECOND, budget=Budget(5)) as at:
        at.tokens.mark_working(A, await at.tokens.current(A))
        await rejected(at)
        await rejected(at)
        await rejected(at)
        await at.tokens.current(A)
        assert forced(at) == [False, False, False, True]


@pytest.mark.parametrize("errcode", [40014, 42001])
async def test_an_expired_token_is_not_replaced_by_force(errcode: int) -> None:
    """Only 40001 means that another token has replaced it."""
    budget = Budget(5)
    async with token_harness(FIRST, SECOND, budget=budget) as at:
        await rejected(at, errcode)
        await rejected(at, errcode)
        assert (await denial(at)).rule.scope is Scope.ACCOUNT
        assert forced(at) == [False, False]
    assert budget.asked == 0


async def test_without_a_budget_the_account_stops() -> None:
    """If no replacement by force is permitted, there is no token."""
    async with token_harness(FIRST, SECOND) as at:
        await rejected(at)
        await rejected(at)
        await denial(at)
        assert forced(at) == [False, False]


async def test_a_failed_call_does_not_reset_the_count_of_rejections() -> None:
    """A rejection counts until there is a new token, also if the network fails in between."""
    budget = Budget(1)
    async with token_harness(FIRST, say(close=True), FIRST, SECOND, budget=budget) as at:
        await rejected(at)
        with pytest.raises(ConnectionFailed):
            await at.tokens.current(A)
        await rejected(at)
        assert (await at.tokens.current(A)).reveal() == "second"
        assert forced(at) == [False, False, False, True]


async def test_a_legacy_token_is_requested_twice_in_a_row_at_most() -> None:
    """The request is a GET of /cgi-bin/token."""
    async with token_harness(FIRST, SECOND, kinds=LEGACY) as at:
        await rejected(at)
        await rejected(at)
        await denial(at)
        lines = [request.line for request in at.server.requests]
    path = f"/cgi-bin/token?grant_type=client_credential&appid={A}&secret={APP_SECRET}"
    assert lines == [f"GET {path} HTTP/1.1"] * 2


async def test_advice_names_the_address_that_is_not_allowed() -> None:
    """For 40164 it says which address WeChat saw and where in the console to add it."""
    words = "invalid ip 203.0.113.7 ipv6 ::ffff:203.0.113.7, not in whitelist rid: 64e5d2d0-1-2"
    async with token_harness(refusal(40164, words)) as at:
        rule = (await denial(at)).rule
    assert "Add 203.0.113.7 to the account's IP allow-list" in rule.advice
    assert "developers.weixin.qq.com/platform" in rule.advice


# Static tokens


async def test_a_static_token_may_be_replaced_by_its_owner() -> None:
    """After a rejection the file is read again; the same token once more stops the account."""
    words = iter(["one", "two", "two"])
    kinds: Mapping[str, Access] = {A: SecretReader(lambda: Secret(next(words)))}
    async with token_harness(FIRST, kinds=kinds) as at:
        assert (await rejected(at)).reveal() == "one"
        assert (await rejected(at)).reveal() == "two"
        assert "only its owner can renew it" in str(await denial(at))
        assert at.calls == 0


async def test_a_static_token_is_not_used_after_its_end() -> None:
    """From ``expires_at`` on there is no token."""
    clock = Clock()
    kinds: Mapping[str, Access] = {
        A: SecretReader(lambda: Secret("one"), expires_at=clock.now + 100)
    }
    async with token_harness(FIRST, kinds=kinds, clock=clock) as at:
        clock.now += 99
        assert (await at.tokens.current(A)).reveal() == "one"
        clock.now += 1
        assert "only its owner can renew it" in str(await denial(at))


async def test_a_static_token_that_cannot_be_read_stops_its_account() -> None:
    """The message names the file."""

    def gone() -> Secret:
        raise UsageError("the credential refers to the file `t`, which does not exist")

    async with token_harness(FIRST, kinds={A: SecretReader(gone)}) as at:
        assert "the file `t`, which does not exist" in str(await denial(at))


# Token servers


def served(url: str) -> Mapping[str, Access]:
    """Return the credential of an account whose token server requires a key."""
    headers = {"Authorization": Secret("Bearer canary+/=&%")}
    return {A: HttpSource(Secret(f"{url}/token?of={A}"), headers)}


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        (b"tok+en/=", 60),
        (b"tok+en/=\n", 60),
        (b'{"access_token":"tok+en/=","expires_in":7200}', 60),
        (b'{"access_token":"tok+en/=","expires_in":20}', 10),
        (b'{"access_token":"tok+en/="}', 60),
    ],
)
async def test_a_token_server_answers(body: bytes, kept: float) -> None:
    """An answer is one word or JSON, and is used for a minute at most, as the token may change."""
    async with token_harness(say(http(body)), kinds=served) as at:
        assert (await at.tokens.current(A)).reveal() == "tok+en/="
        at.clock.now += kept - 0.5
        await at.tokens.current(A)
        assert at.calls == 1
        at.clock.now += 0.5
        await at.tokens.current(A)
        assert at.calls == 2
    request = at.server.requests[0]
    assert request.line == f"GET /token?of={A} HTTP/1.1"
    assert request.headers["authorization"] == "Bearer canary+/=&%"


async def test_a_token_server_is_asked_once_more_after_a_rejection() -> None:
    """It may have a new token; if WeChat rejects that too, the account stops."""
    async with token_harness(say(http(b"one")), say(http(b"two")), kinds=served) as at:
        assert (await rejected(at)).reveal() == "one"
        assert (await rejected(at)).reveal() == "two"
        await denial(at)
        assert at.calls == 2


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (http(b"no", status="401 Unauthorized"), "the token server answered HTTP 401"),
        (http(b"no", status="404 Not Found"), "the token server answered HTTP 404"),
        (http(b'{"errcode":40125,"errmsg":"invalid appsecret"}'), "40125 invalid appsecret"),
    ],
    # The answers have the time in them.
    ids=["401", "404", "40125"],
)
async def test_a_token_server_that_refuses_stops_its_account(answer: bytes, says: str) -> None:
    """It is asked once, and the message has its status or errcode."""
    async with token_harness(say(answer), kinds=served) as at:
        assert str(await denial(at)) == says
        await denial(at)
        assert at.calls == 1


class Away(Transport):
    """A transport whose calls fail with a given error."""

    def __init__(self, error: CallError) -> None:
        self._error = error

    async def get_from(self, *_: object) -> tuple[int, bytes]:
        raise self._error


async def test_failures_of_a_token_server_concern_its_own_accounts_alone() -> None:
    """Neither its absence nor its certificate may stop a run, as those of WeChat do."""
    at = HttpSource(Secret("https://tokens.internal/"), {})
    with pytest.raises(ConnectionFailed) as caught:
        await external.ask_server(
            at, Away(Unreachable("the server was not reached")), "access_token"
        )
    assert type(caught.value) is ConnectionFailed
    with pytest.raises(TokenDenied) as denied:
        await external.ask_server(at, Away(BadTls("not accepted")), "access_token")
    assert denied.value.rule.scope is Scope.ACCOUNT


@pytest.mark.parametrize(
    "answer",
    [
        http(b"no", status="503 Service Unavailable"),
        http(b"no", status="429 Too Many Requests"),
        http(b"<html>login</html>"),
        http(b"two words"),
        http(b""),
        http(b'{"token":"t"}'),
        http(b"t" * 5000),
        http(b"", status="302 Found", headers="Location: https://elsewhere/\r\n"),
    ],
    ids=range(8),
)
async def test_a_token_server_in_trouble_is_asked_again(answer: bytes) -> None:
    """Answers that are neither a token nor a refusal are temporary; redirects are not followed."""
    async with token_harness(say(answer), say(http(b"t")), kinds=served) as at:
        with pytest.raises(BadAnswer) as caught:
            await at.tokens.current(A)
        assert "canary" not in repr(caught.value)
        assert (await at.tokens.current(A)).reveal() == "t"


async def test_an_unreachable_token_server_is_named() -> None:
    """Its accounts try again, and the run does not wait for WeChat."""
    kinds: Mapping[str, Access] = {A: HttpSource(Secret("http://127.0.0.1:1/"))}
    async with token_harness(FIRST, kinds=kinds) as at:
        with pytest.raises(ConnectionFailed, match=r"server: connection refused$") as found:
            await at.tokens.current(A)
    assert not isinstance(found.value, Unreachable)


async def test_a_token_server_that_is_slow_is_named() -> None:
    """It is a CallTimedOut, so the account may try again."""
    async with token_harness(silence, kinds=served, seconds=0.2) as at:
        with pytest.raises(CallTimedOut, match="the token server: no whole answer"):
            await at.tokens.current(A)


async def test_whoever_gives_no_token_is_to_be_looked_at() -> None:
    """The remedy for a fault of a token server is not the way to WeChat."""
    window = Window(A, DAILY, 1, 1)
    ways: list[tuple[Kinds, bool]] = [(served, False), (FETCHED, True)]
    for kinds, is_wechat in ways:
        async with (
            token_harness(say(http(b"", status="503 Busy")), kinds=kinds) as at,
            Transport(Api(base_url=at.server.url), connections=1) as transport,
        ):
            found = await attempt.attempt(window, CATALOGUE[DAILY], at.tokens, transport)
        assert isinstance(found, attempt.RefusedAttempt)
        assert found.rule.action is Action.RETRY
        assert "503 (asked for a token)" in str(found.why)
        assert ("api.base_url" in found.rule.advice) is is_wechat
        assert ("the account's credential" in found.rule.meaning) is not is_wechat


async def test_a_bad_certificate_of_a_token_server_stops_its_account_alone(tmp_path: Path) -> None:
    """A bad certificate of WeChat's would stop the run."""
    context, _ = certificate(tmp_path)
    async with fault_server(say(http(b"t")), tls=context) as server:
        kinds: Mapping[str, Access] = {
            A: HttpSource(Secret(server.url)),
            B: AppSecret(Secret(APP_SECRET)),
        }
        async with token_harness(FIRST, kinds=kinds) as at:
            refused = await denial(at)
            assert "the token server: the server's certificate was not accepted" in str(refused)
            assert (refused.rule.action, refused.rule.scope) == (Action.DEFER, Scope.ACCOUNT)
            assert (await at.tokens.current(B)).reveal() == "first"


async def test_one_word_without_a_length_is_not_trusted() -> None:
    """A body that ends with its connection may be cut off."""
    cut: Answer = say(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\ntoke", close=True)
    async with token_harness(cut, kinds=served) as at:
        with pytest.raises(BadAnswer, match="cut off"):
            await at.tokens.current(A)

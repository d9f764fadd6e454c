"""Odd answers to a platform, and platforms whose token and list come from elsewhere."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

from harvester.core.config.credentials import (
    Command,
    ExternalSource,
    HttpSource,
    PlatformAccess,
    RefreshToken,
    SecretReader,
)
from harvester.core.config.settings import Api
from harvester.core.errors import BadAnswer
from harvester.core.model import Refusal
from harvester.core.rule import Action
from harvester.core.secret import Secret
from harvester.wechat.auth import component, token_api
from harvester.wechat.auth.component import Component
from harvester.wechat.auth.provider import TokenDenied
from harvester.wechat.transport import Transport
from tests.support.fault_server import Answer, FaultServer, fault_server, http, say
from tests.support.token_harness import FIRST, A, B, Clock, refusal

PLATFORM = "wx00000000000000ff"


@dataclass
class Office:
    """A platform, and the server that answers to it."""

    component: Component
    server: FaultServer

    @property
    def asked(self) -> list[str]:
        """The last words of the paths that were requested."""
        paths = [request.line.split()[1].partition("?")[0] for request in self.server.requests]
        return [path.rpartition("/")[2] for path in paths]


def own(source: ExternalSource | None, **more: Any) -> PlatformAccess:
    """Return a platform whose token another program obtains."""
    return PlatformAccess(PLATFORM, None, None, source, **more)


@asynccontextmanager
async def opened(
    platform: PlatformAccess | Callable[[str], PlatformAccess], *answers: Answer
) -> AsyncIterator[Office]:
    """Open a platform; a function gets the address of the server."""
    async with (
        fault_server(*answers) as server,
        Transport(Api(base_url=server.url, timeout=5.0), connections=2) as transport,
    ):
        access = platform(server.url) if callable(platform) else platform
        yield Office(Component(access, transport, Clock()), server)


def say_json(**members: object) -> Answer:
    """Return an answer with these members."""
    return say(http(orjson.dumps(members)))


def page(total: int, **tokens: str) -> Answer:
    """Return a page of the list, whose whole length is ``total``."""
    items = [{"authorizer_appid": appid, "refresh_token": token} for appid, token in tokens.items()]
    return say_json(total_count=total, list=items)


@pytest.mark.parametrize("replaced", [False, True])
async def test_a_refresh_token_is_stored_only_if_it_was_replaced(
    tmp_path: Path, *, replaced: bool
) -> None:
    """The sink gets no refresh token that the manifest has already."""
    platform = own(SecretReader(lambda: Secret("own")), sink=lambda one: tmp_path / one)
    given = RefreshToken(SecretReader(lambda: Secret("same")))
    answer = say_json(
        authorizer_access_token="token",
        expires_in=7200,
        authorizer_refresh_token="other" if replaced else "same",
    )
    async with opened(platform, answer) as office:
        issued = await office.component.refresh(A, given)
    assert issued.token == Secret("token")
    assert (tmp_path / A).exists() is replaced
    assert platform.known.listed == {A: Secret("other" if replaced else "same")}


async def test_a_list_without_an_end_ends_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A count that is never reached costs a bounded number of pages."""
    monkeypatch.setattr(component, "_MAX_PAGES", 2)
    platform = own(SecretReader(lambda: Secret("own")))
    pages = [page(1_000_000, **{A: "a"}), page(1_000_000, **{B: "b"}), page(1, **{A: "c"})]
    async with opened(platform, *pages) as office:
        assert await office.component.listed(since=0.0) == {A: Secret("a"), B: Secret("b")}
        assert office.asked == ["api_get_authorizer_list"] * 2


async def test_a_passing_refusal_of_the_ticket_is_not_remembered() -> None:
    """A busy WeChat is asked again for the next account, and its answer is used."""
    granted = say_json(component_access_token="own", expires_in=7200)
    platform = PlatformAccess(PLATFORM, Secret("s"), SecretReader(lambda: Secret("ticket")), None)
    async with opened(platform, refusal(-1, "system error"), granted) as office:
        with pytest.raises(TokenDenied, match="system error") as caught:
            await office.component.own_token(None)
        assert caught.value.rule.action is Action.RETRY
        assert await office.component.own_token(None) == Secret("own")
        assert office.asked == ["api_component_token"] * 2


async def test_a_platform_without_any_credential_is_a_mistake_of_the_program() -> None:
    """ValueError names the credentials that are possible, and no request is made."""
    async with opened(own(None), FIRST) as office:
        with pytest.raises(ValueError, match="a component token, or a secret and a ticket"):
            await office.component.own_token(None)
        assert office.asked == []


async def test_a_command_prints_the_platform_s_token(tmp_path: Path) -> None:
    """The member of its JSON is the platform's, and not that of an account."""
    printed = '{"access_token": "wrong", "component_access_token": "printed"}'
    command = Command((sys.executable, "-c", f"print({printed!r})"), tmp_path)
    async with opened(own(command), FIRST) as office:
        assert await office.component.own_token(None) == Secret("printed")


async def test_a_token_server_answers_the_platform_s_token() -> None:
    """The address is asked once, and its token is used on."""
    answer = say_json(component_access_token="served", access_token="wrong")
    async with opened(lambda url: own(HttpSource(Secret(f"{url}/token"))), answer) as office:
        for _ in range(2):
            assert await office.component.own_token(None) == Secret("served")
        assert office.asked == ["token"]


@pytest.mark.parametrize(
    "members",
    [{}, {"list": []}, {"list": {}, "total_count": 1}, {"list": [], "total_count": "1"}],
    ids=str,
)
def test_a_page_that_is_no_list_is_a_bad_answer(members: dict[str, object]) -> None:
    """Pages need both a list and a number."""
    with pytest.raises(BadAnswer, match="not a list of authorised accounts"):
        token_api.page_of(200, orjson.dumps(members))


def test_entries_of_another_form_count_in_a_page_and_nowhere_else() -> None:
    """An entry without a name or a refresh token is passed over; the offset counts it."""
    items: list[object] = [
        {"authorizer_appid": A, "refresh_token": "a"},
        {"authorizer_appid": B},
        {"refresh_token": "b"},
        "text",
    ]
    found = token_api.page_of(200, orjson.dumps({"list": items, "total_count": 9}))
    assert found == token_api.AuthorisedPage({A: Secret("a")}, 9, 4)


def test_an_answer_without_a_refresh_token_is_a_bad_answer() -> None:
    """The access token alone is not used, because no later run could go on."""
    with pytest.raises(BadAnswer, match="neither a token nor an errcode"):
        token_api.refreshed_of(200, b'{"authorizer_access_token": "token"}')


def test_a_refusal_of_a_refresh_is_returned() -> None:
    """WeChat's errcode is for the caller, who knows what it means for an account."""
    found = token_api.refreshed_of(200, b'{"errcode": 61023, "errmsg": "invalid"}')
    assert isinstance(found, Refusal)
    assert found.errcode == 61023

"""The emulator keeps the rules of third-party platforms, and another client notices lost tokens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support.emulated_platform import (
    AUTHORIZER_LIST_PATH,
    AUTHORIZER_TOKEN_PATH,
    COMPONENT_TOKEN_PATH,
)
from tests.support.faulty_wechat import FaultyWeChat, refresh_token_of, revoke_authorisation
from tests.support.other_client import add_other_client
from tests.support.sandboxes import BUSY, QUIET, Client, Clock, Response, client_for, fake_wechat_at

PLATFORM, OTHER = "wx00000000000000ff", "wx00000000000000fe"
SECRET = "s3cret"


@dataclass
class PlatformSide:
    """A platform that calls the emulator."""

    wechat: FaultyWeChat
    clock: Clock
    client: Client
    ticket: str

    async def own(self, **changed: Any) -> Response:
        """A call for the platform's own token."""
        asked = {
            "component_appid": PLATFORM,
            "component_appsecret": SECRET,
            "component_verify_ticket": self.ticket,
        }
        return await self.client.post(COMPONENT_TOKEN_PATH, {**asked, **changed})

    async def own_token(self) -> str:
        """The platform's own token."""
        token: str = (await self.own()).json["component_access_token"]
        return token

    async def refresh(self, own: str, refresh_token: str, account: str = BUSY) -> Response:
        """A call for an account's token."""
        asked = {
            "component_appid": PLATFORM,
            "authorizer_appid": account,
            "authorizer_refresh_token": refresh_token,
        }
        return await self.client.post(AUTHORIZER_TOKEN_PATH, asked, component_access_token=own)

    async def page(self, own: str, offset: object = 0, count: object = 500) -> Response:
        """A call for a page of the list."""
        asked = {"component_appid": PLATFORM, "offset": offset, "count": count}
        return await self.client.post(AUTHORIZER_LIST_PATH, asked, component_access_token=own)


@asynccontextmanager
async def platform_side() -> AsyncIterator[PlatformSide]:
    """A platform with a ticket."""
    wechat, clock = fake_wechat_at()
    wechat.platforms.register(PLATFORM, SECRET)
    async with client_for(wechat) as client:
        yield PlatformSide(wechat, clock, client, wechat.platforms.push_ticket(PLATFORM))


@pytest.mark.parametrize(
    ("changed", "errcode"),
    [
        ({"component_appid": OTHER}, 61011),
        ({"component_appid": None}, 41002),
        ({"component_appsecret": "wrong"}, 40125),
        ({"component_appsecret": ""}, 41004),
        ({"component_verify_ticket": "wrong"}, 61006),
    ],
)
async def test_the_platform_token_needs_appid_secret_and_ticket(
    changed: dict[str, Any], errcode: int
) -> None:
    """Each wrong or missing one of the three has its errcode."""
    async with platform_side() as at:
        assert (await at.own(**changed)).errcode == errcode


async def test_a_ticket_lives_for_twelve_hours_or_until_the_next() -> None:
    """61005 for one that expired, 61006 for one that was replaced."""
    async with platform_side() as at:
        at.clock.now += 12 * 3600 - 1
        assert (await at.own()).json["expires_in"] == 7200
        at.clock.now += 1
        assert (await at.own()).errcode == 61005
        newer = at.wechat.platforms.push_ticket(PLATFORM)
        assert (await at.own()).errcode == 61006
        assert (await at.own(component_verify_ticket=newer)).errcode == 0


async def test_a_refresh_token_is_replaced_each_time() -> None:
    """The former one is worth nothing at once; both access tokens work for a while."""
    async with platform_side() as at:
        own = await at.own_token()
        first = at.wechat.platforms.authorise(PLATFORM, BUSY)
        one = (await at.refresh(own, first)).json
        assert (await at.refresh(own, first)).errcode == 61023
        second = one["authorizer_refresh_token"]
        two = (await at.refresh(own, second)).json
        for grant in (one, two):
            token = grant["authorizer_access_token"]
            assert (await at.client.ask(token, "2024-06-01", "2024-06-02")).errcode == 0
        at.clock.now += 300
        old = one["authorizer_access_token"]
        assert (await at.client.ask(old, "2024-06-01", "2024-06-02")).errcode == 40001


async def test_an_account_s_own_tokens_are_not_touched() -> None:
    """The tokens of a platform leave stable and plain tokens of the account alone."""
    async with platform_side() as at:
        stable, plain = (
            add_other_client(at.wechat, BUSY),
            add_other_client(at.wechat, BUSY, legacy=True),
        )
        own = await at.own_token()
        token = at.wechat.platforms.authorise(PLATFORM, BUSY)
        for _ in range(3):
            token = (await at.refresh(own, token)).json["authorizer_refresh_token"]
            at.clock.now += 400
        assert (stable.broken, plain.broken) == ([], [])


async def test_accounts_without_authorisation_are_refused() -> None:
    """61003, also for data once an authorisation is withdrawn."""
    async with platform_side() as at:
        own = await at.own_token()
        assert (await at.refresh(own, "any", QUIET)).errcode == 61003
        token = at.wechat.platforms.authorise(PLATFORM, BUSY)
        access = (await at.refresh(own, token)).json["authorizer_access_token"]
        assert (await at.client.ask(access, "2024-06-01", "2024-06-02")).errcode == 0
        revoke_authorisation(at.wechat, PLATFORM, BUSY)
        assert (await at.client.ask(access, "2024-06-01", "2024-06-02")).errcode == 61003


async def test_the_list_needs_a_valid_token_of_the_platform() -> None:
    """A missing, unknown or expired token is refused, and so is an account's."""
    async with platform_side() as at:
        own = await at.own_token()
        assert (await at.page("")).errcode == 41001
        assert (await at.page("made up")).errcode == 40001
        assert (await at.page(at.wechat.token_of(BUSY))).errcode == 61014
        at.clock.now += 7200
        assert (await at.page(own)).errcode == 42001


async def test_pages_have_five_hundred_at_most() -> None:
    """In the order of the authorisations, with how many there are in all."""
    accounts = [f"wx{number:016x}" for number in range(1100)]
    async with platform_side() as at:
        for account in accounts:
            at.wechat.platforms.authorise(PLATFORM, account)
        own = await at.own_token()
        pages = [(await at.page(own, offset, 1000)).json for offset in (0, 500, 1000, 1500)]
        assert {page["total_count"] for page in pages} == {1100}
        found = [item["authorizer_appid"] for page in pages for item in page["list"]]
        assert found == accounts
        assert pages[0]["list"][0]["refresh_token"] == refresh_token_of(
            at.wechat, PLATFORM, accounts[0]
        )
        for offset, count in ((-1, 1), (0, 0), ("0", 1), (0, None)):
            assert (await at.page(own, offset, count)).errcode == 47001


@pytest.mark.parametrize(
    "path", [COMPONENT_TOKEN_PATH, AUTHORIZER_TOKEN_PATH, AUTHORIZER_LIST_PATH]
)
async def test_platforms_post_json(path: str) -> None:
    """Other methods and bodies are refused as at all endpoints."""
    async with platform_side() as at:
        assert (await at.client.send("GET", path)).errcode == 43002
        assert (await at.client.send("POST", path, data=b"")).errcode == 44002
        assert (await at.client.send("POST", path, data=b"[]")).errcode == 47001


def test_another_client_notices_that_its_token_was_ended() -> None:
    """It takes a new token; an expired token does not count as ended."""
    wechat, clock = fake_wechat_at()
    client = add_other_client(wechat, BUSY)
    for _ in range(10):
        clock.now += 1000
        client.work(clock.now)
    assert client.broken == []
    wechat.tokens.revoke(BUSY, clock.now)
    client.work(clock.now)
    client.work(clock.now)
    assert client.broken == [clock.now]

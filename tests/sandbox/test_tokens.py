from __future__ import annotations

import json

import pytest

from harvester.sandbox import TOKEN
from tests.support.sandboxes import (
    BUSY,
    NOON,
    PLAIN,
    QUIET,
    STABLE,
    Client,
    Response,
    client_for,
    fake_wechat_at,
)

LIFE = 7200


async def works(client: Client, token: str) -> int:
    """The errcode a data call with this token gets, 0 for an answer."""
    return (await client.ask(token, "2024-06-01", "2024-06-02")).errcode


def token_in(got: Response) -> str:
    """The token of a grant."""
    token: str = got.json["access_token"]
    return token


async def test_a_stable_token_is_handed_out_again() -> None:
    """While it is valid, stable_token answers the same token and what is left of its life."""
    wechat, clock = fake_wechat_at()
    async with client_for(wechat) as client:
        first = await client.stable_token(BUSY)
        clock.now += 1000
        second = await client.stable_token(BUSY)
    assert (first.json["expires_in"], second.json["expires_in"]) == (LIFE, LIFE - 1000)
    assert token_in(first) == token_in(second)


async def test_a_stable_token_is_renewed_ahead() -> None:
    """Five minutes before it expires a new token comes, and both work until the old one expires."""
    wechat, clock = fake_wechat_at()
    async with client_for(wechat) as client:
        old = token_in(await client.stable_token(BUSY))
        clock.now = NOON + LIFE - 300
        got = await client.stable_token(BUSY)
        new = token_in(got)
        assert (new != old, got.json["expires_in"]) == (True, LIFE)
        assert [await works(client, old), await works(client, new)] == [0, 0]
        clock.now = NOON + LIFE
        assert [await works(client, old), await works(client, new)] == [42001, 0]


async def test_short_lived_tokens_are_renewed_half_way() -> None:
    """Tokens that live shorter than ten minutes are renewed at half of their life."""
    wechat, clock = fake_wechat_at(token_life=10)
    async with client_for(wechat) as client:
        old = token_in(await client.stable_token(BUSY))
        clock.now += 4.9
        assert token_in(await client.stable_token(BUSY)) == old
        clock.now += 0.1
        assert token_in(await client.stable_token(BUSY)) != old


async def test_a_forced_refresh_ends_the_former_token() -> None:
    """With force_refresh the former token is worth nothing at once."""
    wechat, _ = fake_wechat_at()
    async with client_for(wechat) as client:
        old = token_in(await client.stable_token(BUSY))
        new = token_in(await client.stable_token(BUSY, force=True))
        assert [await works(client, old), await works(client, new)] == [40001, 0]


async def test_forced_refreshes_are_thirty_seconds_apart() -> None:
    """A second forced refresh within 30 s answers the token as it is."""
    wechat, clock = fake_wechat_at()
    async with client_for(wechat) as client:
        first = token_in(await client.stable_token(BUSY, force=True))
        clock.now += 29.9
        assert token_in(await client.stable_token(BUSY, force=True)) == first
        clock.now += 0.1
        assert token_in(await client.stable_token(BUSY, force=True)) != first


async def test_forced_refreshes_are_counted_by_day() -> None:
    """The 21st forced refresh of a Beijing day is refused, the first of the next is not."""
    wechat, clock = fake_wechat_at()
    async with client_for(wechat) as client:
        for _ in range(20):
            assert (await client.stable_token(BUSY, force=True)).errcode == 0
            clock.now += 30
        assert (await client.stable_token(BUSY, force=True)).errcode == 45009
        clock.now = NOON + 12 * 3600
        assert (await client.stable_token(BUSY, force=True)).errcode == 0


async def test_a_plain_token_ends_the_one_before() -> None:
    """Each call of /cgi-bin/token makes a new token, and the former one works 5 minutes more."""
    wechat, clock = fake_wechat_at()
    async with client_for(wechat) as client:
        old = token_in(await client.plain_token(BUSY))
        new = token_in(await client.plain_token(BUSY))
        assert [await works(client, old), await works(client, new)] == [0, 0]
        clock.now += 300
        assert [await works(client, old), await works(client, new)] == [40001, 0]
        clock.now = NOON + LIFE
        assert [await works(client, old), await works(client, new)] == [40001, 42001]


async def test_stable_and_plain_tokens_are_independent() -> None:
    """Neither plain tokens nor forced stable ones invalidate a token of the other kind."""
    wechat, clock = fake_wechat_at()
    async with client_for(wechat) as client:
        stable = token_in(await client.stable_token(BUSY))
        plain = token_in(await client.plain_token(BUSY))
        await client.plain_token(QUIET)
        clock.now += 301
        assert [await works(client, stable), await works(client, plain)] == [0, 0]
        await client.stable_token(BUSY, force=True)
        assert [await works(client, stable), await works(client, plain)] == [40001, 0]


async def test_another_service_can_revoke_a_token() -> None:
    """A revoked token answers 40001, and the next token call gives a new one."""
    wechat, clock = fake_wechat_at()
    async with client_for(wechat) as client:
        old = wechat.token_of(BUSY)
        assert old == token_in(await client.stable_token(BUSY))
        wechat.tokens.revoke(BUSY, clock.now)
        assert await works(client, old) == 40001
        assert await works(client, token_in(await client.stable_token(BUSY))) == 0


async def test_the_first_secret_is_the_secret() -> None:
    """Whatever secret an account shows first is right from then on, at both endpoints."""
    wechat, _ = fake_wechat_at()
    async with client_for(wechat) as client:
        assert (await client.plain_token(BUSY, secret="one")).errcode == 0
        assert (await client.stable_token(BUSY, secret="one")).errcode == 0
        assert (await client.stable_token(BUSY, secret="two")).errcode == 40125
        assert (await client.stable_token(QUIET, secret="two")).errcode == 0


@pytest.mark.parametrize(
    ("asked", "errcode"),
    [
        ({"grant_type": "authorization_code", "appid": BUSY, "secret": "s"}, 40002),
        ({"grant_type": "client_credential", "secret": "s"}, 41002),
        ({"grant_type": "client_credential", "appid": BUSY}, 41004),
        ({"grant_type": "client_credential", "appid": BUSY, "secret": 7}, 41004),
        ({"grant_type": "client_credential", "appid": "wx12", "secret": "s"}, 40013),
        ([], 47001),
    ],
)
async def test_wrong_token_calls(asked: object, errcode: int) -> None:
    """A token call with something missing or wrong answers the errcode of the mistake."""
    wechat, _ = fake_wechat_at()
    async with client_for(wechat) as client:
        assert (await client.post(STABLE, asked)).errcode == errcode


async def test_each_token_endpoint_has_its_method() -> None:
    """stable_token wants POST and a body, token wants GET."""
    wechat, _ = fake_wechat_at()
    async with client_for(wechat) as client:
        assert (await client.send("GET", STABLE)).errcode == 43002
        assert (await client.send("POST", STABLE)).errcode == 44002
        assert (await client.send("POST", STABLE, data=b"{")).errcode == 47001
        assert (await client.send("POST", PLAIN)).errcode == 43001


async def test_token_calls_can_fail() -> None:
    """A fault of token calls hits one account's token calls and none of its data calls."""
    wechat, _ = fake_wechat_at()
    token = wechat.token_of(BUSY)
    wechat.fail(BUSY, 40164, dataset=TOKEN, times=2)
    wechat.fail(BUSY, 48001)
    async with client_for(wechat) as client:
        assert (await client.stable_token(BUSY)).errcode == 40164
        assert (await client.plain_token(BUSY)).errcode == 40164
        assert (await client.stable_token(QUIET)).errcode == 0
        assert (await client.stable_token(BUSY)).errcode == 0
        assert await works(client, token) == 48001


async def test_tokens_may_need_quoting() -> None:
    """A token with a tail ends in it, and works when it is quoted."""
    wechat, _ = fake_wechat_at(token_tail="+/=&%25 é")
    async with client_for(wechat) as client:
        token = token_in(await client.stable_token(BUSY))
        assert token.endswith("+/=&%25 é")
        assert await works(client, token) == 0


async def test_old_tokens_are_forgotten() -> None:
    """Only the last tokens of an account are remembered, so that a long run stays small."""
    wechat, _ = fake_wechat_at()
    async with client_for(wechat) as client:
        tokens = [token_in(await client.plain_token(BUSY)) for _ in range(40)]
        assert len(set(tokens)) == 40
        assert await works(client, tokens[0]) == 40001
        assert await works(client, tokens[-1]) == 0
    assert json.dumps(tokens[0]) == f'"{tokens[0]}"'

"""wechatpy, as it comes from the package index, against the sandbox.

Nothing in it is changed: it believes it talks to api.weixin.qq.com, and an adapter below it takes
its requests to the sandbox.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio.to_thread
import pytest
import requests
import wechatpy
from requests.adapters import HTTPAdapter

from harvester.catalogue import CATALOGUE, RETIRED
from harvester.core.calendar import day_text
from harvester.sandbox.data import expected_rows
from harvester.sandbox.server import serve
from tests.support.faulty_wechat import FaultyWeChat
from tests.support.sandboxes import BUSY, DAILY, HOURLY, PLAIN, QUIET, TODAY, fake_wechat_at

DAYS = range(TODAY - 20, TODAY)


class Detour(HTTPAdapter):
    """Takes requests for WeChat to another address."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self._address = address

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> Any:
        """Send the request as it is, but to the other address."""
        assert request.url
        request.url = request.url.replace("https://api.weixin.qq.com", self._address, 1)
        return super().send(request, *args, **kwargs)


def client_of(address: str, appid: str, secret: str = "s") -> Any:
    """An untouched WeChatClient whose requests end at the address."""
    client = wechatpy.WeChatClient(appid, secret, timeout=5)
    client._http.trust_env = False
    client._http.mount("https://", Detour(address))
    return client


def harvest(client: Any) -> tuple[list[Any], list[Any]]:
    """Twenty days by wechatpy: the daily rows with one call, the hourly ones with one a day."""
    first, last = day_text(DAYS[0]), day_text(DAYS[-1])
    daily = client.datacube.get_interface_summary(first, last)
    hourly = [
        row
        for day in map(day_text, DAYS)
        for row in client.datacube.get_interface_summary_hour(day, day)
    ]
    return daily, hourly


async def in_thread(
    wechat: FaultyWeChat, appid: str, secret: str = "s"
) -> tuple[list[Any], list[Any]]:
    """Return the rows that wechatpy gets from this emulator, called in a thread."""
    async with serve(wechat) as address:
        client = await anyio.to_thread.run_sync(partial(client_of, address, appid, secret))
        return await anyio.to_thread.run_sync(harvest, client)


@pytest.mark.parametrize("appid", [BUSY, QUIET])
async def test_wechatpy_gets_all_rows(appid: str) -> None:
    """The client gets every row of both interface datasets with one token call."""
    wechat, _ = fake_wechat_at()
    daily, hourly = await in_thread(wechat, appid)
    assert daily == [row for day in DAYS for row in expected_rows("interface_summary", appid, day)]
    assert hourly == [
        row for day in DAYS for row in expected_rows("interface_summary_hour", appid, day)
    ]
    assert wechat.counters.paths == {PLAIN: 1, DAILY: 1, HOURLY: len(DAYS)}


async def test_wechatpy_knows_most_datasets() -> None:
    """All but the four newest datasets are in the client, and it gets the rows of each."""

    def harvest_all(address: str) -> dict[str, Any]:
        api = client_of(address, BUSY).datacube
        return {
            name: getattr(api, f"get_{name}")(day_text(DAYS[0]), day_text(DAYS[0]))
            for name in CATALOGUE
            if hasattr(api, f"get_{name}")
        }

    wechat, _ = fake_wechat_at()
    async with serve(wechat) as address:
        got = await anyio.to_thread.run_sync(harvest_all, address)
    assert got == {name: expected_rows(name, BUSY, DAYS[0]) for name in got}
    assert set(CATALOGUE) - set(got) == {name for name, d in CATALOGUE.items() if d.may_be_delayed}


async def test_wechatpy_gets_47009_for_retired_apis() -> None:
    """The client knows the six retired APIs, and gets WeChat's refusal of each."""

    def ask(address: str, name: str) -> Any:
        call = getattr(client_of(address, BUSY).datacube, f"get_{name}")
        return call(day_text(DAYS[0]), day_text(DAYS[0]))

    wechat, _ = fake_wechat_at()
    async with serve(wechat) as address:
        for retired in RETIRED:
            with pytest.raises(wechatpy.WeChatClientException, match="use the new api") as refused:
                await anyio.to_thread.run_sync(ask, address, retired)
            assert refused.value.errcode == 47009


async def test_wechatpy_renews_its_token() -> None:
    """The client takes 40001 for what it is, fetches another token and gets its rows."""
    wechat, _ = fake_wechat_at()
    wechat.fail(BUSY, 40001, times=1)
    daily, _ = await in_thread(wechat, BUSY)
    assert len(daily) == len(DAYS)
    assert wechat.counters.token_calls[BUSY] == 2


async def test_wechatpy_understands_refusals() -> None:
    """The client reads errcode and errmsg of data calls and of token calls."""
    wechat, _ = fake_wechat_at()
    wechat.fail(BUSY, 48001)
    with pytest.raises(wechatpy.WeChatClientException, match="api unauthorized rid:") as data:
        await in_thread(wechat, BUSY)
    with pytest.raises(wechatpy.WeChatClientException, match="invalid appsecret") as token:
        await in_thread(wechat, BUSY, secret="another")
    assert (data.value.errcode, token.value.errcode) == (48001, 40125)

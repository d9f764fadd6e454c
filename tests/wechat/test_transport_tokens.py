"""Calls for tokens: with secrets in body, query and headers, to WeChat and to other servers."""

from __future__ import annotations

from pathlib import Path

import pytest

from harvester.core.config.settings import Api
from harvester.core.errors import BadAnswer, BadTls, CallError, NotStarted
from harvester.core.hold import Hold
from harvester.core.secret import Secret
from harvester.wechat.transport import Transport
from tests.support.fault_server import Answer, certificate, fault_server, http, say
from tests.support.secret_canary import APPSECRET, leaks, texts_in_error

ACCOUNT = "wx0000000000000001"
ODD = "a+b/c=d&e%f g#h?i"
QUOTED = "a%2Bb%2Fc%3Dd%26e%25f%20g%23h%3Fi"


async def test_secrets_in_a_query_are_quoted() -> None:
    """Any characters of a secret arrive as one value."""
    async with (
        fault_server(say(http())) as server,
        Transport(Api(base_url=f"{server.url}/base/"), connections=1) as transport,
    ):
        await transport.get(ACCOUNT, "/cgi-bin/token", {"appid": "wx1", "secret": Secret(ODD)})
        await transport.post_as_platform("/x", b"{}", Secret(ODD))
    lines = [request.line for request in server.requests]
    assert lines == [
        f"GET /base/cgi-bin/token?appid=wx1&secret={QUOTED} HTTP/1.1",
        f"POST /base/x?component_access_token={QUOTED} HTTP/1.1",
    ]


async def test_a_token_server_is_called_without_the_proxy() -> None:
    """The proxy is for WeChat alone and must not see the keys of other servers."""
    async with (
        fault_server(say(http(b'"for WeChat"'))) as proxy,
        fault_server(say(http(b'"for us"'))) as server,
        Transport(Api(base_url="http://127.0.0.1:1", proxy=proxy.url), connections=1) as transport,
    ):
        answer = await transport.get_from(Secret(f"{server.url}/t?a=1"), {"X-Key": Secret(ODD)})
        assert answer == (200, b'"for us"')
        assert (await transport.get(ACCOUNT, "/t", {}))[1] == b'"for WeChat"'
        assert (await transport.post_as_platform("/t", b"{}", Secret("t")))[1] == b'"for WeChat"'
    assert server.requests[0].headers["x-key"] == ODD
    assert len(proxy.requests) == 2


async def test_a_redirect_of_a_token_server_is_not_followed() -> None:
    """A redirect would send the key to another server."""
    to = f"Location: https://elsewhere.test/?{APPSECRET}\r\n"
    async with (
        fault_server(say(http(b"", status="307 Go", headers=to))) as server,
        Transport(Api(base_url="http://127.0.0.1:1"), connections=1) as transport,
    ):
        with pytest.raises(
            BadAnswer, match=r"a redirect to elsewhere\.test, which is not followed"
        ):
            await transport.get_from(Secret(server.url), {})


async def test_the_certificate_of_a_token_server_is_checked(tmp_path: Path) -> None:
    """Without a trusted certificate it gets no key; api.ca_file may name its authority."""
    context, public = certificate(tmp_path)
    key = {"Authorization": Secret(APPSECRET)}
    async with fault_server(say(http()), tls=context) as server:
        async with Transport(Api(base_url="http://127.0.0.1:1"), connections=1) as transport:
            with pytest.raises(BadTls):
                await transport.get_from(Secret(server.url), key)
        assert server.requests == []
        api = Api(base_url="http://127.0.0.1:1", ca_file=public)
        async with Transport(api, connections=1) as transport:
            assert (await transport.get_from(Secret(server.url), key))[0] == 200


async def call(way: str, transport: Transport, url: str) -> tuple[int, bytes]:
    """Make a call with a secret wherever the method takes one."""
    secret = Secret(APPSECRET)
    if way == "get":
        return await transport.get(ACCOUNT, "/t", {"secret": secret})
    if way == "get_from":
        return await transport.get_from(Secret(f"{url}/?{APPSECRET}"), {"X": secret})
    if way == "post":
        return await transport.post(ACCOUNT, "/t", APPSECRET.encode())
    return await transport.post_as_platform("/t", APPSECRET.encode(), secret)


@pytest.mark.parametrize("way", ["get", "get_from", "post", "post_as_platform"])
@pytest.mark.parametrize("answer", [say(close=True), say(b"\x16\x03\x01 no HTTP\r\n\r\n")])
async def test_no_error_shows_the_request(way: str, answer: Answer) -> None:
    """Neither its text nor a variable of its frames has a part of the request."""
    async with (
        fault_server(answer) as server,
        Transport(Api(base_url=server.url), connections=1) as transport,
    ):
        with pytest.raises(CallError) as caught:
            await call(way, transport, server.url)
    assert not leaks("\n".join(texts_in_error(caught.value)))


async def test_no_request_is_written_without_the_lease() -> None:
    """It is looked at after the connection stands, which may take longer than a lease."""
    holds = True

    async with (
        fault_server(say(http()), say(http()), say(http())) as server,
        Transport(Api(base_url=server.url), connections=1, hold=Hold(lambda: holds)) as transport,
    ):
        await transport.post(ACCOUNT, "/x", b"{}", Secret("t"))
        holds = False
        with pytest.raises(NotStarted, match="the lease"):
            await transport.post(ACCOUNT, "/x", b"{}", Secret("t"))
        with pytest.raises(NotStarted, match="the lease"):
            await transport.get(ACCOUNT, "/x", {})
        with pytest.raises(NotStarted, match="the lease"):
            await transport.post_as_platform("/x", b"{}")
        # A token server is not WeChat.
        await transport.get_from(Secret(f"{server.url}/t"), {})
    assert [request.line.split()[1] for request in server.requests] == ["/x?access_token=t", "/t"]

"""The transport against a server with every fault: what is sent, accepted and reported."""

from __future__ import annotations

import asyncio
import gzip
import socket
import threading
import time
import traceback
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import anyio
import pytest

from harvester.core.config.settings import Api
from harvester.core.contradictions import CachedBody
from harvester.core.errors import (
    BadAnswer,
    BadTls,
    CallError,
    CallTimedOut,
    ConnectionFailed,
    LongAnswer,
    NotConnected,
    OutdatedTls,
    Unreachable,
    UsageError,
)
from harvester.core.secret import Secret
from harvester.wechat import account_calls, connection_pool, foreign_errors, protocol
from harvester.wechat import transport as module
from harvester.wechat.account_calls import MAX_BODY
from harvester.wechat.foreign_errors import translate
from harvester.wechat.transport import Transport
from tests.support.fault_server import (
    ROWS,
    Answer,
    FaultServer,
    certificate,
    drip,
    fault_server,
    http,
    repeat,
    reset_after,
    say,
    silence,
)

CANARY = "72_canary-token+with/odd=characters%"
TOKEN = Secret(CANARY)
ACCOUNT = "wx0000000000000001"
PATH = "/datacube/getinterfacesummary"
BODY = b'{"begin_date":"2024-01-01","end_date":"2024-01-01"}'
MODULES = {
    module.__file__,
    foreign_errors.__file__,
    account_calls.__file__,
    connection_pool.__file__,
}


@asynccontextmanager
async def transport_to(
    url: str,
    *,
    seconds: float = 5.0,
    connections: int = 4,
    proxy: str | None = None,
    ca_file: Path | None = None,
) -> AsyncIterator[Transport]:
    """Open a transport to a server."""
    api = Api(base_url=url, timeout=seconds, proxy=proxy, ca_file=ca_file)
    async with Transport(api, connections=connections) as transport:
        yield transport


async def send(transport: Transport, token: Secret | None = TOKEN) -> tuple[int, bytes]:
    """Make a call of an account if there is a token, and one of the platform otherwise."""
    if token is None:
        return await transport.post_as_platform(PATH, BODY)
    return await transport.post(ACCOUNT, PATH, BODY, token)


async def post(
    server: FaultServer, seconds: float = 5.0, token: Secret | None = TOKEN
) -> tuple[int, bytes]:
    """Make one call with a transport of its own."""
    async with transport_to(server.url, seconds=seconds) as transport:
        return await send(transport, token)


each_way = pytest.mark.parametrize("token", [TOKEN, None], ids=["data call", "other call"])
"""`AccountCalls` makes an account's calls, aiohttp's session the platform's: both behave alike."""


def assert_silent(error: BaseException) -> None:
    """Assert that neither an error nor its frames and causes hold the token or the URL."""
    assert error.__cause__ is None
    assert error.__context__ is None
    report = traceback.TracebackException.from_exception(error, capture_locals=True)
    ours = [frame for frame in report.stack if frame.filename in MODULES]
    words = f"{error!s} {error!r} {vars(error)} {[frame.locals for frame in ours]}"
    assert "canary" not in words
    assert "access_token" not in words


async def failure_of(
    *answers: Answer, seconds: float = 5.0, token: Secret | None = TOKEN
) -> CallError:
    """Return the error that answers lead to, which names the host and not the token or URL."""
    async with fault_server(*answers) as server:
        with pytest.raises(CallError) as caught:
            await post(server, seconds, token)
    assert_silent(caught.value)
    assert str(caught.value).startswith(f"127.0.0.1:{server.port}: ")
    return caught.value


# What is sent


async def test_a_call_is_a_post_with_a_content_length() -> None:
    """The body is sent as JSON with its length; the token is quoted once in the query."""
    async with fault_server(say(http())) as server:
        assert await post(server) == (200, ROWS)
    (request,) = server.requests
    quoted = "72_canary-token%2Bwith%2Fodd%3Dcharacters%25"
    assert request.line == f"POST {PATH}?access_token={quoted} HTTP/1.1"
    assert request.body == BODY
    assert request.headers["content-length"] == str(len(BODY))
    assert request.headers["content-type"] == "application/json"
    assert "transfer-encoding" not in request.headers


@pytest.mark.parametrize(
    ("header", "age"),
    [
        ("3600", 3_600),
        ("0", 0),
        ("-5", 0),
        ("soon", 0),
        ("٣", 0),
        ("9" * 5_000, 999_999_999),
        ("", 0),
    ],
)
async def test_an_answer_of_a_cache_has_its_age(header: str, age: int) -> None:
    """Anything but a number of seconds is no age."""
    headers = f"Age: {header}\r\n"
    async with fault_server(say(http(headers=headers))) as server:
        status, body = await post(server)
    assert (status, body) == (200, ROWS)
    assert isinstance(body, CachedBody) is (age > 0)
    assert not isinstance(body, CachedBody) or body.age == age


async def test_a_call_without_a_token_has_no_query() -> None:
    """The token endpoint is called without a query."""
    async with fault_server(say(http())) as server, transport_to(server.url) as transport:
        await transport.post(ACCOUNT, "/cgi-bin/stable_token", b"{}")
    assert server.requests[0].line == "POST /cgi-bin/stable_token HTTP/1.1"


@pytest.mark.parametrize("prefix", ["/wechat/v1", "/wechat/v1/"])
async def test_the_base_url_may_have_a_path(prefix: str) -> None:
    """A gateway that mirrors the API under a prefix is called under that prefix."""
    async with (
        fault_server(say(http())) as server,
        transport_to(server.url + prefix) as transport,
    ):
        await send(transport, None)
    assert server.requests[0].line == f"POST /wechat/v1{PATH} HTTP/1.1"


@each_way
async def test_cookies_are_dropped(token: Secret | None) -> None:
    """No cookie of one answer goes out with the next call."""
    answer = say(http(headers="Set-Cookie: a=1; Path=/\r\n"))
    async with fault_server(answer) as server, transport_to(server.url) as transport:
        for _ in range(3):
            await send(transport, token)
    assert all("cookie" not in request.headers for request in server.requests)


@each_way
async def test_proxies_of_the_environment_are_ignored(
    monkeypatch: pytest.MonkeyPatch, token: Secret | None
) -> None:
    """Only api.proxy selects a proxy, for calls of either kind."""
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    async with fault_server(say(http())) as server:
        assert await post(server, token=token) == (200, ROWS)


async def test_other_calls_go_through_the_manifest_s_proxy() -> None:
    """With api.proxy a call without a token goes to the proxy, with its absolute URL."""
    async with (
        fault_server(say(http())) as proxy,
        transport_to("http://127.0.0.1:1", proxy=proxy.url) as transport,
    ):
        assert await send(transport, None) == (200, ROWS)
    assert proxy.requests[0].line == f"POST http://127.0.0.1:1{PATH} HTTP/1.1"


async def test_a_refusal_of_the_proxy_names_the_proxy() -> None:
    """The error says that the proxy refused, and has its status 407."""
    async with (
        fault_server(say(http(b"", status="407 Who are you"))) as proxy,
        transport_to("https://127.0.0.1:1", proxy=proxy.url) as transport,
    ):
        words = r"the proxy \(api\.proxy\) does not let the call through: HTTP 407"
        with pytest.raises(NotConnected, match=words) as caught:
            await send(transport)
    assert_silent(caught.value)


async def test_the_cache_of_request_heads_is_bounded() -> None:
    """Ten thousand accounts do not fill the memory with request heads."""
    async with transport_to("http://127.0.0.1:1") as transport:
        for number in range(10_000):
            transport._calls._post_head(PATH, Secret(f"{number}"))
        assert transport._calls._post_head.cache_info().currsize <= 2048


# What comes back


@pytest.mark.parametrize("status", ["404 Not Found", "412 Precondition Failed", "502 Bad Gateway"])
@each_way
async def test_any_status_comes_back_with_its_body(status: str, token: Secret | None) -> None:
    """An error page is returned with its status."""
    async with fault_server(say(http(b"<html>", status=status))) as server:
        assert await post(server, token=token) == (int(status[:3]), b"<html>")


@each_way
async def test_an_answer_in_chunks_is_put_together(token: Secret | None) -> None:
    """An answer may come in many chunks and packets."""
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in [b'{"list"', b":[]}"])
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    parts = [head, *(bytes([byte]) for byte in chunks + b"0\r\n\r\n")]
    async with fault_server(say(*parts)) as server:
        assert await post(server, token=token) == (200, ROWS)


@each_way
async def test_a_compressed_answer_is_decompressed(token: Secret | None) -> None:
    """A server may compress although the request does not allow it."""
    answer = say(http(gzip.compress(ROWS), headers="Content-Encoding: gzip\r\n"))
    async with fault_server(answer) as server:
        assert await post(server, token=token) == (200, ROWS)


@pytest.mark.parametrize(
    "where", ["http://127.0.0.2:1/?access_token=x", "ftp://evil.test/", "/", "//["]
)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@each_way
async def test_a_redirect_is_not_followed(status: int, where: str, token: Secret | None) -> None:
    """A redirect is an error that names its target host, and nothing else of its target."""
    error = await failure_of(
        say(http(b"", status=f"{status} Moved", headers=f"Location: {where}\r\n")),
        token=token,
    )
    assert isinstance(error, BadAnswer)
    assert f": HTTP {status}, a redirect" in str(error)
    assert ("127.0.0.2" in str(error)) == ("127.0.0.2" in where)


async def test_the_target_of_a_redirect_is_not_contacted() -> None:
    """No connection is opened to the server that a redirect points to."""
    async with fault_server(say(http())) as other:
        await failure_of(
            say(http(b"", status="307 Moved", headers=f"Location: {other.url}{PATH}\r\n"))
        )
    assert other.connections == 0


@each_way
@pytest.mark.parametrize("interim", ["100 Continue", "103 Early Hints"])
async def test_interim_responses_are_skipped(interim: str, token: Secret | None) -> None:
    """A server may send 1xx responses before its answer."""
    answer = say(f"HTTP/1.1 {interim}\r\nLink: <x>\r\n\r\n".encode(), http())
    async with fault_server(answer) as server:
        assert await post(server, token=token) == (200, ROWS)


@each_way
async def test_a_server_may_want_each_connection_closed(token: Secret | None) -> None:
    """After ``Connection: close``, and an answer of HTTP/1.0, the next call has a new one."""
    answers = [
        say(http(headers="Connection: close\r\n")),
        say(http().replace(b"HTTP/1.1", b"HTTP/1.0"), close=True),
        say(http()),
    ]
    async with fault_server(*answers) as server, transport_to(server.url) as transport:
        for _ in answers:
            assert await send(transport, token) == (200, ROWS)
    assert server.connections == 3


async def test_a_data_call_goes_through_the_manifest_s_proxy() -> None:
    """With api.proxy a call with a token goes to the proxy too."""
    async with (
        fault_server(say(http())) as proxy,
        transport_to("http://127.0.0.1:1", proxy=proxy.url) as transport,
    ):
        assert await send(transport, Secret("T")) == (200, ROWS)
    assert proxy.requests[0].line == f"POST http://127.0.0.1:1{PATH}?access_token=T HTTP/1.1"


@pytest.mark.parametrize("pause", [0.0, 0.05])
async def test_unsolicited_bytes_are_not_read_as_an_answer(pause: float) -> None:
    """A second answer to one request, now or later, is not read as that to the next."""

    async def twice(writer: asyncio.StreamWriter) -> None:
        writer.write(http())
        await asyncio.sleep(pause)
        writer.write(http(b'{"list":["of somebody else"]}'))

    async with fault_server(twice, say(http())) as server, transport_to(server.url) as transport:
        assert await send(transport) == (200, ROWS)
        await anyio.sleep(2 * pause)
        assert await send(transport) == (200, ROWS)
        assert await send(transport) == (200, ROWS)
        assert transport.pool.surplus == 1
    # Since the first surplus answer, each call has a connection of its own.
    assert server.connections == 3


async def test_the_connection_of_a_call_that_timed_out_is_closed() -> None:
    """Its late answer is not read as the answer to the next call."""

    async def late(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.1)
        writer.write(http(b'{"list":["late"]}'))

    async with (
        fault_server(late, say(http())) as server,
        transport_to(server.url, seconds=0.05, connections=1) as transport,
    ):
        with pytest.raises(CallTimedOut):
            await send(transport)
        await anyio.sleep(0.1)
        assert await send(transport) == (200, ROWS)
    assert server.connections == 2


# What breaks


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (say(close=True), ConnectionFailed, "the server closed the connection"),
        (say(b"HTTP/1.1 200 OK\r\nCont", close=True), ConnectionFailed, ""),
        (reset_after(b""), ConnectionFailed, ""),
        (say(http(length=100), close=True), ConnectionFailed, "the answer was cut off"),
        (reset_after(http(length=100)), ConnectionFailed, ""),
        (
            say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{", close=True),
            ConnectionFailed,
            "the answer was cut off",
        ),
        (
            say(http(b"no gzip", headers="Content-Encoding: gzip\r\n")),
            ConnectionFailed,
            "the answer was cut off",
        ),
        (say(b"220 mail.test ESMTP\r\n\r\n"), BadAnswer, "the answer is not HTTP"),
        (say(b"\x16\x03\x01\x00\x05garbage\r\n\r\n"), BadAnswer, "the answer is not HTTP"),
        (say(http(headers=f"X-Long: {'x' * 20_000}\r\n")), BadAnswer, "the answer is not HTTP"),
    ],
)
@each_way
async def test_each_broken_answer_has_its_error(
    answer: Answer, kind: type[CallError], words: str, token: Secret | None
) -> None:
    """The class tells the kind of fault, and the text has no words of aiohttp."""
    error = await failure_of(answer, token=token)
    assert type(error) is kind
    assert words in str(error)


@pytest.mark.parametrize(
    "answer",
    [
        # Neither of them is an error to aiohttp.
        say(b'HTTP/1.1 200 OK\r\n\r\n{"list":[', close=True),
        say(
            http(
                gzip.compress(b'{"list":[' + b"1," * 5000 + b"1]}")[:-30],
                headers="Content-Encoding: gzip\r\n",
            )
        ),
    ],
)
@each_way
async def test_an_answer_cut_off_is_never_a_success(answer: Answer, token: Secret | None) -> None:
    """A cut that aiohttp does not notice fails because the body is no JSON document."""
    async with fault_server(answer) as server:
        with pytest.raises(CallError):
            protocol.refusal_of(*await post(server, token=token))


CUT_BEHIND_AN_INNER_LIST = b'{"list":[{"ref_date":"2026-03-01","user_list":[{"count":1}]}'
"""Begins and ends as a whole answer does."""


@pytest.mark.parametrize(
    "sent",
    [
        b"HTTP/1.1 200 OK\r\n\r\n" + CUT_BEHIND_AN_INNER_LIST,
        http(gzip.compress(CUT_BEHIND_AN_INNER_LIST), headers="Content-Encoding: gzip\r\n"),
    ],
    ids=["without a length", "compressed"],
)
@each_way
async def test_an_answer_cut_behind_an_inner_list_is_no_list_of_rows(
    sent: bytes, token: Secret | None
) -> None:
    """The transport reads the whole document, because rows are recognised by their ends alone."""
    assert protocol.refusal_of(200, CUT_BEHIND_AN_INNER_LIST) is None
    error = await failure_of(say(sent, close=True), token=token)
    assert type(error) is BadAnswer
    assert str(error).endswith(": the answer was cut off or is not JSON")


async def test_an_idle_connection_may_be_closed_by_the_server() -> None:
    """The next call has a new connection after the server closes an idle one during a call."""
    answers = [say(http()), say(close=True), say(http())]
    async with fault_server(*answers) as server, transport_to(server.url) as transport:
        await send(transport)
        with pytest.raises(ConnectionFailed):
            await send(transport)
        assert await send(transport) == (200, ROWS)
        assert transport.pool.surplus == 0
    assert server.connections == 2


async def test_a_refused_connection_is_reported_as_refused() -> None:
    """The error names the address, with its port."""
    with socket.socket() as bound:
        # Bound and not listening, so that no other test's server gets the port meanwhile.
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        async with transport_to(f"http://127.0.0.1:{port}") as transport:
            refused = f"^127.0.0.1:{port}: connection refused$"
            with pytest.raises(NotConnected, match=refused) as caught:
                await send(transport)
    assert_silent(caught.value)


async def test_an_unknown_host_name_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown name is told from a server that does not answer."""

    def unknown(*_: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    async with transport_to("https://wechat.test") as transport:
        with pytest.raises(NotConnected, match=r"^wechat\.test:443: name not found: ") as caught:
            await send(transport)
    assert_silent(caught.value)


@each_way
async def test_host_names_are_resolved(token: Secret | None) -> None:
    """A server is found by its name."""
    async with (
        fault_server(say(http())) as server,
        transport_to(f"http://localhost:{server.port}") as transport,
    ):
        assert await send(transport, token) == (200, ROWS)


# Time


@pytest.mark.parametrize(
    "answer",
    [
        silence,
        drip(b"HTTP/1.1 200 OK\r\nX: "),
        drip(http(b"", length=10_000_000)),
        drip(b"HTTP/1.1 200 OK\r\n\r\n"),
    ],
)
@each_way
async def test_the_deadline_holds_for_a_server_that_sends_slowly(
    answer: Answer, token: Secret | None
) -> None:
    """A call ends at its deadline although bytes keep coming."""
    begin = time.monotonic()
    error = await failure_of(answer, seconds=0.2, token=token)
    assert type(error) is CallTimedOut
    assert str(error).endswith(": no whole answer within 0.2 s")
    assert time.monotonic() - begin > 0.19


@each_way
async def test_each_call_has_a_deadline_of_its_own(token: Secret | None) -> None:
    """One timer serves all calls, yet each ends at its own time."""
    async with (
        fault_server(silence) as server,
        transport_to(server.url, seconds=0.2) as transport,
    ):
        ends: list[float] = []

        async def call(after: float) -> None:
            await anyio.sleep(after)
            begin = time.monotonic()
            with pytest.raises(CallTimedOut):
                await send(transport, token)
            ends.append(time.monotonic() - begin)

        async with anyio.create_task_group() as group:
            for after in (0.0, 0.1, 0.15):
                group.start_soon(call, after)
    assert all(seconds > 0.19 for seconds in ends)


@each_way
async def test_a_task_continues_after_a_timeout(token: Secret | None) -> None:
    """A call that timed out leaves no cancellation in its task."""
    task = asyncio.current_task()
    assert task is not None
    async with (
        fault_server(silence, say(http())) as server,
        transport_to(server.url, seconds=1.0) as transport,
    ):
        with pytest.raises(CallTimedOut):
            await send(transport, token)
        assert task.cancelling() == 0
        assert await send(transport, token) == (200, ROWS)
    assert not transport._deadlines


@each_way
async def test_a_cancelled_call_is_cancelled(token: Secret | None) -> None:
    """A cancellation is not reported as a timeout, and the session stays usable."""
    async with (
        fault_server(silence, say(http())) as server,
        transport_to(server.url, seconds=60) as transport,
    ):
        with anyio.move_on_after(0.05) as scope:
            await send(transport, token)
        assert scope.cancelled_caught
        assert not transport._deadlines
        assert await send(transport, token) == (200, ROWS)


@each_way
async def test_a_cancellation_beats_a_timeout(token: Secret | None) -> None:
    """A call that is cancelled at its deadline counts as cancelled."""
    async with (
        fault_server(silence) as server,
        transport_to(server.url, seconds=0.05) as transport,
    ):
        with anyio.CancelScope() as scope:

            def both() -> None:
                transport._expire()
                scope.cancel()

            asyncio.get_running_loop().call_at(transport._loop.time() + 0.06, both)
            time.sleep(0.07)  # noqa: ASYNC251 - both timers are due in one turn of the loop
            await send(transport, token)
        assert scope.cancelled_caught


@each_way
async def test_a_slow_look_up_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, token: Secret | None
) -> None:
    """A name server that hangs makes a call time out and does not delay the end of the run."""
    done = threading.Event()

    def hang(*_: object) -> list[object]:
        done.wait()
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    async with transport_to("https://wechat.test", seconds=0.1) as transport:
        with pytest.raises(CallTimedOut):
            await send(transport, token)
    assert transport._resolver._threads._shutdown
    done.set()


@each_way
async def test_a_stalled_handshake_is_a_timeout(token: Secret | None) -> None:
    """A server that never answers the TLS handshake makes the call time out."""
    async with (
        fault_server(silence) as server,
        transport_to(f"https://127.0.0.1:{server.port}", seconds=0.2) as transport,
    ):
        with pytest.raises(CallTimedOut):
            await send(transport, token)


# Size


BOMB = gzip.compress(bytes(MAX_BODY + 1))


@pytest.mark.parametrize(
    "answer",
    [
        say(http(BOMB, headers="Content-Encoding: gzip\r\n")),
        repeat(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"10000\r\n" + bytes(65536) + b"\r\n",
        ),
        repeat(b"HTTP/1.1 200 OK\r\n\r\n", bytes(65536)),
    ],
)
@each_way
async def test_an_endless_answer_is_refused(answer: Answer, token: Secret | None) -> None:
    """Reading stops at 16 MiB after decompression, and memory stays near that."""
    tracemalloc.start()
    try:
        error = await failure_of(answer, token=token)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert type(error) is LongAnswer
    assert str(error).endswith(": an answer of more than 16 MiB")
    assert peak < 3 * MAX_BODY


# TLS


@each_way
async def test_a_certificate_of_the_ca_file_is_accepted(
    tmp_path: Path, token: Secret | None
) -> None:
    """With api.ca_file a server with a private certificate authority is called."""
    tls, public = certificate(tmp_path)
    async with (
        fault_server(say(http()), tls=tls) as server,
        transport_to(server.url, ca_file=public) as transport,
    ):
        assert await send(transport, token) == (200, ROWS)


@pytest.mark.parametrize(
    ("address", "expired", "trusted"),
    [("127.0.0.1", False, False), ("127.0.0.1", True, True), ("127.0.0.9", False, True)],
    ids=["self-signed", "expired", "wrong host"],
)
async def test_a_bad_certificate_is_refused(
    tmp_path: Path, address: str, *, expired: bool, trusted: bool
) -> None:
    """An unknown certificate, or another host's, names ca_file; an expired one says just that."""
    tls, public = certificate(tmp_path, address=address, expired=expired)
    async with (
        fault_server(say(http()), tls=tls) as server,
        transport_to(server.url, ca_file=public if trusted else None) as transport,
    ):
        words = "its certificate has expired" if expired else r"api\.ca_file"
        with pytest.raises(OutdatedTls if expired else BadTls, match=words) as caught:
            await send(transport)
    assert_silent(caught.value)
    assert server.requests == []


async def test_the_certificate_of_an_intercepting_proxy_is_checked(tmp_path: Path) -> None:
    """It is a BadTls, because no call succeeds until api.ca_file names its authority."""
    tls, _ = certificate(tmp_path)

    async def intercept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with suppress(OSError):
            await writer.start_tls(tls)
        writer.close()

    proxy = await asyncio.start_server(intercept, "127.0.0.1", 0)
    address = f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}"
    async with proxy, transport_to("https://127.0.0.1:1", proxy=address) as transport:
        with pytest.raises(BadTls, match=r"api\.ca_file") as caught:
            await send(transport)
    assert_silent(caught.value)


async def test_a_broken_handshake_is_not_a_bad_certificate() -> None:
    """The next handshake may succeed, so it counts as a server that was not reached."""
    async with (
        fault_server(silence, greeting=http(b"", status="400 What")) as server,
        transport_to(f"https://127.0.0.1:{server.port}") as transport,
    ):
        with pytest.raises(Unreachable, match="the TLS handshake failed") as caught:
            await send(transport)
    assert_silent(caught.value)


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
def test_a_useless_ca_file_is_refused(tmp_path: Path, content: bytes | None) -> None:
    """A ca_file that is missing or holds no certificate is a mistake of the manifest."""
    file = tmp_path / "corp.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UsageError, match=r"api\.ca_file: .*corp\.pem"):
        Transport(Api(ca_file=file), connections=1)


# Foreign errors

NOT_OF_CALLS = {
    "BadContentDispositionHeader",
    "BadContentDispositionParam",
    "EofStream",
    "WebSocketError",
    "WSMessageTypeError",
}
FOREIGN = [
    kind
    for name in aiohttp.__all__
    if isinstance(kind := getattr(aiohttp, name), type)
    and issubclass(kind, Exception)
    and name not in NOT_OF_CALLS
]


@pytest.mark.parametrize("kind", [*FOREIGN, OSError, ValueError, TimeoutError])
def test_every_foreign_error_is_translated(kind: type[Exception]) -> None:
    """Every error of aiohttp becomes a CallError without its text."""
    assert issubclass(kind, aiohttp.ClientError | OSError | ValueError)
    error = kind.__new__(kind)
    error.args = (f"https://api.test/?access_token={CANARY}",)
    ours = translate(error, "api.test")
    assert isinstance(ours, CallError)
    assert type(ours) is not CallError
    assert "canary" not in f"{ours!r} {ours}"


@pytest.mark.parametrize(
    ("kind", "ours"),
    [
        (TimeoutError, CallTimedOut),
        (aiohttp.SocketTimeoutError, CallTimedOut),
        (aiohttp.ConnectionTimeoutError, Unreachable),
        (aiohttp.ServerTimeoutError, CallTimedOut),
        (aiohttp.ClientConnectorCertificateError, BadTls),
        (aiohttp.ClientConnectorSSLError, Unreachable),
        (aiohttp.ClientSSLError, Unreachable),
        (aiohttp.ClientConnectorDNSError, NotConnected),
        (aiohttp.ClientConnectorError, Unreachable),
        (aiohttp.ClientProxyConnectionError, NotConnected),
        (aiohttp.ClientHttpProxyError, NotConnected),
        (aiohttp.ClientPayloadError, ConnectionFailed),
        (aiohttp.ServerDisconnectedError, ConnectionFailed),
        (aiohttp.ClientConnectionResetError, ConnectionFailed),
        (aiohttp.ClientOSError, ConnectionFailed),
        (aiohttp.ClientResponseError, BadAnswer),
        (aiohttp.ContentTypeError, BadAnswer),
        (aiohttp.TooManyRedirects, BadAnswer),
        (aiohttp.InvalidURL, BadAnswer),
    ],
)
def test_a_foreign_error_keeps_its_class(kind: type[Exception], ours: type[CallError]) -> None:
    """A timeout, a cut, a bad certificate and an unreachable server stay distinct."""
    assert type(translate(kind.__new__(kind), "api.test")) is ours

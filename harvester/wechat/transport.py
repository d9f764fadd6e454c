"""The way to WeChat's servers: one session, one attempt a call, errors of our own.

Here and in `exchange` alone a token and a URL meet. aiohttp puts the whole URL into the text of
some of its errors, so none of them leaves this file: each is replaced by a `CallError` that has
neither the text nor the cause of the original.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from asyncio import CancelledError, Task
from collections.abc import Awaitable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self, TypeAlias, cast

import aiohttp
from aiohttp import abc
from aiohttp.http import HttpProcessingError
from yarl import URL

from harvester import __version__
from harvester.core.config import Api
from harvester.core.errors import (
    BadAnswer,
    BadTls,
    CallError,
    CallTimedOut,
    ConnectionFailed,
    Unreachable,
    UsageError,
)
from harvester.core.lenient_json import is_document
from harvester.core.safe_text import safe_text
from harvester.core.secret import Secret
from harvester.wechat.fast_post import MAX_BODY, Exchange, Reply, quoted, read

_CONNECT_SECONDS = 10.0
_KEEP_ALIVE_SECONDS = 10.0
_PASSED = -1.0
"""Stands for the deadline of a call that is being ended because its time is over."""

_HEADERS = {
    "Accept": "*/*",
    "Content-Type": "application/json",
    # Answers are small: unpacking them would cost more than it saves.
    "Accept-Encoding": "identity",
    "User-Agent": f"harvester/{__version__}",
}

Query: TypeAlias = Mapping[str, str | Secret]
Call: TypeAlias = Coroutine[Any, Any, tuple[int, bytes]]

_FAILURES: tuple[tuple[tuple[type[BaseException], ...], type[CallError], str], ...] = (
    ((aiohttp.ConnectionTimeoutError,), Unreachable, "no connection in time"),
    ((TimeoutError,), CallTimedOut, "no answer in time"),
    (
        (aiohttp.ClientConnectorCertificateError, ssl.SSLCertVerificationError),
        BadTls,
        "the server's certificate was not accepted (api.ca_file may name its authority)",
    ),
    # Not as the certificate: one handshake may break where the next one does not.
    (
        (aiohttp.ClientSSLError, aiohttp.ServerFingerprintMismatch, ssl.SSLError),
        Unreachable,
        "no encrypted connection came about",
    ),
    ((aiohttp.ClientConnectorDNSError,), Unreachable, "the server's name was not found"),
    ((aiohttp.ClientProxyConnectionError,), Unreachable, "the proxy was not reached"),
    ((aiohttp.ClientHttpProxyError,), BadAnswer, "the proxy did not let the call through"),
    ((aiohttp.ClientConnectorError,), Unreachable, "the server was not reached"),
    (
        (aiohttp.ClientResponseError, HttpProcessingError),
        BadAnswer,
        "an answer that is not HTTP",
    ),
    (
        (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError, aiohttp.RedirectClientError),
        BadAnswer,
        "api.base_url is no address of a server",
    ),
    ((aiohttp.ClientPayloadError,), ConnectionFailed, "the answer was cut off"),
    ((aiohttp.ServerDisconnectedError,), ConnectionFailed, "the server closed the connection"),
    ((aiohttp.ClientError, OSError), ConnectionFailed, "the connection broke"),
    ((ValueError,), BadAnswer, "an answer that HTTP does not allow"),
)


class Transport:
    """Posts bodies to the API, as many at once as ``connections``.

    An async context manager; it is left in the task that entered it.
    """

    def __init__(self, api: Api, *, connections: int) -> None:
        base = URL(api.base_url)
        self._base = f"{base.origin()}{base.raw_path.rstrip('/')}"
        self._proxy = api.proxy
        self._tls = _tls_context(api)
        self._seconds = api.timeout
        self._connections = connections
        self._deadlines: dict[Task[Any], float] = {}
        self._alarm: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._resolver = _Resolver()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=self._connections,
                limit_per_host=self._connections,
                keepalive_timeout=_KEEP_ALIVE_SECONDS,
                resolver=self._resolver,
                ssl=self._tls,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=_HEADERS,
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=min(_CONNECT_SECONDS, self._seconds)
            ),
            trust_env=False,
        )
        self._exchange = Exchange(self._session, URL(self._base), _HEADERS)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        await self._session.close()
        # The connector closes only a resolver of its own making.
        await self._resolver.close()

    # None of these is a coroutine function: a failure's traceback has no frame of theirs, so a
    # reporter that prints variables finds neither a body with an AppSecret nor a URL.

    def post(self, path: str, body: bytes, token: Secret | None = None) -> Call:
        """Send one body and return the HTTP status and the whole answer.

        Raises CallTimedOut when that takes longer than ``api.timeout`` seconds in all, and
        ConnectionFailed, BadTls or BadAnswer for whatever else comes between. So do the others.
        """
        if token and self._proxy is None:
            return self._send(self._exchange.post(path, token, body))
        # Rare, or in the form that a proxy wants.
        return self._ask("POST", path, {"access_token": token} if token else {}, body)

    def post_as_platform(self, path: str, body: bytes, token: Secret) -> Call:
        """Send one body with the platform's own token."""
        return self._ask("POST", path, {"component_access_token": token}, body)

    def get(self, path: str, query: Query) -> Call:
        """Ask the API with a query that may hold secrets."""
        return self._ask("GET", path, query)

    def get_from(self, url: Secret, headers: Mapping[str, Secret]) -> Call:
        """Ask another server than WeChat, directly: the proxy is for the way to WeChat."""
        return self._send(
            _reply(
                self._session.get(
                    URL(url.reveal(), encoded=True),
                    headers={name: value.reveal() for name, value in headers.items()},
                    allow_redirects=False,
                )
            )
        )

    def _ask(self, method: str, path: str, query: Query, body: bytes | None = None) -> Call:
        return self._send(
            _reply(
                self._session.request(
                    method,
                    self._url(path, query),
                    data=body,
                    allow_redirects=False,
                    proxy=self._proxy,
                )
            )
        )

    def _url(self, path: str, query: Query) -> URL:
        text = "&".join(f"{name}={quoted(value)}" for name, value in query.items())
        return URL(f"{self._base}{path}?{text}" if text else f"{self._base}{path}", encoded=True)

    async def _send(self, reply: Awaitable[Reply]) -> tuple[int, bytes]:
        """Send a request and return the status and body of its answer. Raises CallError."""
        task = cast("Task[Any]", asyncio.current_task())
        cancelling = task.cancelling()
        self._start_clock(task)
        answer: tuple[int, bytes] | CallError
        try:
            answer = _judged(await reply)
        except CancelledError:
            if self._deadlines[task] != _PASSED or task.cancelling() - 1 > cancelling:
                raise
            answer = CallTimedOut(f"no whole answer within {self._seconds:g} s")
        except (aiohttp.ClientError, HttpProcessingError, OSError, ValueError) as error:
            answer = translate(error)
        finally:
            if self._deadlines.pop(task) == _PASSED:
                task.uncancel()
        # Raised here, where no foreign error is at hand to become its context.
        if isinstance(answer, CallError):
            raise answer
        return answer

    def _start_clock(self, task: Task[Any]) -> None:
        """Give a call its deadline.

        aiohttp would set up to four timers a call. All calls may take the same time, so one timer
        for all of them does, and a call costs about 10% less.
        """
        deadline = self._deadlines[task] = self._loop.time() + self._seconds
        if self._alarm is None:
            self._alarm = self._loop.call_at(deadline, self._ring)

    def _ring(self) -> None:
        now = self._loop.time()
        late = [task for task, deadline in self._deadlines.items() if _PASSED < deadline <= now]
        for task in late:
            self._deadlines[task] = _PASSED
            task.cancel()
        waiting = [deadline for deadline in self._deadlines.values() if deadline != _PASSED]
        self._alarm = self._loop.call_at(min(waiting), self._ring) if waiting else None


def translate(error: BaseException) -> CallError:
    """Our error for a foreign one, saying what happened and nothing that the other one said."""
    for kinds, failure, words in _FAILURES:
        if isinstance(error, kinds):
            return failure(f"{words}{_detail(error)}")
    return ConnectionFailed("the connection broke")


def _detail(error: BaseException) -> str:
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f": HTTP {getattr(error, 'status', 0)}"
    number = getattr(error, "errno", None)
    if isinstance(number, int) and number > 0 and not isinstance(error, ssl.SSLError):
        return f": {os.strerror(number)}"
    return ""


async def _reply(asked: Awaitable[aiohttp.ClientResponse]) -> Reply:
    response = await asked
    try:
        return Reply(response.status, response.headers, await read(response.content))
    finally:
        # Of no effect if the body was read to its end: then its connection serves the next call.
        response.close()


def _judged(reply: Reply) -> tuple[int, bytes] | BadAnswer:
    status, headers, body = reply
    if len(body) > MAX_BODY:
        return BadAnswer(f"an answer of more than {MAX_BODY >> 20} MiB")
    if 300 <= status < 400:
        return BadAnswer(_redirected(reply))
    # Whether the server said how long the body is, so that a cut would have been noticed. One that
    # ends with the connection, or is packed, may lack its end without a word.
    is_counted = "Content-Length" in headers and "Content-Encoding" not in headers
    if not is_counted and not is_document(body):
        return BadAnswer("an answer that was cut off, or is no JSON")
    return status, body


def _redirected(reply: Reply) -> str:
    try:
        host = URL(reply.headers.get("Location", "")).host
    except ValueError:
        host = None
    target = f" to {safe_text(host, 100)}" if host else ""
    return f"HTTP {reply.status}, a redirect{target}, which is not followed"


def _tls_context(api: Api) -> ssl.SSLContext | bool:
    """The system's certificates, and those of ``ca_file`` besides."""
    if api.ca_file is None:
        return True
    context = ssl.create_default_context()
    try:
        context.load_verify_locations(api.ca_file)
    except OSError:
        raise UsageError(
            f"api.ca_file: {api.ca_file} cannot be read or holds no certificate",
            "Name a file of certificates in PEM format.",
        ) from None
    return context


class _Resolver(abc.AbstractResolver):
    """Looks names up in threads of its own.

    A look-up cannot be stopped and may take a minute. Threads of the event loop would be waited for
    at the end of the run, and publishing would queue behind them.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(4, "resolve")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[abc.ResolveResult]:
        """The addresses of a host, in the system's order."""
        found = await asyncio.get_running_loop().run_in_executor(
            self._threads, _addresses, host, port, family
        )
        return [
            abc.ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=int(address[1]),
                family=kind,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, _, protocol, _, address in found
        ]

    async def close(self) -> None:
        """Give the threads up without waiting for a look-up in progress."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _addresses(host: str, port: int, family: socket.AddressFamily) -> list[Any]:
    return socket.getaddrinfo(
        host, port, family=family, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
    )

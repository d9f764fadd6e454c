"""Sends requests to WeChat and to token servers: one session, one attempt per call.

A token and a URL meet here and in `account_calls` alone. aiohttp puts the whole URL into the text
of some of its errors, so none of them leaves this module: `foreign_errors` replaces each by a
`CallError` with neither the text nor the cause of the original.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from asyncio import CancelledError, Task
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self, TypeAlias, cast

import aiohttp
from aiohttp import abc
from aiohttp.http import HttpProcessingError
from yarl import URL

from harvester import __version__
from harvester.core import errors
from harvester.core.config.settings import Api
from harvester.core.contradictions import CachedBody
from harvester.core.hold import UNLOSABLE, Hold
from harvester.core.secret import Secret
from harvester.core.shortage import shortage
from harvester.core.text.inert_text import inert
from harvester.core.text.lenient_json import is_document
from harvester.core.text.safe_text import safe_text
from harvester.wechat.account_calls import (
    MAX_BODY,
    AccountCalls,
    BytesInHand,
    HttpResponse,
    quoted,
    read_body,
    refuse_without_lease,
)
from harvester.wechat.foreign_errors import is_foreign_page, refused_by_proxy, translate

_CONNECT_SECONDS = 10.0
MAX_OPEN_CONNECTIONS = 640
"""Maximum of open connections, unless more requests are in flight. Over TLS each takes 0.3 MiB."""
_PASSED = -1.0
"""Deadline of a call that is being cancelled because its time is over."""

_MAX_HEARD = 4096
_MEMBERS = b'"list"', b'"errcode"', b'access_token"'
"""Ends of the members of which each answer of the API that brings anything has one."""

_PROXY_AUTHENTICATION = 407

_HEADERS = {
    "Accept": "*/*",
    "Content-Type": "application/json",
    # Answers are small, so decompressing them would cost more than it saves.
    "Accept-Encoding": "identity",
    "User-Agent": f"harvester/{__version__}",
}

Query: TypeAlias = Mapping[str, str | Secret]
Call: TypeAlias = Coroutine[Any, Any, tuple[int, bytes]]


class Transport:
    """HTTP client for the API, for callers with at most ``connections`` requests at a time.

    A connection serves one account, its calls for tokens included, so that no answer can be taken
    for another account's. The platform's calls and those to token servers have connections of their
    own, which are closed after the answer.

    Every call returns the HTTP status and the complete body of the answer. It raises CallTimedOut
    if that takes longer than ``api.timeout`` seconds, waits for memory apart, and another CallError
    for any other failure; the error's text names the host and never the URL. An async context
    manager, to be left in the task that entered it. ``on_date`` gets the Date header of the API's
    answers, once for each connection and second, before the answer is returned. ``hold`` is asked
    just before a request to the API is written; once it is lost, the call raises NotStarted.
    ``pool`` has the open connections of the accounts, and ``in_hand`` counts bytes of answers.
    """

    def __init__(
        self,
        api: Api,
        *,
        connections: int,
        on_date: Callable[[str], None] = lambda _: None,
        hold: Hold = UNLOSABLE,
    ) -> None:
        base = URL(api.base_url)
        self._base = f"{base.origin()}{base.raw_path.rstrip('/')}"
        self._host = base.origin().authority
        self._proxy = api.proxy
        self._tls = _tls_context(api)
        self._seconds = api.timeout
        self._connections = connections
        self._on_date = on_date
        self._hold = hold
        # The order of a dictionary, so that the oldest are forgotten.
        self._heard: dict[tuple[int, str], None] = {}
        self._deadlines: dict[Task[Any], float] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._resolver = _Resolver()
        self._session = aiohttp.ClientSession(
            # Calls of no account have connections of their own, closed after the answer; those of
            # accounts stay acquired, in a pool that counts them.
            connector=aiohttp.TCPConnector(
                limit=0, force_close=True, resolver=self._resolver, ssl=self._tls
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=_HEADERS,
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=min(_CONNECT_SECONDS, self._seconds)
            ),
            trust_env=False,
        )
        self._calls = AccountCalls(
            self._session,
            URL(self._base),
            proxy=self._proxy,
            max_connections=max(MAX_OPEN_CONNECTIONS, self._connections),
            hold=self._hold,
        )
        self.pool, self.in_hand = self._calls.pool, self._calls.in_hand
        self.in_hand.on_wait = self._restart_clock
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self.pool.close()
        await self._session.close()
        # The connector closes only a resolver that it has made itself.
        await self._resolver.close()

    # These methods are no coroutine functions, so a failure's traceback has none of their frames:
    # error reporters print variables, and here they hold AppSecrets and URLs.

    def post(self, account: str, path: str, body: bytes, token: Secret | None = None) -> Call:
        """Send a body to the API on a connection of the account, for a data call with its token."""
        return self._send(self._calls.post(account, path, body, token), self._host)

    def get(self, account: str, path: str, query: Query) -> Call:
        """Send a query, which may hold secrets, to the API on a connection of the account."""
        return self._send(self._calls.get(account, path, _encoded(query)), self._host)

    def post_as_platform(self, path: str, body: bytes, token: Secret | None = None) -> Call:
        """Send a body to the API for the platform, with its own token if it has one."""
        refuse_without_lease(self._hold)
        query = f"?{_encoded({'component_access_token': token})}" if token else ""
        response = self._session.post(
            URL(f"{self._base}{path}{query}", encoded=True),
            data=body,
            allow_redirects=False,
            proxy=self._proxy,
        )
        return self._send(_read(response), self._host)

    def get_from(self, url: Secret, headers: Mapping[str, Secret]) -> Call:
        """Get an answer from a token server, without the proxy, which is for WeChat alone."""
        response = self._session.get(
            URL(url.reveal(), encoded=True),
            headers={name: value.reveal() for name, value in headers.items()},
            allow_redirects=False,
        )
        # Not named by its host, because its address may be a secret.
        return self._send(_read(response), "the token server")

    async def _send(self, response: Awaitable[HttpResponse], server: str) -> tuple[int, bytes]:
        """Await a response within the deadline. Raises CallError, which names the server."""
        task = cast("Task[Any]", asyncio.current_task())
        cancelling = task.cancelling()
        self._start_clock(task)
        answer: tuple[int, bytes] | Exception
        try:
            answer = self._checked(await response, server)
        except CancelledError:
            if self._deadlines[task] != _PASSED or task.cancelling() - 1 > cancelling:
                raise
            answer = errors.CallTimedOut(f"{server}: no whole answer within {self._seconds:g} s")
        except (aiohttp.ClientError, HttpProcessingError, OSError, ValueError) as error:
            # The address of a token server may be a secret.
            answer = shortage(error) or translate(error, server, named=server is self._host)
        finally:
            if self._deadlines.pop(task) == _PASSED:
                task.uncancel()
        # Raised here, because inside `except` the foreign error would become its context.
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _checked(self, response: HttpResponse, server: str) -> tuple[int, bytes] | errors.CallError:
        """Return the status and the body, or the error that the answer stands for."""
        status, headers, body, connection = response
        # Compared first, because a thousand answers of one second have the same text.
        vote = connection, headers.get("Date", "")
        if vote not in self._heard and server is self._host and _is_of_api(body):
            self._hear(vote)
        if server is self._host and body[:1] != b"{":
            if status == _PROXY_AUTHENTICATION:
                return refused_by_proxy(server, status)
            if is_foreign_page(status, body):
                return errors.ForeignPage(f"{server}: HTML instead of JSON (HTTP {status})")
        if len(body) > MAX_BODY:
            return errors.LongAnswer(f"{server}: an answer of more than {MAX_BODY >> 20} MiB")
        if 300 <= status < 400:
            target = _host_of(headers.get("Location", ""))
            return errors.ForeignPage(
                f"{server}: HTTP {status}, a redirect{target}, which is not followed"
            )
        # With a length aiohttp has noticed a body that was cut off. A body that ends with its
        # connection, or is compressed, may be cut off unnoticed, so it must be a JSON document.
        has_length = "Content-Length" in headers and "Content-Encoding" not in headers
        if not has_length and not is_document(body):
            return errors.BadAnswer(f"{server}: the answer was cut off or is not JSON")
        age = _seconds_of(headers["Age"]) if "Age" in headers else 0
        return status, CachedBody(body, age) if age else body

    def _hear(self, vote: tuple[int, str]) -> None:
        """Tell a date of a connection, once: a cached answer repeats its own for ever."""
        self._heard[vote] = None
        if len(self._heard) > _MAX_HEARD:
            del self._heard[next(iter(self._heard))]
        self._on_date(vote[1])

    def _start_clock(self, task: Task[Any]) -> None:
        """Set a call's deadline.

        aiohttp would set up to four timers per call. All calls have the same time limit, so one
        timer serves all of them, and a call costs about 10% less.
        """
        deadline = self._deadlines[task] = self._loop.time() + self._seconds
        if self._timer is None:
            self._timer = self._loop.call_at(deadline, self._expire)

    def _restart_clock(self) -> None:
        self._start_clock(cast("Task[Any]", asyncio.current_task()))

    def _expire(self) -> None:
        now = self._loop.time()
        late = [task for task, deadline in self._deadlines.items() if _PASSED < deadline <= now]
        for task in late:
            self._deadlines[task] = _PASSED
            task.cancel()
        waiting = [deadline for deadline in self._deadlines.values() if deadline != _PASSED]
        self._timer = self._loop.call_at(min(waiting), self._expire) if waiting else None


async def _read(awaitable: Awaitable[aiohttp.ClientResponse]) -> HttpResponse:
    response = await awaitable
    try:
        body = await read_body(response.content, BytesInHand())
        return HttpResponse(response.status, response.headers, body, id(response))
    finally:
        # Without effect if the body was read to its end: then the connection is used again.
        response.close()


def _is_of_api(body: bytes) -> bool:
    """Return whether a body is what WeChat's API answers, and no page of something before it."""
    # Not parsed, which would cost as much as all else that is done with an answer.
    is_object = body[:1] == b"{" and body.rstrip()[-1:] == b"}"
    return is_object and any(member in body for member in _MEMBERS)


def _encoded(query: Query) -> str:
    return "&".join(f"{name}={quoted(value)}" for name, value in query.items())


def _seconds_of(text: str) -> int:
    """Read a number of seconds of a header; 0 for anything else."""
    # A longer one is cut: it has to fit into the raw log.
    return int(text[:9]) if text.isascii() and text.isdecimal() else 0


def _host_of(location: str) -> str:
    try:
        host = URL(location).host
    except ValueError:
        host = None
    return f" to {safe_text(host, 100)}" if host else ""


def _tls_context(api: Api) -> ssl.SSLContext | bool:
    """Return the system's certificates and those of ``api.ca_file``. Raises UsageError."""
    # aiohttp's own context would write the keys of all sessions to the file of SSLKEYLOGFILE.
    if api.ca_file is None and "SSLKEYLOGFILE" not in os.environ:
        return True
    context = ssl.create_default_context()
    context.keylog_filename = None  # type: ignore[assignment]
    if api.ca_file is None:
        return context
    try:
        context.load_verify_locations(api.ca_file)
    except OSError:
        raise errors.UsageError(
            f"api.ca_file: {inert(str(api.ca_file))} cannot be read or holds no certificate",
            "Set api.ca_file to a readable file of certificates in PEM format.",
        ) from None
    return context


class _Resolver(abc.AbstractResolver):
    """Name resolver with threads of its own.

    A look-up cannot be stopped and may take a minute. In the event loop's threads it would delay
    the end of the run, and publishing would queue behind it.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(4, "resolve")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[abc.ResolveResult]:
        """Return the addresses of a host, in the system's order."""
        # As aiohttp asks: only addresses of kinds that this machine has itself.
        flags = socket.AI_ADDRCONFIG
        found = await asyncio.get_running_loop().run_in_executor(
            self._threads, socket.getaddrinfo, host, port, family, socket.SOCK_STREAM, 0, flags
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
        """Abandon the threads without waiting for a look-up in progress."""
        self._threads.shutdown(wait=False, cancel_futures=True)

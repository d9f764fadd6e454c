"""Tokens that somebody else gets: given, printed by a command, or answered by a token server."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import anyio

from harvester.core import credentials as access
from harvester.core.errors import (
    BadAnswer,
    BadTls,
    CallError,
    CallTimedOut,
    ConnectionFailed,
    Unreachable,
    UsageError,
)
from harvester.core.model import Refusal
from harvester.core.secret import Secret
from harvester.wechat.auth import subprocess_secret
from harvester.wechat.auth.provider import (
    IssuedToken,
    Meter,
    Outcome,
    Rejection,
    TokenDenied,
    denied,
    not_handed,
    token_conflict,
    usable_for,
)
from harvester.wechat.auth.token_api import Grant, handed_of
from harvester.wechat.transport import Transport

CACHED_SECONDS = 60.0
"""A token server's answer is used for so long at most: its token may be replaced at any time."""

_FAILED: Mapping[type[CallError], type[CallError]] = {
    CallTimedOut: CallTimedOut,
    ConnectionFailed: ConnectionFailed,
    Unreachable: ConnectionFailed,
}

_SERVER_IS_BUSY = (408, 425, 429)

EXPIRED = 42001

_OVER = Refusal(
    EXPIRED, "the token that the manifest gives is over, and only its owner can renew it", ""
)


class StaticToken:
    """A token that stands in a variable or file until its owner replaces it there."""

    def __init__(self, text: access.SecretReader, clock: Callable[[], float]) -> None:
        self._text = text
        self._clock = clock

    async def current(self) -> Outcome:
        """What stands there now, unless it is known to have ended."""
        left = math.inf
        if self._text.expires_at is not None:
            left = self._text.expires_at - self._clock()
        if left <= 0:
            return denied(_OVER)
        token = await read(self._text)
        return token if isinstance(token, TokenDenied) else IssuedToken(token, left)

    async def replace(self, doubt: Rejection) -> Outcome:
        """What its owner has put there since."""
        found = await self.current()
        if isinstance(found, IssuedToken) and found.token == doubt.rejected:
            return denied(_OVER)
        return found


class CommandToken:
    """A token that a command prints."""

    def __init__(self, at: access.Command, limiter: anyio.CapacityLimiter, meter: Meter) -> None:
        self._at = at
        self._limiter = limiter
        self._meter = meter

    async def current(self) -> Outcome:
        """Run the command. What it says nothing about is used until WeChat rejects it."""
        self._meter.calls += 1
        found = await printed(self._at, self._limiter, "access_token")
        if isinstance(found, TokenDenied):
            return found
        return IssuedToken(
            found.token, usable_for(found.expires_in) if found.expires_in else math.inf
        )

    async def replace(self, doubt: Rejection) -> Outcome:
        """Run it once more."""
        return await self.current() if doubt.rejections == 1 else token_conflict(doubt)


class HttpToken:
    """A token that a token server has."""

    def __init__(self, at: access.HttpSource, transport: Transport, meter: Meter) -> None:
        self._at = at
        self._transport = transport
        self._meter = meter

    async def current(self) -> Outcome:
        """Ask the server."""
        self._meter.calls += 1
        found = await served(self._at, self._transport, "access_token")
        if isinstance(found, TokenDenied):
            return found
        life = usable_for(found.expires_in) if found.expires_in else CACHED_SECONDS
        return IssuedToken(found.token, min(life, CACHED_SECONDS))

    async def replace(self, doubt: Rejection) -> Outcome:
        """Ask it once more: it may have renewed the token meanwhile."""
        return await self.current() if doubt.rejections == 1 else token_conflict(doubt)


async def read(text: access.SecretReader) -> Secret | TokenDenied:
    """What a variable or file holds."""
    try:
        return await anyio.to_thread.run_sync(text.read)
    except UsageError as error:
        return not_handed(error.problem)


async def printed(
    at: access.Command, limiter: anyio.CapacityLimiter, member: str
) -> Grant | TokenDenied:
    """What a command prints: a bare word, or JSON with a member of that name."""
    output = await subprocess_secret.run(at, limiter)
    if isinstance(output, str):
        return not_handed(output)
    try:
        found = handed_of(output.reveal().encode(), member)
    except BadAnswer:
        found = None
    if found is None:
        return not_handed(
            f"{subprocess_secret.name_of(at)} printed neither one word nor JSON with {member}"
        )
    return denied(found) if isinstance(found, Refusal) else found


async def served(at: access.HttpSource, transport: Transport, member: str) -> Grant | TokenDenied:
    """What a token server answers: a bare word, or JSON with a member of that name.

    Raises CallError; a server that refuses is one that denies. What is wrong with it says nothing
    of WeChat: neither is WeChat out of reach, nor is its certificate bad.
    """
    try:
        status, body = await transport.get_from(at.url, at.headers)
    except BadTls as error:
        return not_handed(f"the token server: {error}")
    except CallError as error:
        failure = _FAILED.get(type(error), BadAnswer)(f"the token server: {error}")
    else:
        return _served(status, body, member)
    raise failure


def _served(status: int, body: bytes, member: str) -> Grant | TokenDenied:
    if status >= 500 or status in _SERVER_IS_BUSY:
        raise BadAnswer(f"the token server answered HTTP {status}")
    if status != 200:
        return not_handed(f"the token server answered HTTP {status}")
    found = handed_of(body, member)
    return denied(found) if isinstance(found, Refusal) else found

"""Tokens for an AppSecret, from WeChat itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from harvester.core.model import Refusal
from harvester.core.secret import Secret
from harvester.wechat.auth.provider import (
    IssuedToken,
    Meter,
    Outcome,
    Rejection,
    denied,
    token_conflict,
    usable_for,
)
from harvester.wechat.auth.token_api import Grant, grant_of, legacy_query, stable_body
from harvester.wechat.transport import Transport

STABLE_PATH = "/cgi-bin/stable_token"
LEGACY_PATH = "/cgi-bin/token"

INVALID = 40001
"""What WeChat answers to a token that was replaced, or never was."""

Budget: TypeAlias = Callable[[str], Awaitable[bool]]
"""Whether an account's token may be replaced by force now; a yes is spent."""


class StableToken:
    """``/cgi-bin/stable_token`` in normal mode: the token that all services share stays valid.

    By force only when WeChat rejected two of its own in a row: then nobody's token works.
    """

    def __init__(
        self, appid: str, secret: Secret, transport: Transport, *, budget: Budget, meter: Meter
    ) -> None:
        self._appid = appid
        self._secret = secret
        self._transport = transport
        self._budget = budget
        self._meter = meter

    async def current(self) -> Outcome:
        """The token that everybody has."""
        return await self._ask(force=False)

    async def replace(self, doubt: Rejection) -> Outcome:
        """First what WeChat has now; then, within the budget, a new one by force."""
        if doubt.rejections == 1:
            return await self._ask(force=False)
        if doubt.rejections > 2 or doubt.errcode != INVALID or not await self._budget(self._appid):
            return token_conflict(doubt)
        return await self._ask(force=True)

    async def _ask(self, *, force: bool) -> Outcome:
        self._meter.calls += 1
        # Neither body is given a name: both hold secrets, and reporters print variables.
        return _outcome(
            grant_of(
                *await self._transport.post(
                    STABLE_PATH, stable_body(self._appid, self._secret, force=force)
                )
            )
        )


class LegacyToken:
    """``/cgi-bin/token``, which ends the token of every other service: for who said so."""

    def __init__(self, appid: str, secret: Secret, transport: Transport, meter: Meter) -> None:
        self._appid = appid
        self._secret = secret
        self._transport = transport
        self._meter = meter

    async def current(self) -> Outcome:
        """A new token."""
        self._meter.calls += 1
        return _outcome(
            grant_of(
                *await self._transport.get(LEGACY_PATH, legacy_query(self._appid, self._secret))
            )
        )

    async def replace(self, doubt: Rejection) -> Outcome:
        """One more, once: two services that do this end each other's tokens for ever."""
        return await self.current() if doubt.rejections == 1 else token_conflict(doubt)


def _outcome(grant: Grant | Refusal) -> Outcome:
    if isinstance(grant, Refusal):
        return denied(grant)
    return IssuedToken(grant.token, usable_for(grant.expires_in))

"""Tokens for an AppSecret, from WeChat's two token endpoints."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

from harvester.core.secret import Secret
from harvester.wechat.auth import provider, token_api
from harvester.wechat.auth.provider import IssuedToken, Meter, Rejection, TokenProvider
from harvester.wechat.transport import Call, Transport

STABLE_PATH = "/cgi-bin/stable_token"
LEGACY_PATH = "/cgi-bin/token"

INVALID_TOKEN = 40001
"""WeChat's errcode for a token that was replaced by another, or that it never issued."""

Budget: TypeAlias = Callable[[str], Awaitable[bool]]
"""True if an account's token may be replaced by force now, which spends the permission."""


@dataclass(frozen=True)
class StableToken(TokenProvider):
    """``/cgi-bin/stable_token`` in normal mode: the token that all services share stays valid.

    The token is replaced by force only if WeChat rejected two of its own in a row with which no
    call ever succeeded, because then it works for none of the services.
    """

    appid: str
    secret: Secret
    transport: Transport
    budget: Budget | None
    meter: Meter

    async def current(self) -> IssuedToken:
        """Return the token that all services share."""
        return await self._request(force=False)

    async def replace(self, rejection: Rejection) -> IssuedToken:
        """Ask in normal mode; by force, within the budget, after two that never worked."""
        if rejection.rejections < 2:
            return await self._request(force=False)
        # A token that expired proves no fault of WeChat's, so only "invalid" justifies force.
        is_justified = rejection.rejections == 2 and rejection.errcode == INVALID_TOKEN
        if not is_justified or self.budget is None or not await self.budget(self.appid):
            raise provider.token_conflict(rejection)
        return await self._request(force=True)

    async def _request(self, *, force: bool) -> IssuedToken:
        self.meter.calls += 1
        # Neither body has a name, because both hold secrets and error reporters print variables.
        return await _issued(
            self.transport.post(
                self.appid, STABLE_PATH, token_api.stable_body(self.appid, self.secret, force=force)
            )
        )


@dataclass(frozen=True)
class LegacyToken(TokenProvider):
    """``/cgi-bin/token``, which ends the token of every other service that uses it."""

    appid: str
    secret: Secret
    transport: Transport
    meter: Meter

    async def current(self) -> IssuedToken:
        """Return a new token, which ends the previous one."""
        self.meter.calls += 1
        return await _issued(
            self.transport.get(
                self.appid, LEGACY_PATH, token_api.legacy_query(self.appid, self.secret)
            )
        )


async def _issued(call: Call) -> IssuedToken:
    """Return the token that WeChat answers. Raises TokenDenied and CallError."""
    grant = provider.accepted(token_api.grant_of(*await call))
    return IssuedToken(grant.token, provider.usable_for(grant.expires_in))

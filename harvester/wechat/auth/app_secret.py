"""Tokens for an AppSecret, from WeChat's two token endpoints."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

from harvester.core.secret import Secret
from harvester.wechat.auth import provider
from harvester.wechat.auth.token_api import grant_of, legacy_query, stable_body
from harvester.wechat.transport import Transport

STABLE_PATH = "/cgi-bin/stable_token"
LEGACY_PATH = "/cgi-bin/token"

INVALID_TOKEN = 40001
"""WeChat's errcode for a token that was replaced by another, or that it never issued."""

Budget: TypeAlias = Callable[[str], Awaitable[bool]]
"""True if an account's token may be replaced by force now, which spends the permission."""


@dataclass(frozen=True)
class StableToken(provider.TokenProvider):
    """``/cgi-bin/stable_token`` in normal mode: the token that all services share stays valid.

    The token is replaced by force only if WeChat rejected two of its own in a row, because then
    it works for none of the services.
    """

    appid: str
    secret: Secret
    transport: Transport
    budget: Budget
    meter: provider.Meter

    async def current(self) -> provider.IssuedToken:
        """Return the token that all services share."""
        return await self._request(force=False)

    async def replace(self, rejection: provider.Rejection) -> provider.IssuedToken:
        """Ask in normal mode after one rejection; by force, within the budget, after two."""
        count = rejection.rejections
        if count == 1:
            return await self._request(force=False)
        # A token that expired proves no fault of WeChat's, so only "invalid" justifies force.
        if count > 2 or rejection.errcode != INVALID_TOKEN or not await self.budget(self.appid):
            raise provider.token_conflict(rejection)
        return await self._request(force=True)

    async def _request(self, *, force: bool) -> provider.IssuedToken:
        self.meter.calls += 1
        # Neither body has a name, because both hold secrets and error reporters print variables.
        grant = provider.accepted(
            grant_of(
                *await self.transport.post(
                    STABLE_PATH, stable_body(self.appid, self.secret, force=force)
                )
            )
        )
        return provider.IssuedToken(grant.token, provider.usable_for(grant.expires_in))


@dataclass(frozen=True)
class LegacyToken(provider.TokenProvider):
    """``/cgi-bin/token``, which ends the token of every other service that uses it."""

    appid: str
    secret: Secret
    transport: Transport
    meter: provider.Meter

    async def current(self) -> provider.IssuedToken:
        """Return a new token, which ends the previous one."""
        self.meter.calls += 1
        grant = provider.accepted(
            grant_of(*await self.transport.get(LEGACY_PATH, legacy_query(self.appid, self.secret)))
        )
        return provider.IssuedToken(grant.token, provider.usable_for(grant.expires_in))

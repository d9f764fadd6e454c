"""Which source an account's token comes from, and what all sources share."""

from __future__ import annotations

from collections.abc import Callable

import anyio

from harvester.core.credentials import (
    Access,
    AppSecret,
    Command,
    Platform,
    RefreshToken,
    SecretReader,
)
from harvester.core.errors import UsageError
from harvester.core.secret import Secret
from harvester.wechat.auth import subprocess_secret
from harvester.wechat.auth.app_secret import Budget, LegacyToken, StableToken
from harvester.wechat.auth.component import Component, PlatformToken
from harvester.wechat.auth.external import CommandToken, HttpToken, StaticToken
from harvester.wechat.auth.provider import Meter, TokenDenied, TokenProvider
from harvester.wechat.transport import Transport


class TokenProviders:
    """Makes the source of each account. ``calls`` counts the calls that were made for tokens.

    ``access`` gives what opens an account; ``clock`` counts the seconds since the Unix epoch.
    """

    def __init__(
        self,
        access: Callable[[str], Access],
        transport: Transport,
        *,
        clock: Callable[[], float],
        budget: Budget,
        platform: Platform | None = None,
    ) -> None:
        self._access = access
        self._transport = transport
        self._clock = clock
        self._budget = budget
        self._meter = Meter()
        self._limiter = anyio.CapacityLimiter(subprocess_secret.AT_ONCE)
        self._component = None if platform is None else self._open(platform)

    @property
    def calls(self) -> int:
        """How many calls were made for tokens."""
        return self._meter.calls

    async def authorised(self) -> dict[str, Secret] | TokenDenied:
        """The refresh tokens of all who authorised the platform. Raises CallError."""
        if self._component is None:
            return {}
        return await self._component.authorised()

    def provider(self, appid: str) -> TokenProvider:
        """The account's way to a token."""
        given = self._access(appid)
        if isinstance(given, AppSecret):
            if given.legacy:
                return LegacyToken(appid, given.secret, self._transport, self._meter)
            return StableToken(
                appid, given.secret, self._transport, budget=self._budget, meter=self._meter
            )
        if isinstance(given, SecretReader):
            return StaticToken(given, self._clock)
        if isinstance(given, Command):
            return CommandToken(given, self._limiter, self._meter)
        if isinstance(given, RefreshToken):
            if self._component is None:
                raise UsageError(f"{appid} has a refresh token, and there is no platform")
            return PlatformToken(appid, given, self._component)
        return HttpToken(given, self._transport, self._meter)

    def _open(self, platform: Platform) -> Component:
        return Component(
            platform,
            self._transport,
            clock=self._clock,
            limiter=self._limiter,
            meter=self._meter,
        )

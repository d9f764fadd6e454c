"""Choice of the token provider that fits an account's credential."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from harvester.core.calendar import Clock
from harvester.core.config import credentials
from harvester.core.errors import UsageError
from harvester.wechat.auth import external, subprocess_secret
from harvester.wechat.auth.app_secret import Budget, LegacyToken, StableToken
from harvester.wechat.auth.component import Component, PlatformToken
from harvester.wechat.auth.provider import Meter, TokenProvider
from harvester.wechat.transport import Transport


class TokenProviders:
    """Factory of token providers, and what they share: one transport, one count of calls.

    ``access`` returns an account's credential, ``clock`` the seconds since the Unix epoch.
    ``budget`` decides whether an account's token may be replaced by force; None forbids it.
    """

    def __init__(
        self,
        access: Callable[[str], credentials.Access],
        transport: Transport,
        *,
        clock: Clock,
        budget: Budget | None = None,
        component: Component | None = None,
    ) -> None:
        self._access = access
        self._transport = transport
        self._clock = clock
        self._budget = budget
        self._component = component
        self._meter = component.meter if component else Meter()
        self._limiter = component.limiter if component else subprocess_secret.command_limiter()

    def provider(self, appid: str) -> TokenProvider:
        """Return a new provider of the account's tokens."""
        match self._access(appid):
            case credentials.AppSecret(secret, legacy=True):
                return LegacyToken(appid, secret, self._transport, self._meter)
            case credentials.AppSecret(secret):
                return StableToken(appid, secret, self._transport, self._budget, self._meter)
            case credentials.SecretReader() as reader:
                return external.StaticToken(reader, self._clock)
            case credentials.Command() as command:
                read = partial(external.run_command, command, self._limiter, "access_token")
                # Used until WeChat rejects it, if the command does not say how long it lives.
                return external.ExternalToken(read, math.inf, self._meter)
            case credentials.HttpSource() as source:
                read = partial(external.ask_server, source, self._transport, "access_token")
                return external.ExternalToken(read, external.CACHED_SECONDS, self._meter)
            case credentials.RefreshToken() as credential:
                if self._component is None:
                    raise UsageError(
                        f"{appid} has a refresh token, but the manifest has no platform",
                        "add the section `platform` to the manifest",
                    )
                return PlatformToken(appid, credential, self._component)

    @property
    def calls(self) -> int:
        """Number of calls made for tokens."""
        return self._meter.calls

"""Token providers: one for each kind of credential."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from harvester.core.calendar import Clock
from harvester.core.config import credentials
from harvester.core.secret import Secret
from harvester.wechat.auth import external, provider, token_api
from harvester.wechat.auth.component import Component
from harvester.wechat.auth.provider import IssuedToken, Rejection, TokenDenied
from harvester.wechat.transport import Call, Transport

STABLE_PATH = "/cgi-bin/stable_token"
LEGACY_PATH = "/cgi-bin/token"

INVALID_TOKEN = 40001
"""WeChat's errcode for a token that was replaced by another, or that it never issued."""

Budget: TypeAlias = Callable[[str], Awaitable[bool]]
"""True if an account's token may be replaced by force now, which spends the permission."""


class TokenProviders:
    """Provider of tokens for each kind of credential: one transport, one count of calls.

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
        self._calls = 0

    def asks_wechat(self, appid: str) -> bool:
        """Return whether the account's tokens come from WeChat's endpoint."""
        return isinstance(self._access(appid), credentials.AppSecret | credentials.RefreshToken)

    async def issue(self, appid: str, rejection: Rejection | None) -> IssuedToken:
        """Return a token of the account, after WeChat rejected its last one if that is given.

        Raises TokenDenied if there is none, and CallError if a call failed that may succeed when it
        is repeated.
        """
        access = self._access(appid)
        match access:
            case credentials.AppSecret(secret, legacy=False):
                return await self._stable(appid, secret, rejection)
            case credentials.SecretReader():
                return await self._static(access, rejection)
        if rejection is not None and rejection.rejections > 1:
            # Two clients that end each other's tokens would go on forever.
            raise provider.token_conflict(rejection)
        match access:
            case credentials.AppSecret(secret):
                return await self._legacy(appid, secret)
            case credentials.Command():
                # Used until WeChat rejects it, if the command does not say how long it lives.
                return await self._external(access, math.inf)
            case credentials.HttpSource():
                return await self._external(access, external.CACHED_SECONDS)
            case credentials.RefreshToken():
                if self._component is None:
                    # Only a check of a paused account goes on without them.
                    why = "the secrets of its platform cannot be read"
                    raise TokenDenied(provider.NOT_PROVIDED, why)
                return await self._component.refresh(appid, access)

    @property
    def calls(self) -> int:
        """Number of calls made for tokens."""
        return self._calls + (self._component.calls if self._component else 0)

    async def _stable(self, appid: str, secret: Secret, rejection: Rejection | None) -> IssuedToken:
        """Get the token that all services share, by ``stable_token`` in normal mode.

        It is replaced by force, within the budget, only if WeChat rejected two of its own in a row
        with which no call ever succeeded, because then it works for none of the services.
        """
        force = rejection is not None and rejection.rejections >= 2
        if rejection is not None and force:
            # A token that expired proves no fault of WeChat's, so only "invalid" justifies force.
            is_justified = rejection.rejections == 2 and rejection.errcode == INVALID_TOKEN
            if not is_justified or self._budget is None or not await self._budget(appid):
                raise provider.token_conflict(rejection)
        asked = {**_asked(appid, secret), "force_refresh": force}
        # The body has no name, because it holds secrets and error reporters print variables.
        return await self._issued(
            self._transport.post(appid, STABLE_PATH, token_api.request_body(**asked))
        )

    async def _legacy(self, appid: str, secret: Secret) -> IssuedToken:
        """Get a new token from ``/cgi-bin/token``, which ends that of every other service."""
        return await self._issued(self._transport.get(appid, LEGACY_PATH, _asked(appid, secret)))

    async def _issued(self, call: Call) -> IssuedToken:
        """Return the token that WeChat answers. Raises TokenDenied and CallError."""
        self._calls += 1
        grant = provider.accepted(token_api.grant_of(*await call))
        return IssuedToken(grant.token, provider.usable_for(grant.expires_in))

    async def _static(
        self, reader: credentials.SecretReader, rejection: Rejection | None
    ) -> IssuedToken:
        """Read a token that its owner replaces. Raises TokenDenied for one that has ended."""
        left = math.inf if reader.expires_at is None else reader.expires_at - self._clock()
        if left > 0:
            found = await external.read_secret(reader)
            if rejection is None or found != rejection.token:
                return IssuedToken(found, left)
        raise provider.denied(external.EXPIRED)

    async def _external(self, source: credentials.ExternalSource, longest: float) -> IssuedToken:
        """Get a token from a command or a token server, to be used ``longest`` seconds at most."""
        self._calls += 1
        grant = await external.read(source, "access_token", self._transport)
        # One without ``expires_in`` is used for the longest time.
        seconds = provider.usable_for(grant.expires_in, longest)
        return IssuedToken(grant.token, min(seconds, longest))


def _asked(appid: str, secret: Secret) -> dict[str, str | Secret]:
    return {"grant_type": "client_credential", "appid": appid, "secret": secret}

"""The tokens of all accounts: fetched when first needed, renewed in time, shared by every worker.

Tokens come from ``/cgi-bin/stable_token`` in normal mode alone. It hands out the current token and
leaves it valid, so that no other service of the account loses its own; ``/cgi-bin/token`` and
``force_refresh`` would end it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

import anyio

from harvester.errors import CallError
from harvester.model import Credential, TokenCredential
from harvester.secret import Secret
from harvester.transport import Transport
from harvester.verdict import Action, token_rule_for
from harvester.wire import Refusal, grant_of, token_body

TOKEN_PATH = "/cgi-bin/stable_token"

RENEW_AHEAD = 300.0
"""Seconds before its end at which a token is renewed: from then on WeChat has a new one ready."""

_UNKNOWN_LIFE = 60.0

_GIVEN_IS_OVER = Refusal(
    42001, "WeChat rejected the token given in the manifest, and only its owner can renew it", ""
)


class TokenRefused(Exception):
    """There is no token to be had for the account. The text is WeChat's reason, safe to print."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal


_Outcome: TypeAlias = Secret | Refusal | CallError


class _Held(NamedTuple):
    token: Secret
    renew_at: float


class _Flight:
    """A call in progress. The outcome stays None if whoever made it was cancelled."""

    def __init__(self) -> None:
        self.done = anyio.Event()
        self.outcome: _Outcome | None = None


class Tokens:
    """Knows the current token of each account. ``calls`` counts the calls to the token endpoint.

    ``credentials`` gives an account's AppSecret, or the token itself where ``kinds`` has a
    `TokenCredential`. ``clock`` counts seconds and never goes back.
    """

    def __init__(
        self,
        transport: Transport,
        credentials: Callable[[str], Secret],
        kinds: Mapping[str, Credential],
        clock: Callable[[], float],
    ) -> None:
        self.calls = 0
        self._transport = transport
        self._credentials = credentials
        self._kinds = kinds
        self._clock = clock
        self._held: dict[str, _Held] = {}
        self._refused: dict[str, Refusal] = {}
        self._flights: dict[str, _Flight] = {}

    async def current(self, appid: str) -> Secret:
        """The account's token; many may wait for it, and one call is made for all of them.

        Raises TokenRefused if WeChat gives none, and CallError if the call came to nothing. A
        refusal that stands is remembered: such an account costs one call.
        """
        held = self._held.get(appid)
        if held is not None and self._clock() < held.renew_at:
            return held.token
        while (flight := self._flights.get(appid)) is not None:
            await flight.done.wait()
            if flight.outcome is not None:
                return _delivered(flight.outcome)
        return await self._fetch(appid)

    def reject(self, appid: str, token: Secret) -> bool:
        """Drop a token that WeChat no longer accepts, unless it was replaced in the meantime.

        The very token that ``current`` returned is meant: WeChat may hand out an equal one again,
        and a late complaint about the first says nothing about the second.
        """
        held = self._held.get(appid)
        if held is None or held.token is not token:
            return False
        del self._held[appid]
        if self._is_given(appid):
            self._refused[appid] = _GIVEN_IS_OVER
        return True

    async def _fetch(self, appid: str) -> Secret:
        flight = self._flights[appid] = _Flight()
        try:
            flight.outcome = await self._obtain(appid)
        finally:
            # Also when cancelled: the first of the waiters then makes the call itself.
            del self._flights[appid]
            flight.done.set()
        return _delivered(flight.outcome)

    async def _obtain(self, appid: str) -> _Outcome:
        if appid in self._refused:
            return self._refused[appid]
        if self._is_given(appid):
            return self._hold(appid, self._credentials(appid), renew_at=math.inf)
        asked = self._clock()
        self.calls += 1
        try:
            # Neither body is given a name: both hold secrets, and reporters print variables.
            grant = grant_of(
                *await self._transport.post(TOKEN_PATH, token_body(appid, self._credentials(appid)))
            )
        except CallError as error:
            return error
        if isinstance(grant, Refusal):
            if token_rule_for(grant.errcode).action is Action.STOP:
                self._refused[appid] = grant
            return grant
        life = grant.expires_in or _UNKNOWN_LIFE
        return self._hold(appid, grant.token, renew_at=asked + max(life - RENEW_AHEAD, life / 2))

    def _hold(self, appid: str, token: Secret, *, renew_at: float) -> Secret:
        self._held[appid] = _Held(token, renew_at)
        return token

    def _is_given(self, appid: str) -> bool:
        return isinstance(self._kinds.get(appid), TokenCredential)


def _delivered(outcome: _Outcome) -> Secret:
    """The token, or an error made anew: each waiter's traceback is its own, without bodies."""
    if isinstance(outcome, Secret):
        return outcome
    if isinstance(outcome, Refusal):
        raise TokenRefused(outcome)
    raise type(outcome)(*outcome.args)

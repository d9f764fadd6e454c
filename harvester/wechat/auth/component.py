"""Tokens through a third-party platform: its own token, its list, and the refresh of accounts.

Source: WeChat's pages of api_component_token, api_authorizer_token and api_get_authorizer_list,
read 2026-11-24. A refresh may replace the refresh token; the new one is handed to the sink before
the access token that came with it is used, so that whoever starts next can go on.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable
from typing import TypeAlias, TypeVar

import anyio

from harvester.catalogue.error_codes import Action, platform_rule_for
from harvester.core import credentials as access
from harvester.core.model import Refusal
from harvester.core.safe_text import safe_text
from harvester.core.secret import Secret
from harvester.wechat.auth import external, refresh_token_store
from harvester.wechat.auth.provider import (
    IssuedToken,
    Meter,
    Outcome,
    Rejection,
    TokenDenied,
    token_conflict,
    usable_for,
)
from harvester.wechat.auth.token_api import (
    Grant,
    Page,
    component_body,
    grant_of,
    list_body,
    page_of,
    refresh_body,
    refreshed_of,
)
from harvester.wechat.transport import Transport

COMPONENT_PATH = "/cgi-bin/component/api_component_token"
REFRESH_PATH = "/cgi-bin/component/api_authorizer_token"
LIST_PATH = "/cgi-bin/component/api_get_authorizer_list"

TICKET_IS_OVER = frozenset({61005, 61006})
TOKEN_IS_OVER = frozenset({40001, 40014, 42001})
REFRESH_TOKEN_IS_OVER = 61023
NOT_AUTHORISED = 61003

T = TypeVar("T")
Call: TypeAlias = Callable[[Secret], Awaitable[T | Refusal]]
"""A call as the platform, with its token."""

_MOST_PAGES = 10_000
_LONGEST_NAME = 40

_log = logging.getLogger("harvester.platform")


class Component:
    """The platform itself. What it learns is shared by all of its accounts."""

    def __init__(
        self,
        platform: access.Platform,
        transport: Transport,
        *,
        clock: Callable[[], float],
        limiter: anyio.CapacityLimiter,
        meter: Meter,
    ) -> None:
        self._platform = platform
        self._transport = transport
        self._clock = clock
        self._limiter = limiter
        self._meter = meter
        self._asking = anyio.Lock()
        self._listing = anyio.Lock()
        self._denied: TokenDenied | None = None
        self._known = platform.known

    async def authorised(self) -> dict[str, Secret] | TokenDenied:
        """The refresh tokens of all who authorised the platform, by appid. Raises CallError.

        What the list names besides accounts is said here and not where the list is only looked up
        again, so that it is said once.
        """
        found = await self._list(since=self._clock())
        if not isinstance(found, TokenDenied) and self._known.non_account_ids:
            _log.warning(
                "the platform's list names %s that no account is called, such as %s: passed over",
                f"{len(self._known.non_account_ids):,}",
                safe_text(self._known.non_account_ids[0], _LONGEST_NAME),
            )
        return found

    async def refresh(self, appid: str, given: access.RefreshToken) -> Outcome:
        """An account's token, and its refresh token kept if it was replaced. Raises CallError.

        One that is not good any more is looked up in the list, once.
        """
        asked = self._clock()
        token = await self._refresh_token(appid, given)
        if isinstance(token, TokenDenied):
            return token
        found = await self._exchange_refresh_token(appid, token)
        if isinstance(found, Refusal) and found.errcode == REFRESH_TOKEN_IS_OVER:
            listed = await self._list(since=asked)
            if isinstance(listed, TokenDenied):
                return listed
            if listed.get(appid, token) != token:
                found = await self._exchange_refresh_token(appid, listed[appid])
        return _denied(found) if isinstance(found, Refusal) else found

    async def _refresh_token(self, appid: str, given: access.RefreshToken) -> Secret | TokenDenied:
        """What is newest: of this run and the list, of the sink, of the manifest, of the list."""
        if appid in self._known.listed:
            return self._known.listed[appid]
        kept = await refresh_token_store.kept(self._platform.sink, appid)
        if kept is not None:
            return kept
        if given.read is not None:
            return await external.read(access.SecretReader(given.read))
        listed = await self._list(since=-math.inf)
        if isinstance(listed, TokenDenied):
            return listed
        return listed.get(appid) or _denied(
            Refusal(NOT_AUTHORISED, "the platform's list does not have the account", "")
        )

    async def _exchange_refresh_token(self, appid: str, token: Secret) -> Outcome | Refusal:
        """A refresh token for an access token."""
        found = await self._as_platform(
            lambda own: self._post(
                REFRESH_PATH,
                lambda: refresh_body(self._platform.appid, appid, token),
                own,
                refreshed_of,
            )
        )
        if isinstance(found, TokenDenied | Refusal):
            return found
        if found.refresh_token != token:
            # Never in between: a token that was used and is lost would leave nothing to go on with.
            with anyio.CancelScope(shield=True):
                failed = await refresh_token_store.keep(
                    self._platform.sink, appid, found.refresh_token, self._limiter
                )
            if failed is not None:
                return failed
        self._known.listed[appid] = found.refresh_token
        self._known.replaced_at[appid] = self._clock()
        return IssuedToken(found.grant.token, usable_for(found.grant.expires_in))

    async def _list(self, *, since: float) -> dict[str, Secret] | TokenDenied:
        """The list, of after that moment; one call for all who want it. Raises CallError."""
        async with self._listing:
            if self._known.listed_at >= since and self._known.listed_at > -math.inf:
                return self._known.listed
            asked = self._clock()
            found = await self._pages()
            if isinstance(found, TokenDenied):
                return found
            for appid, at in self._known.replaced_at.items():
                # What was replaced while the list was on its way is newer than the list.
                if at >= asked:
                    found[appid] = self._known.listed[appid]
            self._known.listed, self._known.listed_at = found, asked
            return found

    async def _pages(self) -> dict[str, Secret] | TokenDenied:
        """Page after page, until all that WeChat counts were listed or one brings nobody new."""
        found: dict[str, Secret] = {}
        strangers: dict[str, None] = {}
        offset = 0
        for _ in range(_MOST_PAGES):
            page = await self._page(offset)
            if isinstance(page, TokenDenied):
                return page
            before = len(found) + len(strangers)
            found.update(page.tokens)
            strangers.update(dict.fromkeys(page.non_account_ids))
            # WeChat counts whatever it lists, also what is no account of ours.
            offset += page.items
            if offset == page.total or len(found) + len(strangers) == before:
                break
        self._known.non_account_ids = tuple(strangers)
        return found

    async def _page(self, offset: int) -> Page | TokenDenied:
        def body() -> bytes:
            return list_body(self._platform.appid, offset)

        page = await self._as_platform(lambda own: self._post(LIST_PATH, body, own, page_of))
        return _denied(page) if isinstance(page, Refusal) else page

    async def _post(
        self,
        path: str,
        body: Callable[[], bytes],
        own: Secret,
        read: Callable[[int, bytes], T | Refusal],
    ) -> T | Refusal:
        self._meter.calls += 1
        # The body has no name: it holds secrets, and reporters print variables.
        return read(*await self._transport.post_as_platform(path, body(), own))

    async def _as_platform(self, call: Call[T]) -> T | Refusal | TokenDenied:
        """Make a call with the platform's token; once more if WeChat rejects that one."""
        own = await self._own_token(None)
        if isinstance(own, TokenDenied):
            return own
        found = await call(own)
        if isinstance(found, Refusal) and found.errcode in TOKEN_IS_OVER:
            own = await self._own_token(own)
            if isinstance(own, TokenDenied):
                return own
            found = await call(own)
        return found

    async def _own_token(self, rejected: Secret | None) -> Secret | TokenDenied:
        """The platform's token; another one than the rejected. One question for all who want it."""
        async with self._asking:
            if self._denied is not None:
                return self._denied
            own = self._known.token
            if own is not None and own is not rejected and self._clock() < self._known.renew_at:
                return own
            found = await self._new_own_token()
            if isinstance(found, Grant) and found.token == rejected:
                found = _denied(Refusal(42001, "WeChat rejects the platform's own token", ""))
            if isinstance(found, TokenDenied):
                if found.rule.action is Action.STOP:
                    self._denied = found
                return found
            self._known.token = found.token
            self._known.renew_at = self._clock() + _good_for(found)
            return found.token

    async def _new_own_token(self) -> Grant | TokenDenied:
        if self._platform.token is not None:
            return await self._read_external(self._platform.token, "component_access_token")
        ticket = await self._new_ticket()
        if isinstance(ticket, TokenDenied):
            return ticket
        found = await self._by_ticket(ticket)
        if isinstance(found, Refusal) and found.errcode in TICKET_IS_OVER:
            # A ticket lives for twelve hours, and a newer one may have been pushed since.
            newer = await self._new_ticket()
            if isinstance(newer, TokenDenied):
                return newer
            if newer != ticket:
                found = await self._by_ticket(newer)
        return _denied(found) if isinstance(found, Refusal) else found

    async def _new_ticket(self) -> Secret | TokenDenied:
        """The ticket that is there now."""
        if self._platform.ticket is None:
            raise ValueError("a platform has a ticket, or a token")
        found = await self._read_external(self._platform.ticket, "component_verify_ticket")
        return found if isinstance(found, TokenDenied) else found.token

    async def _by_ticket(self, ticket: Secret) -> Grant | Refusal:
        """The platform's token for its secret and a ticket."""
        secret = self._platform.secret
        if secret is None:
            raise ValueError("a platform with a ticket has a secret")
        self._meter.calls += 1
        return grant_of(
            *await self._transport.post(
                COMPONENT_PATH, component_body(self._platform.appid, secret, ticket)
            ),
            "component_access_token",
        )

    async def _read_external(self, at: access.ExternalSource, member: str) -> Grant | TokenDenied:
        if isinstance(at, access.SecretReader):
            found = await external.read(at)
            return found if isinstance(found, TokenDenied) else Grant(found, 0)
        if isinstance(at, access.Command):
            return await external.printed(at, self._limiter, member)
        return await external.served(at, self._transport, member)


class PlatformToken:
    """An account's way to a token through the platform."""

    def __init__(self, appid: str, given: access.RefreshToken, component: Component) -> None:
        self._appid = appid
        self._given = given
        self._component = component

    async def current(self) -> Outcome:
        """A new token: whoever owns the authorisation refreshes it."""
        return await self._component.refresh(self._appid, self._given)

    async def replace(self, doubt: Rejection) -> Outcome:
        """Another one, once."""
        return await self.current() if doubt.rejections == 1 else token_conflict(doubt)


def _good_for(own: Grant) -> float:
    """A token that was handed over is used until WeChat rejects it, if nobody said how long."""
    return usable_for(own.expires_in) if own.expires_in else math.inf


def _denied(refusal: Refusal) -> TokenDenied:
    return TokenDenied(platform_rule_for(refusal.errcode, refusal.errmsg), refusal)

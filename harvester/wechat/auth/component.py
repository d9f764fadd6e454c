"""Tokens through a third-party platform: its own token, its list, and the refresh of accounts.

Source: WeChat's pages of api_component_token, api_authorizer_token and api_get_authorizer_list,
read 2026-11-24. A refresh may replace the refresh token; the new one is handed to the sink before
the access token that came with it is used, so that the next run can go on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import anyio

from harvester.catalogue.error_codes import platform_rule_for
from harvester.core.calendar import Clock
from harvester.core.config import credentials
from harvester.core.model import Refusal, is_appid
from harvester.core.rule import Action
from harvester.core.secret import Secret
from harvester.wechat.auth import external, provider, refresh_token_store, token_api
from harvester.wechat.auth.provider import IssuedToken, TokenDenied
from harvester.wechat.auth.token_api import Grant
from harvester.wechat.transport import Call, Transport

COMPONENT_PATH = "/cgi-bin/component/api_component_token"
REFRESH_PATH = "/cgi-bin/component/api_authorizer_token"
LIST_PATH = "/cgi-bin/component/api_get_authorizer_list"

TICKET_REJECTED = frozenset({40091, 61005, 61006})
TOKEN_REJECTED = frozenset({40001, 40014, 42001})
REFRESH_TOKEN_REJECTED = frozenset({40030, 42002, 61023})
NOT_AUTHORISED = 61003

_OWN_TOKEN, _TICKET = "component_access_token", "component_verify_ticket"

T = TypeVar("T")

_NOT_LISTED = Refusal(NOT_AUTHORISED, "the platform's list does not have the account", "")
_OWN_TOKEN_REJECTED = Refusal(42001, "WeChat rejects the platform's own token", "")
_MAX_PAGES = 10_000


@dataclass(eq=False)
class Component:
    """The platform itself. All of its accounts share what it learns.

    Its tokens age by ``elapsed`` seconds, and ``calls`` counts the calls.
    """

    platform: credentials.PlatformAccess
    transport: Transport
    elapsed: Clock
    calls: int = field(default=0, init=False)
    _token_lock: anyio.Lock = field(default_factory=anyio.Lock, init=False)
    _list_lock: anyio.Lock = field(default_factory=anyio.Lock, init=False)
    _denied: TokenDenied | None = field(default=None, init=False)

    async def refresh(self, appid: str, credential: credentials.RefreshToken) -> IssuedToken:
        """Return an account's token, with its refresh token stored if WeChat replaced it.

        A refresh token that WeChat rejects is looked up once in the platform's list. Raises
        TokenDenied and CallError.
        """
        asked_at = self.elapsed()
        token = await self._refresh_token(appid, credential)
        answer = await self._exchange_refresh_token(appid, token)
        if isinstance(answer, Refusal) and answer.errcode in REFRESH_TOKEN_REJECTED:
            listed = await self.listed(since=asked_at)
            if listed.get(appid, token) != token:
                answer = await self._exchange_refresh_token(appid, listed[appid])
        return provider.accepted(answer, platform_rule_for)

    async def _refresh_token(self, appid: str, credential: credentials.RefreshToken) -> Secret:
        """Return the newest: of this run or the list, the sink, the manifest, or a new list."""
        if appid in self.platform.known.listed:
            return self.platform.known.listed[appid]
        stored = await refresh_token_store.stored(self.platform.sink, appid)
        if stored is not None:
            return stored
        if credential.source is not None:
            return await external.read_secret(credential.source)
        listed = await self.listed(since=-math.inf)
        return provider.accepted(listed.get(appid) or _NOT_LISTED, platform_rule_for)

    async def _exchange_refresh_token(self, appid: str, token: Secret) -> IssuedToken | Refusal:
        answer = await self._call(
            REFRESH_PATH,
            token_api.refreshed_of,
            authorizer_appid=appid,
            authorizer_refresh_token=token,
        )
        if isinstance(answer, Refusal):
            return answer
        grant, newest = answer
        if newest != token:
            # Shielded, because the old one is spent: without the new one no run could go on.
            with anyio.CancelScope(shield=True):
                await refresh_token_store.store(self.platform.sink, appid, newest)
        self.platform.known.listed[appid] = newest
        return IssuedToken(grant.token, provider.usable_for(grant.expires_in))

    async def listed(self, since: float) -> dict[str, Secret]:
        """Return the refresh tokens of all accounts that authorised the platform, by appid.

        They are as of ``since`` or later; callers that wait for them share one request. Raises
        TokenDenied and CallError.
        """
        known = self.platform.known
        async with self._list_lock:
            if known.listed_at >= since and known.listed_at > -math.inf:
                return known.listed
            asked_at, before = self.elapsed(), dict(known.listed)
            found = await self._request_list()
            # A token that was replaced while the list was on its way is newer than the list.
            newer = {x: token for x, token in known.listed.items() if token is not before.get(x)}
            known.listed, known.listed_at = {**found, **newer}, asked_at
            return known.listed

    async def _request_list(self) -> dict[str, Secret]:
        """Request pages until WeChat's count is reached, or until one has no new entry."""
        found: dict[str, Secret] = {}
        offset = 0
        for _ in range(_MAX_PAGES):
            page = provider.accepted(
                await self._call(
                    LIST_PATH, token_api.page_of, offset=offset, count=token_api.PAGE_SIZE
                ),
                platform_rule_for,
            )
            before = len(found)
            found.update(page.tokens)
            # WeChat's offset counts all that it lists, also entries without a token.
            offset += page.items
            if offset == page.total or len(found) == before:
                break
        # Whatever else may be listed: files and requests are named after an account.
        return {appid: token for appid, token in found.items() if is_appid(appid)}

    async def _call(
        self, path: str, read: Callable[[int, bytes], T | Refusal], **members: object
    ) -> T | Refusal:
        """Make a call with the platform's token; once more if WeChat rejects that token."""
        rejected: Secret | None = None
        while True:
            own = await self.own_token(rejected)
            answer = read(*await self._post(path, own, members))
            is_rejected = isinstance(answer, Refusal) and answer.errcode in TOKEN_REJECTED
            if rejected is not None or not is_rejected:
                return answer
            rejected = own

    def _post(self, path: str, own: Secret | None, members: Mapping[str, object]) -> Call:
        self.calls += 1
        # The body has no name, because it holds secrets and error reporters print variables.
        return self.transport.post_as_platform(
            path, token_api.request_body(component_appid=self.platform.appid, **members), own
        )

    async def own_token(self, rejected: Secret | None) -> Secret:
        """Return the platform's token, and not the rejected one; callers share one request.

        Raises TokenDenied and CallError.
        """
        known = self.platform.known
        async with self._token_lock:
            if self._denied is not None:
                raise TokenDenied(*self._denied.args)
            own = known.token
            # By value, because another process of the run may have met the rejection.
            if own is not None and own != rejected and self.elapsed() < known.renew_at:
                return own
            try:
                grant = await self._request_own_token()
                if grant.token == rejected:
                    raise provider.denied(_OWN_TOKEN_REJECTED, platform_rule_for)
            except TokenDenied as denial:
                if denial.rule.action is Action.STOP:
                    self._denied = denial
                raise
            known.token = grant.token
            # A token without an end is used until WeChat rejects it.
            known.renew_at = self.elapsed() + provider.usable_for(grant.expires_in, math.inf)
            return grant.token

    async def _request_own_token(self) -> Grant:
        if self.platform.token is not None:
            return await external.read(self.platform.token, _OWN_TOKEN, self.transport)
        secret, source = self.platform.secret, self.platform.ticket
        if secret is None or source is None:
            raise ValueError("a platform has a component token, or a secret and a ticket")
        ticket = await external.read(source, _TICKET, self.transport)
        answer = await self._exchange_ticket(secret, ticket.token)
        if isinstance(answer, Refusal) and answer.errcode in TICKET_REJECTED:
            # A ticket lives for twelve hours, and WeChat may have pushed a newer one since.
            newer = await external.read(source, _TICKET, self.transport)
            if newer.token != ticket.token:
                answer = await self._exchange_ticket(secret, newer.token)
        return provider.accepted(answer, platform_rule_for)

    async def _exchange_ticket(self, secret: Secret, ticket: Secret) -> Grant | Refusal:
        asked = {"component_appsecret": secret, _TICKET: ticket}
        answer = await self._post(COMPONENT_PATH, None, asked)
        return token_api.grant_of(*answer, _OWN_TOKEN)

"""Third-party platforms: their tickets, their own tokens, and who authorised them.

A platform trades its secret and the newest ticket for its own token, and with that an account's
refresh token for an access token. Where the rules say so the refresh token is replaced each time,
and the former one is worth nothing at once.

Source: WeChat's pages of ``/cgi-bin/component/…``, read 2026-11-24.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from harvester.sandbox.call_faults import Refused
from harvester.sandbox.calls import text_of
from harvester.sandbox.rules import Rules
from harvester.sandbox.tokens import TokenServer

COMPONENT_TOKEN_PATH = "/cgi-bin/component/api_component_token"
AUTHORIZER_TOKEN_PATH = "/cgi-bin/component/api_authorizer_token"
AUTHORIZER_LIST_PATH = "/cgi-bin/component/api_get_authorizer_list"

TICKET_LIFE = 12 * 3600.0
LONGEST_PAGE = 500


@dataclass(slots=True)
class _Authorisation:
    refresh_token: str
    families: frozenset[str] | None
    since: int


@dataclass(slots=True)
class _Platform:
    secret: str
    ticket: str = ""
    ticket_ends_at: float = 0.0
    accounts: dict[str, _Authorisation] = field(default_factory=dict)


class Platforms:
    """All platforms of one world."""

    def __init__(self, rules: Rules, tokens: TokenServer, clock: Callable[[], float]) -> None:
        self._rules = rules
        self._tokens = tokens
        self._clock = clock
        self._platforms: dict[str, _Platform] = {}
        self._serial = itertools.count(1)

    # What happens outside of the API

    def register(self, appid: str, secret: str) -> None:
        """Register a platform. It gets its first ticket with `push_ticket`."""
        self._platforms[appid] = _Platform(secret)

    def push_ticket(self, appid: str) -> str:
        """The platform's next ticket, which ends the one before and lives for twelve hours."""
        platform = self._platforms[appid]
        platform.ticket = self._make("ticket@@@", appid)
        platform.ticket_ends_at = self._clock() + TICKET_LIFE
        return platform.ticket

    def authorise(self, appid: str, account: str, families: Iterable[str] | None = None) -> str:
        """An account authorises a platform for datasets of these families, or of all.

        Returns its refresh token. Done again, the former refresh token ends.
        """
        token = self._make("refreshtoken@@@", account)
        granted = None if families is None else frozenset(families)
        given = _Authorisation(token, granted, int(self._clock()))
        self._platforms[appid].accounts[account] = given
        return token

    def revoke_authorisation(self, appid: str, account: str) -> None:
        """An account takes its authorisation back."""
        del self._platforms[appid].accounts[account]

    def refresh_token(self, appid: str, account: str) -> str:
        """The refresh token that is good now."""
        return self._platforms[appid].accounts[account].refresh_token

    def own_token(self, appid: str) -> str:
        """A token of the platform itself, as the live platform would hand it out."""
        return self._tokens.for_platform(appid, self._clock()).text

    def check_authorised(self, appid: str, account: str, family: str) -> None:
        """Raise Refused 61003 without an authorisation, 61007 without one for the family."""
        families = self._of(self._platforms[appid], account).families
        if families is not None and family not in families:
            raise Refused(61007)

    # What clients ask. Each raises Refused.

    def component_token(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """The platform's own token, for its secret and the newest ticket."""
        appid, platform = self._platform(asked)
        if text_of(asked, "component_appsecret", 41004) != platform.secret:
            raise Refused(40125)
        if text_of(asked, "component_verify_ticket", 61006) != platform.ticket:
            raise Refused(61006)
        now = self._clock()
        if now >= platform.ticket_ends_at:
            raise Refused(61005)
        token = self._tokens.for_platform(appid, now)
        return {"component_access_token": token.text, "expires_in": token.left(now)}

    def authorizer_token(self, asked: Mapping[str, Any], own: str) -> dict[str, Any]:
        """An account's token, for its refresh token."""
        appid, platform = self._caller(asked, own)
        account = text_of(asked, "authorizer_appid", 41002)
        given = self._of(platform, account)
        if text_of(asked, "authorizer_refresh_token", 61023) != given.refresh_token:
            raise Refused(61023)
        now = self._clock()
        if self._rules.rotate_refresh_tokens:
            given.refresh_token = self._make("refreshtoken@@@", account)
        token = self._tokens.through(appid, account, now)
        return {
            "authorizer_access_token": token.text,
            "expires_in": token.left(now),
            "authorizer_refresh_token": given.refresh_token,
        }

    def authorizer_list(self, asked: Mapping[str, Any], own: str) -> dict[str, Any]:
        """A page of those who authorised the platform, in the order in which they did."""
        _, platform = self._caller(asked, own)
        offset, count = asked.get("offset"), asked.get("count")
        if not isinstance(offset, int) or not isinstance(count, int) or offset < 0 or count < 1:
            raise Refused(47001)
        page = itertools.islice(
            platform.accounts.items(), offset, offset + min(count, LONGEST_PAGE)
        )
        return {
            "total_count": len(platform.accounts),
            "list": [
                {
                    "authorizer_appid": account,
                    "refresh_token": given.refresh_token,
                    "auth_time": given.since,
                }
                for account, given in page
            ],
        }

    def _caller(self, asked: Mapping[str, Any], own: str) -> tuple[str, _Platform]:
        """Who asks: the platform that the token speaks for must be the one that is named."""
        appid, platform = self._platform(asked)
        if not own:
            raise Refused(41001)
        if self._tokens.holder(own, self._clock()) != appid:
            raise Refused(61014)
        return appid, platform

    def _platform(self, asked: Mapping[str, Any]) -> tuple[str, _Platform]:
        appid = text_of(asked, "component_appid", 41002)
        if appid not in self._platforms:
            raise Refused(61011)
        return appid, self._platforms[appid]

    def _of(self, platform: _Platform, account: str) -> _Authorisation:
        if account not in platform.accounts:
            raise Refused(61003)
        return platform.accounts[account]

    def _make(self, kind: str, appid: str) -> str:
        digest = hashlib.shake_256(f"{kind} {appid} {next(self._serial)}".encode()).hexdigest(22)
        return f"{kind}{digest}{self._rules.token_tail}"

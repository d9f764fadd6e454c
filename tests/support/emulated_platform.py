"""Third-party platforms of the emulator: tickets, own tokens, and authorised accounts.

A platform exchanges its secret and its newest ticket for its own token. With that token it
exchanges an account's refresh token for an access token. Each exchange also replaces the refresh
token, and the former one stops working at once.

Source: WeChat's pages of ``/cgi-bin/component/…``, read 2026-11-24.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from harvester.core.calendar import Clock
from harvester.sandbox.call_faults import Refused
from harvester.sandbox.calls import text_of
from harvester.sandbox.data.account import digest
from harvester.sandbox.rules import Rules
from harvester.sandbox.tokens import OVERLAP, Token, TokenServer

COMPONENT_TOKEN_PATH = "/cgi-bin/component/api_component_token"
AUTHORIZER_TOKEN_PATH = "/cgi-bin/component/api_authorizer_token"
AUTHORIZER_LIST_PATH = "/cgi-bin/component/api_get_authorizer_list"

TICKET_LIFE = 12 * 3600.0
"""Seconds for which a ticket works."""

LONGEST_PAGE = 500
"""Accounts in one page of the list at most."""

MESSAGES = {
    42007: "access_token and refresh_token exception",
    61003: "component is not authorized by this account",
    61004: "access clientip is not registered",
    61005: "component ticket is expired",
    61006: "component ticket is invalid",
    61007: "api is unauthorized to component",
    61011: "invalid component",
    61014: "must use component token for component api",
    61023: "refresh_token is invalid",
}
"""WeChat's words for the errors of a platform."""

Endpoint: TypeAlias = Callable[[Mapping[str, Any], str], dict[str, Any]]
"""A function from a request's JSON object and the platform's own token to the answer."""


@dataclass(slots=True)
class _Platform:
    """A platform, and by appid the accounts that authorised it, as the list has them.

    ``newest`` are its tokens of accounts, and ``issued`` the texts of all that it was given.
    """

    secret: str
    ticket: str = ""
    ticket_ends_at: float = 0.0
    accounts: dict[str, dict[str, Any]] = field(default_factory=dict)
    newest: dict[str, Token] = field(default_factory=dict)
    issued: set[str] = field(default_factory=set)


class Platforms:
    """All platforms of one emulator.

    ``endpoints`` has, by path, the member that names the subject of a call, and the function that
    answers it.
    """

    def __init__(self, rules: Rules, tokens: TokenServer, clock: Clock) -> None:
        self._rules = rules
        self._tokens = tokens
        self._clock = clock
        self._platforms: dict[str, _Platform] = {}
        self._serial = itertools.count(1)
        self.endpoints: dict[str, tuple[str, Endpoint]] = {
            COMPONENT_TOKEN_PATH: ("component_appid", self.component_token),
            AUTHORIZER_TOKEN_PATH: ("authorizer_appid", self.authorizer_token),
            AUTHORIZER_LIST_PATH: ("component_appid", self.authorizer_list),
        }

    # Set-up, which has no endpoint

    def register(self, appid: str, secret: str) -> None:
        """Register a platform. `push_ticket` makes its first ticket."""
        self._platforms[appid] = _Platform(secret)

    def push_ticket(self, appid: str) -> str:
        """Return the platform's next ticket; the former ticket ends."""
        platform = self._platforms[appid]
        platform.ticket = self._random_text("ticket@@@", appid)
        platform.ticket_ends_at = self._clock() + TICKET_LIFE
        return platform.ticket

    def authorise(self, appid: str, account: str) -> str:
        """Authorise a platform for an account, and return the refresh token.

        A repeated authorisation ends the former refresh token.
        """
        token = self._random_text("refreshtoken@@@", account)
        since = int(self._clock())
        given = {"authorizer_appid": account, "refresh_token": token, "auth_time": since}
        self._platforms[appid].accounts[account] = given
        return token

    def check_authorised(self, token: Token) -> None:
        """Raise Refused 61003 for a platform's token of an account that ended its authorisation."""
        for platform in self._platforms.values():
            if token.text in platform.issued:
                self._authorisation(platform, token.appid)

    # Endpoints; each raises Refused

    def component_token(self, asked: Mapping[str, Any], _own: str) -> dict[str, Any]:
        """Return the platform's own token, in exchange for its secret and its newest ticket."""
        appid, platform = self._named_platform(asked)
        if text_of(asked, "component_appsecret", 41004) != platform.secret:
            raise Refused(40125)
        if text_of(asked, "component_verify_ticket", 61006) != platform.ticket:
            raise Refused(61006)
        now = self._clock()
        if now >= platform.ticket_ends_at:
            raise Refused(61005)
        token = self._tokens.plain(appid, now)
        return {"component_access_token": token.text, "expires_in": token.left(now)}

    def authorizer_token(self, asked: Mapping[str, Any], own: str) -> dict[str, Any]:
        """Return an account's access token for its refresh token."""
        _, platform = self._calling_platform(asked, own)
        account = text_of(asked, "authorizer_appid", 41002)
        given = self._authorisation(platform, account)
        if text_of(asked, "authorizer_refresh_token", 61023) != given["refresh_token"]:
            raise Refused(61023)
        now = self._clock()
        given["refresh_token"] = self._random_text("refreshtoken@@@", account)
        # It replaces no token of another platform and none of the account itself.
        if former := platform.newest.get(account):
            former.ends_at = min(former.ends_at, now + OVERLAP)
        token = platform.newest[account] = self._tokens.issue(account, now)
        platform.issued.add(token.text)
        return {
            "authorizer_access_token": token.text,
            "expires_in": token.left(now),
            "authorizer_refresh_token": given["refresh_token"],
        }

    def authorizer_list(self, asked: Mapping[str, Any], own: str) -> dict[str, Any]:
        """Return a page of the authorised accounts, in the order of their authorisation."""
        _, platform = self._calling_platform(asked, own)
        offset, count = asked.get("offset"), asked.get("count")
        if not isinstance(offset, int) or not isinstance(count, int) or offset < 0 or count < 1:
            raise Refused(47001)
        end = offset + min(count, LONGEST_PAGE)
        return {
            "total_count": len(platform.accounts),
            "list": [*itertools.islice(platform.accounts.values(), offset, end)],
        }

    def _calling_platform(self, asked: Mapping[str, Any], own: str) -> tuple[str, _Platform]:
        """Return the platform of a request, whose own token must belong to the appid it names."""
        appid, platform = self._named_platform(asked)
        if not own:
            raise Refused(41001)
        if self._tokens.find(own, self._clock()).appid != appid:
            raise Refused(61014)
        return appid, platform

    def _named_platform(self, asked: Mapping[str, Any]) -> tuple[str, _Platform]:
        appid = text_of(asked, "component_appid", 41002)
        if appid not in self._platforms:
            raise Refused(61011)
        return appid, self._platforms[appid]

    def _authorisation(self, platform: _Platform, account: str) -> dict[str, Any]:
        if account not in platform.accounts:
            raise Refused(61003)
        return platform.accounts[account]

    def _random_text(self, kind: str, appid: str) -> str:
        text = digest(f"{kind} {appid} {next(self._serial)}", 22).hex()
        return f"{kind}{text}{self._rules.token_tail}"

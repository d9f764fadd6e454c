"""The token office: who holds which token, and since when it is worth nothing.

Two kinds live side by side and do not touch each other: stable ones, handed out again and again
while they last, and plain ones, each of which ends the one before.

Source: WeChat's pages of ``/cgi-bin/token`` and ``/cgi-bin/stable_token``, read 2026-11-24.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections import deque
from dataclasses import dataclass, field
from math import inf

from harvester.core.calendar import Day, today
from harvester.sandbox.call_faults import Refused
from harvester.sandbox.rules import Rules

OVERLAP = 300.0
"""Seconds for which a token and its successor both work."""

FORCED_A_DAY = 20
FORCED_APART = 30.0

_APPID = re.compile(r"wx[0-9a-f]{16}")
_REMEMBERED = 16


@dataclass(slots=True)
class Token:
    """A token of one account, or of a platform. It expires by its age, or ends when replaced.

    ``platform`` is the one that it was got through.
    """

    text: str
    appid: str
    life: float
    expires_at: float
    ends_at: float = inf
    platform: str = ""

    def left(self, now: float) -> int:
        """Whole seconds until it expires."""
        return int(self.expires_at - now)


@dataclass(slots=True)
class _Account:
    secret: str | None = None
    stable: Token | None = None
    plain: Token | None = None
    delegated: Token | None = None
    forced_at: float = -inf
    forced_on: Day = 0
    forced: int = 0
    issued: deque[str] = field(default_factory=deque)


class TokenServer:
    """Issues tokens and tells whose they are. Times are seconds since the Unix epoch."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._accounts: dict[str, _Account] = {}
        self._tokens: dict[str, Token] = {}
        self._serial = itertools.count(1)

    def check_secret(self, appid: str, secret: str | None = None) -> None:
        """Check an account's secret. The first one shown becomes the secret: no list is needed.

        Without one the account is opened unchecked. Raises Refused 40013 for what cannot be an
        appid, 40125 for another secret than the first.
        """
        if not _APPID.fullmatch(appid):
            raise Refused(40013)
        account = self._accounts.setdefault(appid, _Account())
        if account.secret is None:
            account.secret = secret
        elif secret is not None and secret != account.secret:
            raise Refused(40125)

    def stable(self, appid: str, now: float) -> Token:
        """The account's stable token, renewed OVERLAP seconds before it expires.

        Tokens of less than twice that life are renewed half-way.
        """
        account = self._accounts[appid]
        overlap = min(OVERLAP, self._rules.token_life / 2)
        token = account.stable
        if token is None or now >= min(token.expires_at - overlap, token.ends_at):
            token = account.stable = self._issue(account, appid, now)
        return token

    def force(self, appid: str, now: float) -> Token:
        """A new stable token; the former one ends at once.

        Less than 30 s after the last time, the token stays what it is. Raises Refused 45009 at the
        21st time of a Beijing day.
        """
        account = self._accounts[appid]
        if now - account.forced_at < FORCED_APART:
            return self.stable(appid, now)
        if account.forced_on != today(now):
            account.forced_on, account.forced = today(now), 0
        if account.forced == FORCED_A_DAY:
            raise Refused(45009)
        account.forced += 1
        account.forced_at = now
        self.revoke(appid, now)
        return self.stable(appid, now)

    def plain(self, appid: str, now: float) -> Token:
        """A new plain token; the former one works for OVERLAP more seconds."""
        account = self._accounts[appid]
        if account.plain is not None:
            account.plain.ends_at = min(account.plain.ends_at, now + OVERLAP)
        account.plain = self._issue(account, appid, now)
        return account.plain

    def for_platform(self, appid: str, now: float) -> Token:
        """A new token of a platform itself; the former one works for OVERLAP more seconds."""
        self._accounts.setdefault(appid, _Account())
        return self.plain(appid, now)

    def through(self, platform: str, appid: str, now: float) -> Token:
        """A new token of an account through a platform; the former one works for a while, too.

        It touches neither of the account's own tokens.
        """
        account = self._accounts.setdefault(appid, _Account())
        if account.delegated is not None:
            account.delegated.ends_at = min(account.delegated.ends_at, now + OVERLAP)
        account.delegated = self._issue(account, appid, now)
        account.delegated.platform = platform
        return account.delegated

    def revoke(self, appid: str, now: float) -> None:
        """End the account's stable token, as a forced refresh by another service does."""
        account = self._accounts.get(appid)
        if account is not None and account.stable is not None:
            account.stable.ends_at = min(account.stable.ends_at, now)

    def holder(self, text: str, now: float) -> str:
        """The appid a token speaks for. Raises Refused as `find`."""
        return self.find(text, now).appid

    def find(self, text: str, now: float) -> Token:
        """The token of a text.

        Raises Refused 42001 for a token that expired, 40001 for one that ended early or never was.
        """
        token = self._tokens.get(text)
        if token is None or token.ends_at <= min(now, token.expires_at):
            raise Refused(40001)
        if token.expires_at <= now:
            raise Refused(42001)
        return token

    def _issue(self, account: _Account, appid: str, now: float) -> Token:
        digest = hashlib.shake_256(f"{appid} {next(self._serial)}".encode()).hexdigest(66)
        text = f"97_{digest}{self._rules.token_tail}"
        life = self._rules.token_life
        token = self._tokens[text] = Token(text, appid, life, now + life)
        account.issued.append(text)
        if len(account.issued) > _REMEMBERED:
            del self._tokens[account.issued.popleft()]
        return token

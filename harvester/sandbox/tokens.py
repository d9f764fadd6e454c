"""The token server: issues access tokens, and finds the account of a token.

An account has two kinds of token that do not affect each other. A stable token is returned again
while it is valid. A plain token ends the plain token before it.

Source: WeChat's pages of ``/cgi-bin/token`` and ``/cgi-bin/stable_token``, read 2026-11-24.
"""

from __future__ import annotations

import itertools
import re
from collections import defaultdict, deque
from dataclasses import dataclass, field
from math import inf

from harvester.core.calendar import today
from harvester.sandbox.call_faults import Refused
from harvester.sandbox.data.account import digest
from harvester.sandbox.limits import PeriodCounter

OVERLAP = 300.0
"""Seconds for which a token and its successor both work."""

FORCED_A_DAY = 20
"""Maximum forced refreshes of an account's stable token per Beijing day."""

FORCED_APART = 30.0
"""Seconds after a forced refresh in which another one changes nothing."""

_APPID = re.compile(r"wx[0-9a-f]{16}")

_REMEMBERED = 16
"""Tokens kept for each account, so that a long run does not fill the memory."""


@dataclass(slots=True)
class Token:
    """An access token.

    It expires at ``expires_at``, and ends earlier, at ``ends_at``, if it is replaced.
    """

    text: str
    appid: str
    expires_at: float
    ends_at: float = inf

    def left(self, now: float) -> int:
        """Return the whole seconds until it expires."""
        return int(self.expires_at - now)


@dataclass(slots=True)
class _Account:
    """An account's newest tokens."""

    stable: Token | None = None
    plain: Token | None = None
    forced_at: float = -inf
    issued: deque[str] = field(default_factory=deque)


class TokenServer:
    """Issues and looks up tokens. Times are seconds since the Unix epoch.

    ``life`` is the lifetime of a token in seconds, ``tail`` the end of the text of each token.
    """

    def __init__(self, life: float, tail: str = "") -> None:
        self.life = life
        self._tail = tail
        self._secrets: dict[str, str] = {}
        self._accounts = defaultdict[str, _Account](_Account)
        self._forced = PeriodCounter(FORCED_A_DAY)
        self._tokens: dict[str, Token] = {}
        self._serial = itertools.count(1)

    def check_secret(self, appid: str, secret: str) -> None:
        """Check an account's secret; the first secret shown becomes the account's secret.

        Raises Refused 40013 for an invalid appid, 40125 for a wrong secret.
        """
        if not _APPID.fullmatch(appid):
            raise Refused(40013)
        if self._secrets.setdefault(appid, secret) != secret:
            raise Refused(40125)

    def stable(self, appid: str, now: float) -> Token:
        """Return the account's stable token, renewed OVERLAP seconds before it expires.

        A token that lives less than twice that long is renewed at half of its life.
        """
        account = self._accounts[appid]
        overlap = min(OVERLAP, self.life / 2)
        token = account.stable
        if token is None or now >= min(token.expires_at - overlap, token.ends_at):
            token = account.stable = self.issue(appid, now)
        return token

    def force(self, appid: str, now: float) -> Token:
        """Return a new stable token; the former one ends at once.

        Within FORCED_APART seconds of the last forced refresh the token stays the same. Raises
        Refused 45009 after FORCED_A_DAY forced refreshes in a Beijing day.
        """
        account = self._accounts[appid]
        if now - account.forced_at >= FORCED_APART:
            if self._forced.is_full(appid, today(now)):
                raise Refused(45009)
            self._forced.add(appid, today(now))
            account.forced_at = now
            self.revoke(appid, now)
        return self.stable(appid, now)

    def plain(self, appid: str, now: float) -> Token:
        """Return a new plain token; the former one works for OVERLAP more seconds."""
        account = self._accounts[appid]
        if account.plain:
            account.plain.ends_at = min(account.plain.ends_at, now + OVERLAP)
        account.plain = self.issue(appid, now)
        return account.plain

    def revoke(self, appid: str, now: float) -> None:
        """End the account's stable token, as another client's forced refresh does."""
        if token := self._accounts[appid].stable:
            token.ends_at = min(token.ends_at, now)

    def find(self, text: str, now: float) -> Token:
        """Return the valid token with this text.

        Raises Refused 42001 for an expired token, 40001 for a replaced or unknown one.
        """
        token = self._tokens.get(text)
        # WeChat tells a replaced token from an expired one, even after both have happened.
        if token is None or token.ends_at <= min(now, token.expires_at):
            raise Refused(40001)
        if token.expires_at <= now:
            raise Refused(42001)
        return token

    def issue(self, appid: str, now: float) -> Token:
        """Return a new token that replaces none."""
        text = f"97_{digest(f'{appid} {next(self._serial)}', 66).hex()}{self._tail}"
        token = self._tokens[text] = Token(text, appid, now + self.life)
        issued = self._accounts[appid].issued
        issued.append(text)
        if len(issued) > _REMEMBERED:
            del self._tokens[issued.popleft()]
        return token

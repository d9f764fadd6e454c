"""What asking for a token leads to, and what every way to one has in common."""

from __future__ import annotations

from typing import NamedTuple, Protocol, TypeAlias

from harvester.catalogue.error_codes import Action, Rule, Scope, token_rule_for
from harvester.core.model import Refusal
from harvester.core.secret import Secret

RENEW_AHEAD = 300.0
"""Seconds before its end at which a token is renewed: from then on WeChat has a new one ready."""

_UNKNOWN_LIFE = 60.0

TOKEN_CONFLICT = Rule(
    Action.STOP,
    Scope.ACCOUNT,
    "WeChat rejected the token and the one fetched since",
    "Find out who else gets tokens for this account: every service must use stable_token in "
    "normal mode, or one token server for all.",
)
_NO_TOKEN = Rule(
    Action.STOP,
    Scope.ACCOUNT,
    "no token was handed over",
    "See to the variable, file, command or server that the account's credential names.",
)


class IssuedToken(NamedTuple):
    """A token, and for how many seconds from the question it may be used unasked."""

    token: Secret
    seconds: float


class TokenDenied(NamedTuple):
    """There is no token: the rule that applies, and why. ``str`` of ``why`` is safe to print."""

    rule: Rule
    why: Refusal | str


Outcome: TypeAlias = IssuedToken | TokenDenied


class Rejection(NamedTuple):
    """A token that WeChat rejected, with which code.

    ``times`` counts the tokens rejected in a row, this one included, none of which ever worked but
    perhaps the first.
    """

    rejected: Secret
    rejections: int
    errcode: int


class TokenProvider(Protocol):
    """One account's way to a token. Both raise CallError if a call came to nothing."""

    async def current(self) -> Outcome:
        """A token now."""
        ...

    async def replace(self, doubt: Rejection) -> Outcome:
        """Another token in the place of one that WeChat rejected."""
        ...


class Meter:
    """Counts the calls that were made for tokens."""

    def __init__(self) -> None:
        self.calls = 0


def usable_for(expires_in: int) -> float:
    """How long a token is used that lives so many seconds; 0 stands for nobody knows."""
    life = expires_in or _UNKNOWN_LIFE
    return max(life - RENEW_AHEAD, life / 2)


def denied(refusal: Refusal) -> TokenDenied:
    """What WeChat's no to a question for a token leads to."""
    return TokenDenied(token_rule_for(refusal.errcode, refusal.errmsg), refusal)


def token_conflict(doubt: Rejection) -> TokenDenied:
    """Nothing is left to try: somebody else ends this account's tokens, or WeChat means it."""
    return TokenDenied(
        TOKEN_CONFLICT, Refusal(doubt.errcode, "WeChat rejects the account's tokens", "")
    )


def not_handed(why: str) -> TokenDenied:
    """Whoever keeps the token gave none."""
    return TokenDenied(_NO_TOKEN, why)

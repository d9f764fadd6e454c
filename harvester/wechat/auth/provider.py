"""Results of token providers, and the errors that they raise."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias, TypeVar

from harvester.catalogue.error_codes import token_rule_for
from harvester.core.model import Refusal
from harvester.core.rule import Action, Rule, Scope
from harvester.core.secret import Secret

T = TypeVar("T")
RuleLookup: TypeAlias = Callable[[int, str], Rule]
"""Function from an errcode and its message to the rule that applies."""

RENEW_AHEAD = 300.0
"""Seconds before its end at which a token is renewed: from then on WeChat has a new one ready."""

UNKNOWN_LIFE_SECONDS = 30.0
"""Seconds for which WeChat's token is used if WeChat does not say how long it lives."""

TOKEN_CONFLICT = Rule(
    Action.STOP,
    Scope.ACCOUNT,
    "WeChat rejected the token and the one fetched since",
    "Find out which other service gets tokens for this account: every service must use "
    "stable_token in normal mode, or one token server for all.",
)
NOT_PROVIDED = Rule(
    Action.STOP,
    Scope.ACCOUNT,
    "no token came from the account's credential",
    "Check the variable, file, command or server that the account's credential names.",
)


class TokenDenied(Exception):
    """No token for the account: ``rule`` is what applies, ``why`` the reason, safe to print."""

    def __init__(self, rule: Rule, why: Refusal | str) -> None:
        super().__init__(rule, why)
        self.rule = rule
        self.why = why

    def __str__(self) -> str:
        return str(self.why)


class IssuedToken(NamedTuple):
    """A token, and the seconds from the request for which it is used without asking again."""

    token: Secret
    seconds: float


class Rejection(NamedTuple):
    """A token that WeChat rejected, and the errcode of the rejection.

    ``rejections`` counts the tokens in a row that were rejected and never worked, this one
    included. It is 0 for a token with which a call succeeded.
    """

    token: Secret
    rejections: int
    errcode: int


def usable_for(expires_in: int, unknown: float = UNKNOWN_LIFE_SECONDS) -> float:
    """Return for how many seconds to use a token that lives ``expires_in`` seconds.

    Returns ``unknown`` if ``expires_in`` is 0, because the issuer did not say how long it lives.
    """
    # Of a short life half is used, because to renew it ahead would mean at each call.
    return max(expires_in - RENEW_AHEAD, expires_in / 2) if expires_in else unknown


def accepted(answer: T | Refusal, rule_for: RuleLookup = token_rule_for) -> T:
    """Return the answer to a request for a token. Raises TokenDenied if WeChat refused it."""
    if isinstance(answer, Refusal):
        raise denied(answer, rule_for)
    return answer


def denied(refusal: Refusal, rule_for: RuleLookup = token_rule_for) -> TokenDenied:
    """Return the error for a refusal of WeChat's, with the rule that applies to it."""
    return TokenDenied(rule_for(refusal.errcode, refusal.errmsg), refusal)


def token_conflict(rejection: Rejection) -> TokenDenied:
    """Return the error for tokens that another client ends as fast as they are issued."""
    why = Refusal(rejection.errcode, "WeChat rejects the account's tokens", "")
    return TokenDenied(TOKEN_CONFLICT, why)

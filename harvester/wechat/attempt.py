"""One attempt at one window: a token, a call, a verdict.

Whether there is another attempt is not decided here.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple, TypeAlias

from harvester.catalogue.error_codes import Action, Rule, Scope, rule_for
from harvester.core.dataset import Dataset
from harvester.core.errors import BadTls, CallError, ConnectionFailed, Malformed, Unreachable
from harvester.core.model import Refusal, Window
from harvester.core.redaction import redacted_bytes
from harvester.wechat.auth.token_cache import TokenCache, TokenRefused
from harvester.wechat.protocol import refusal_of, window_body
from harvester.wechat.transport import Transport

RefusalReason: TypeAlias = Refusal | str
"""WeChat's refusal, or what the network did. Its ``str`` is safe to print."""

_NO_ANSWER = Rule(
    Action.RETRY,
    Scope.WINDOW,
    "no usable answer came",
    "See whether WeChat is reachable from here, then run again.",
)
_CUT_OFF = replace(_NO_ANSWER, action=Action.RETRY_NOW, meaning="the connection failed")
_UNREACHED = replace(_NO_ANSWER, action=Action.HOST_DOWN, meaning="WeChat was not reached")
_BAD_TLS = Rule(
    Action.STOP,
    Scope.RUN,
    "the server's certificate was not accepted",
    "Set api.ca_file if a proxy of your own signs the traffic; it cannot be switched off.",
)


_OF_A_KNOWN_ACCOUNT = (Action.NOT_READY, Action.SPLIT, Action.SLOW_DOWN, Action.WAIT_FOR_QUOTA)
"""So WeChat refuses an account that it knows by its token: that one was good."""


class RefusedAttempt(NamedTuple):
    """The attempt came to nothing: the rule that applies, and why.

    ``body`` is an answer that nobody can read. If no better one comes it is kept as evidence, so
    it is as it came but for secrets: what is no answer may say anything.
    """

    rule: Rule
    why: RefusalReason
    body: bytes | None = None


async def attempt(
    window: Window, dataset: Dataset, tokens: TokenCache, transport: Transport
) -> bytes | RefusedAttempt:
    """Ask for a window once. Returns the answer's bytes as they came, or why there is none.

    A rejected token is dropped if it is still the current one, so that the next attempt fetches.
    """
    try:
        token = await tokens.current(window.appid)
    except TokenRefused as error:
        return RefusedAttempt(error.rule, error.why)
    except CallError as error:
        return RefusedAttempt(_rule_of(error), f"token: {error}")
    try:
        status, body = await transport.post(dataset.path, window_body(window), token)
    except CallError as error:
        return RefusedAttempt(_rule_of(error), str(error))
    try:
        refusal = refusal_of(status, body)
    except Malformed as error:
        return RefusedAttempt(_NO_ANSWER, str(error), redacted_bytes(body))
    except CallError as error:
        return RefusedAttempt(_NO_ANSWER, str(error))
    if refusal is None:
        tokens.mark_working(window.appid, token)
        return body
    rule = rule_for(refusal.errcode)
    if rule.action is Action.REFRESH_TOKEN:
        tokens.invalidate(window.appid, token, refusal.errcode)
    elif rule.action in _OF_A_KNOWN_ACCOUNT or rule.scope is Scope.ACCOUNT_DATASET:
        tokens.mark_working(window.appid, token)
    return RefusedAttempt(rule, refusal)


def _rule_of(error: CallError) -> Rule:
    if isinstance(error, BadTls):
        return _BAD_TLS
    if isinstance(error, Unreachable):
        return _UNREACHED
    return _CUT_OFF if isinstance(error, ConnectionFailed) else _NO_ANSWER

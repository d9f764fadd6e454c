"""Makes one attempt at one window: a token, a call, and the rule for its outcome.

The scheduler decides whether there is another attempt.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from harvester.catalogue.error_codes import rule_for
from harvester.core import errors
from harvester.core.dataset import Dataset
from harvester.core.model import Refusal, Window
from harvester.core.rule import Action, Rule, Scope
from harvester.core.secret import Secret
from harvester.core.text.redaction import redacted_bytes
from harvester.wechat.auth.provider import NOT_PROVIDED, TokenDenied
from harvester.wechat.auth.token_cache import TokenCache
from harvester.wechat.protocol import answers_another_window, days_body, refusal_of
from harvester.wechat.transport import Transport

_MAX_EMPTY_BYTES = 256
"""An answer without rows is shorter."""

_MAX_DAY_BYTES = 1 << 20
"""Bytes of an answer for each of its days; WeChat's longest have some hundred KiB."""

_EMPTY_LIST = re.compile(rb'"list"\s*:\s*\[\s*\]')

_NO_ANSWER = Rule(
    Action.RETRY,
    Scope.WINDOW,
    "no usable answer came",
    "Check that this machine reaches api.base_url, directly or through api.proxy, then run again.",
)
_SAID_FAILURE = _NO_ANSWER._replace(
    meaning="WeChat answered no row, and said that it failed",
    advice="Nothing is lost: run again later.",
    is_deferred=True,
)
_CUT_OFF = _NO_ANSWER._replace(action=Action.RETRY_NOW, meaning="the connection failed")
_UNREACHED = _NO_ANSWER._replace(action=Action.HOST_DOWN, meaning="WeChat was not reached")
_NO_TOKEN_SERVER = _CUT_OFF._replace(
    meaning="the token server was not reached",
    is_local=True,
    advice="Check that the token server runs and can be reached from here, then run again.",
)
_FOREIGN_PAGE = Rule(
    Action.RETRY,
    Scope.WINDOW,
    "a page came instead of WeChat's JSON",
    "A proxy or a network that wants a sign-in answers: sign in, set api.proxy, or allow"
    " api.base_url there.",
    is_local=True,
)
_BAD_TLS = Rule(
    Action.DEFER,
    Scope.RUN,
    "the server's certificate was not accepted",
    "Set api.ca_file if your own proxy signs the traffic; the check cannot be switched off.",
    is_local=True,
)

_OUTDATED_TLS = _BAD_TLS._replace(
    meaning="the server's certificate is out of date",
    advice="Compare this machine's clock with the time. If it is right, the owner of the server, or"
    " of the proxy that signs the traffic, has to renew the certificate.",
)

_RULES: tuple[tuple[type[errors.CallError], Rule], ...] = (
    (errors.OutdatedTls, _OUTDATED_TLS),
    (errors.BadTls, _BAD_TLS),
    (errors.NotConnected, _UNREACHED._replace(is_local=True)),
    (errors.Unreachable, _UNREACHED),
    (errors.NoTokenServer, _NO_TOKEN_SERVER),
    (errors.ConnectionFailed, _CUT_OFF),
    (errors.ForeignPage, _FOREIGN_PAGE),
    (errors.SaidFailure, _SAID_FAILURE),
    (errors.CallError, _NO_ANSWER),
)
"""The rule of each failure: the first row that fits."""

_OTHER_DAYS = _NO_ANSWER._replace(
    action=Action.RETRY_NOW,
    meaning="every row lies outside the window",
    advice="Look at what stands between this machine and WeChat: a proxy may repeat answers.",
)

_PROVES_TOKEN_VALID = (Action.NOT_READY, Action.SPLIT, Action.SLOW_DOWN, Action.WAIT_FOR_QUOTA)
"""Refusals that WeChat gives only after it has accepted the token."""


@dataclass(frozen=True, slots=True)
class RefusedAttempt:
    """A failed attempt: the rule that applies, and why.

    ``why`` is WeChat's refusal or a network failure in words, safe to print. ``received`` is the
    body as it came, which may repeat a secret. It ``is_evidence``, kept if no better answer comes,
    if it is JSON but neither rows nor a refusal. It ``is_long`` if no more of it was read.
    An attempt ``is_unsent`` if no data call was made, because no token came, and ``is_withheld`` if
    none was asked for, because WeChat gives none.
    """

    rule: Rule
    why: Refusal | str
    received: bytes = field(default=b"", repr=False)
    is_evidence: bool = False
    is_long: bool = False
    is_unsent: bool = False
    is_withheld: bool = False

    @property
    def answer(self) -> bytes:
        """The body with secrets masked."""
        # Only when it is asked for: a run keeps few of the bodies that a storm brings.
        return redacted_bytes(self.received)


async def attempt(
    window: Window, dataset: Dataset, tokens: TokenCache, transport: Transport
) -> bytes | RefusedAttempt:
    """Ask for a window once. Returns the answer's bytes as they came, or why there is none.

    A rejected token is dropped if it is still the current one, so the next attempt gets another.
    """
    try:
        token = await tokens.current(window.appid)
    except (TokenDenied, errors.CallError) as error:
        return _without_token(window, tokens, error)
    try:
        asked = days_body(window.begin, window.end)
        status, body = await transport.post(window.appid, dataset.path, asked, token)
    except errors.CallError as error:
        is_long = isinstance(error, errors.LongAnswer)
        return RefusedAttempt(_rule_of(error), str(error), is_long=is_long)
    try:
        refusal = refusal_of(status, body)
    except errors.Malformed as error:
        # It may be the answer to another request, and then that to this one is still to come.
        transport.pool.close_account(window.appid)
        return RefusedAttempt(_NO_ANSWER, str(error), body, is_evidence=True)
    except errors.BadAnswer as error:
        return RefusedAttempt(_rule_of(error), str(error), body)
    if refusal is not None:
        rule = _rule_after(window, refusal, tokens, token)
        return RefusedAttempt(rule, refusal, body)
    # Judged before the token: an answer to another request proves nothing of this one's.
    if not answers_another_window(window, body):
        tokens.mark_working(window.appid, token)
        return body
    transport.pool.distrust(window.appid)
    return RefusedAttempt(_OTHER_DAYS, _OTHER_DAYS.meaning, body, is_evidence=True)


def _without_token(
    window: Window, tokens: TokenCache, error: TokenDenied | errors.CallError
) -> RefusedAttempt:
    """Return the outcome if no token came; that WeChat answers none is no fault of the window.

    Where another source did not answer, the advice names the account's credential instead of the
    way to WeChat.
    """
    made = error.last if isinstance(error, errors.TokenWithheld) else error
    rule = made.rule if isinstance(made, TokenDenied) else _rule_of(made)
    why = made.why if isinstance(made, TokenDenied) else f"{made} (asked for a token)"
    if rule.advice == _NO_ANSWER.advice and not tokens.providers.asks_wechat(window.appid):
        rule = rule._replace(meaning=NOT_PROVIDED.meaning, advice=NOT_PROVIDED.advice)
    is_passing = rule.action in (Action.RETRY, Action.RETRY_NOW) and not rule.is_local
    if is_passing and tokens.is_withheld(window.appid):
        rule = rule._replace(action=Action.HOST_DOWN, scope=Scope.ACCOUNT)
    return RefusedAttempt(rule, why, is_unsent=True, is_withheld=made is not error)


def _rule_after(window: Window, refusal: Refusal, tokens: TokenCache, token: Secret) -> Rule:
    """Tell the cache what a refusal shows of the token, and return the rule that applies."""
    rule = rule_for(refusal.errcode)
    if rule.action is Action.REFRESH_TOKEN:
        if not tokens.invalidate(window.appid, token, refusal.errcode):
            # Another call has met the end of this token, so the account is not concerned again.
            rule = rule._replace(scope=Scope.WINDOW)
    elif rule.action in _PROVES_TOKEN_VALID or rule.scope is Scope.ACCOUNT_DATASET:
        tokens.mark_working(window.appid, token)
    return rule


def _rule_of(error: Exception) -> Rule:
    return next(rule for kind, rule in _RULES if isinstance(error, kind))


def is_long(window: Window, outcome: bytes | RefusedAttempt) -> bool:
    """Return whether an answer is longer than any of WeChat's for so many days."""
    body = outcome.received if isinstance(outcome, RefusedAttempt) else outcome
    if len(body) <= _MAX_DAY_BYTES:
        return isinstance(outcome, RefusedAttempt) and outcome.is_long
    return len(body) > _MAX_DAY_BYTES * (window.end - window.begin + 1)


def is_empty(body: bytes) -> bool:
    """Return whether the list of an answer is empty."""
    # Nearly all answers are told by their length.
    return len(body) < _MAX_EMPTY_BYTES and _EMPTY_LIST.search(body) is not None

"""The tokens of all accounts: fetched when first needed, renewed in time, shared by every worker.

Where a token comes from is the affair of `harvester.wechat.auth`; here are the manners. One
question an account at a time, for all who wait, asked by a task of its own: nobody who gives up
waiting takes the answer from the others. A token that WeChat rejects is dropped if it is still the
current one, and its source is told how many were rejected in a row, so that it can decide to stop.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import NamedTuple, Self, TypeAlias

import anyio

from harvester.catalogue.error_codes import INTERNAL_ERROR_RULE, Action, Rule, Scope
from harvester.core.errors import CallError
from harvester.core.model import Refusal
from harvester.core.secret import Secret
from harvester.wechat.auth.provider import Outcome, Rejection, TokenDenied, TokenProvider

_NO_TOKEN = replace(INTERNAL_ERROR_RULE, scope=Scope.ACCOUNT)


class TokenRefused(Exception):
    """There is no token to be had for the account. The text is the reason, safe to print."""

    def __init__(self, rule: Rule, why: Refusal | str) -> None:
        super().__init__(str(why))
        self.rule = rule
        self.why = why


_Result: TypeAlias = Secret | TokenDenied | CallError


class _Held(NamedTuple):
    """A token in use. ``rejected`` counts those before it that never worked."""

    token: Secret
    renew_at: float
    rejected: int


class _PendingRequest:
    """A question in progress. The outcome stays None if the run ended first."""

    def __init__(self) -> None:
        self.done = anyio.Event()
        self.outcome: _Result | Exception | None = None


class TokenCache:
    """Knows the current token of each account.

    ``source`` gives an account's way to a token; it is asked once an account. ``clock`` counts
    seconds and never goes back. An async context manager: its end ends the questions in progress.
    """

    def __init__(self, source: Callable[[str], TokenProvider], clock: Callable[[], float]) -> None:
        self._source = source
        self._clock = clock
        self._sources: dict[str, TokenProvider] = {}
        self._held: dict[str, _Held] = {}
        self._doubts: dict[str, Rejection] = {}
        self._denied: dict[str, TokenDenied] = {}
        self._flights: dict[str, _PendingRequest] = {}

    async def __aenter__(self) -> Self:
        self._questions = anyio.create_task_group()
        await self._questions.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        self._questions.cancel_scope.cancel()
        if isinstance(error, Exception):
            # Not the group's affair, which would wrap it.
            kind = error = trace = None
        return await self._questions.__aexit__(kind, error, trace)

    async def current(self, appid: str) -> Secret:
        """The account's token; many may wait for it, and one question is asked for all of them.

        Raises TokenRefused if there is none, and CallError if the question came to nothing. A
        refusal that stands is remembered: such an account costs one call.
        """
        held = self._held.get(appid)
        if held is not None and self._clock() < held.renew_at:
            return held.token
        flight = self._flights.get(appid)
        if flight is None:
            flight = self._flights[appid] = _PendingRequest()
            self._questions.start_soon(self._request, appid, flight)
        await flight.done.wait()
        return _delivered(flight.outcome)

    def mark_working(self, appid: str, token: Secret) -> None:
        """WeChat took a token: that it, or an equal one, was rejected before means little.

        It is still replaced, but not as one of several that never worked.
        """
        held = self._held.get(appid)
        if held is not None and held.rejected and held.token == token:
            self._held[appid] = held._replace(rejected=0)
        if self._doubts:
            doubt = self._doubts.get(appid)
            if doubt is not None and doubt.rejected == token:
                self._doubts[appid] = doubt._replace(rejections=1)

    def invalidate(self, appid: str, token: Secret, errcode: int) -> bool:
        """Drop a token that WeChat no longer accepts, unless it was replaced in the meantime.

        The very token that ``current`` returned is meant: WeChat may hand out an equal one again,
        and a late complaint about the first says nothing about the second.
        """
        held = self._held.get(appid)
        if held is None or held.token is not token:
            return False
        del self._held[appid]
        self._doubts[appid] = Rejection(token, held.rejected + 1, errcode)
        return True

    async def _request(self, appid: str, flight: _PendingRequest) -> None:
        try:
            flight.outcome = await self._obtain(appid)
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait tell it
            flight.outcome = error
            # Not asked again: the question may have been a call, and each window would repeat it.
            why = f"a bug in harvester: {type(error).__name__}"
            self._denied[appid] = TokenDenied(_NO_TOKEN, why)
        finally:
            del self._flights[appid]
            flight.done.set()

    async def _obtain(self, appid: str) -> _Result:
        if appid in self._denied:
            return self._denied[appid]
        doubt = self._doubts.get(appid)
        asked = self._clock()
        try:
            outcome = await self._ask(appid, doubt)
        except CallError as error:
            return error
        if isinstance(outcome, TokenDenied):
            if outcome.rule.action is Action.STOP:
                self._denied[appid] = outcome
            return outcome
        # Its life counts from the question: the answer may have been long on its way.
        rejected = doubt.rejections if doubt else 0
        self._held[appid] = _Held(outcome.token, asked + outcome.seconds, rejected)
        self._doubts.pop(appid, None)
        return outcome.token

    async def _ask(self, appid: str, doubt: Rejection | None) -> Outcome:
        source = self._sources.get(appid)
        if source is None:
            source = self._sources[appid] = self._source(appid)
        return await (source.current() if doubt is None else source.replace(doubt))


def _delivered(outcome: _Result | Exception | None) -> Secret:
    """The token, or an error made anew: each waiter's traceback is its own, without bodies."""
    if isinstance(outcome, Secret):
        return outcome
    if isinstance(outcome, TokenDenied):
        raise TokenRefused(outcome.rule, outcome.why)
    if outcome is None:
        raise CallError("the run ended before there was a token")
    if isinstance(outcome, CallError):
        raise type(outcome)(*outcome.args)
    raise outcome

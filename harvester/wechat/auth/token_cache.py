"""Caches one access token per account; providers (`harvester.wechat.auth`) obtain the tokens.

A token is requested when it is first needed, renewed before its end, and shared by all workers.
Per account there is one request at a time, in a task of its own: a worker that is cancelled while
it waits does not take the answer from the others. A token that WeChat rejects is dropped if it is
still the current one, and its provider is told how many in a row were rejected and never worked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple, Self, TypeVar

import anyio

from harvester.catalogue.error_codes import INTERNAL_ERROR_RULE
from harvester.core.calendar import Clock
from harvester.core.errors import CallError, TokenWithheld
from harvester.core.rule import Action, Scope
from harvester.core.secret import Secret
from harvester.wechat.auth.provider import IssuedToken, Rejection, TokenDenied
from harvester.wechat.auth.token_owners import TokenOwners
from harvester.wechat.auth.token_providers import TokenProviders

_INTERNAL_ERROR = INTERNAL_ERROR_RULE._replace(scope=Scope.ACCOUNT)


_Error = TypeVar("_Error", bound=CallError | TokenDenied)


_FAILURES_TO_WITHHOLD = 5
PROBE_SECONDS = 30.0
"""Seconds between two requests to WeChat for a token after so many in a row without an answer."""

AHEAD_AT_ONCE = 8
"""Tokens that are requested at the same time before the first data call."""


class _CachedToken(NamedTuple):
    """A token in use, until when, and whether a call has succeeded with it."""

    token: Secret
    renew_at: float
    works: bool = False


class _PendingRequest:
    """A request in progress. The outcome stays as it is at first if the run ends before it."""

    def __init__(self) -> None:
        self.done = anyio.Event()
        self.outcome: Secret | Exception = CallError("the run ended before a token was obtained")


class TokenCache:
    """Holds the current token of each account.

    ``clock`` returns seconds and never goes back. Each token is entered with ``owners`` before it
    is used. An async context manager: leaving it cancels pending requests.
    """

    def __init__(
        self, providers: TokenProviders, clock: Clock, owners: TokenOwners | None = None
    ) -> None:
        self.owners = owners or TokenOwners()
        self.providers = providers
        self._clock = clock
        self._cached: dict[str, _CachedToken] = {}
        self._rejected: dict[str, Rejection] = {}
        self._useless: dict[str, tuple[Secret, ...]] = {}
        self._denied: dict[str, TokenDenied] = {}
        self._denials: Counter[str] = Counter()
        self._pending: dict[str, _PendingRequest] = {}
        self._failed_ahead: dict[str, _PendingRequest] = {}
        self._unanswered: Counter[str] = Counter()
        self._last_failure: CallError | TokenDenied = CallError()
        self._probe_at = 0.0

    async def __aenter__(self) -> Self:
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        return self

    async def __aexit__(self, *raised: object) -> bool | None:
        self._tasks.cancel_scope.cancel()
        # An error is not passed on, because the group would wrap it.
        is_error = isinstance(raised[1], Exception)
        passed: Any = (None, None, None) if is_error else raised
        # Of a group that ends requests on their way the answer is to suppress the error too.
        return await self._tasks.__aexit__(*passed) and not is_error

    async def current(self, appid: str) -> Secret:
        """Return the account's token. All callers that wait for it share one request.

        Raises TokenDenied if there is none, and CallError if the request failed. A denial that
        stands is remembered, so such an account costs one call.
        """
        self._refuse_shared(appid)
        cached = self._cached.get(appid)
        if cached is not None and self._clock() < cached.renew_at:
            return cached.token
        request = self._failed_ahead.pop(appid, None)
        if request is None:
            if appid in self._denied:
                raise _anew(self._denied[appid])
            request = self._pending.get(appid) or self._start(appid)
        await request.done.wait()
        outcome = request.outcome
        if isinstance(outcome, Secret):
            return outcome
        raise _anew(outcome) if isinstance(outcome, CallError | TokenDenied) else outcome

    def is_withheld(self, appid: str) -> bool:
        """Return whether an account must wait, because WeChat answers no requests for tokens.

        That is so after some in a row, of two accounts at least; one that fails alone is the cause.
        """
        is_away = len(self._unanswered) > 1 and self._unanswered.total() >= _FAILURES_TO_WITHHOLD
        return is_away and self.providers.asks_wechat(appid)

    async def request_ahead(self, appid: str) -> None:
        """Request an account's first token and wait for it; `current` returns or raises it next."""
        if appid in self._cached or appid in self._failed_ahead:
            return
        request = self._pending.get(appid) or self._start(appid)
        await request.done.wait()
        if not isinstance(request.outcome, Secret):
            self._failed_ahead[appid] = request

    async def request_all_ahead(self, appids: Iterable[str]) -> None:
        """Request the first tokens of accounts, some at a time.

        It ends early if one source after the other gives none: each may take long to say so.
        """
        left, failures = iter(appids), 0

        async def work() -> None:
            nonlocal failures
            for appid in left:
                await self.request_ahead(appid)
                failures = failures + 1 if appid in self._failed_ahead else 0
                if failures >= AHEAD_AT_ONCE:
                    break

        async with anyio.create_task_group() as tasks:
            for _ in range(AHEAD_AT_ONCE):
                tasks.start_soon(work)

    def _refuse_shared(self, appid: str) -> None:
        """Raise TokenDenied if another account has the account's token."""
        denial = self.owners.denial(appid)
        if denial is not None:
            raise denial

    def _start(self, appid: str) -> _PendingRequest:
        request = self._pending[appid] = _PendingRequest()
        self._tasks.start_soon(self._request, appid, request)
        return request

    def mark_working(self, appid: str, token: Secret) -> None:
        """Record that WeChat accepted a token, so its rejection does not count.

        A rejected token is still replaced, but not as one of several that never worked.
        """
        cached = self._cached.get(appid)
        if cached is not None and not cached.works and cached.token == token:
            self._cached[appid] = cached._replace(works=True)
            self._useless.pop(appid, None)
        elif token in self._useless.get(appid, ()):
            # Its answer was longer on the way than the rejection of another call.
            useless = self._useless[appid]
            self._useless[appid] = useless[useless.index(token) + 1 :]

    def invalidate(self, appid: str, token: Secret, errcode: int) -> bool:
        """Drop a token that WeChat rejected; returns False if it was replaced in the meantime.

        Tokens are compared by identity, not by value: WeChat may issue an equal one again, and a
        late rejection of the first says nothing about the second.
        """
        cached = self._cached.get(appid)
        if cached is None or cached.token is not token:
            return False
        del self._cached[appid]
        self._useless[appid] = () if cached.works else (*self._useless.get(appid, ()), token)
        self._rejected[appid] = Rejection(token, len(self._useless[appid]), errcode)
        return True

    async def _request(self, appid: str, request: _PendingRequest) -> None:
        try:
            request.outcome = await self._obtain(appid)
        except CallError as error:
            request.outcome = error
        except TokenDenied as denial:
            request.outcome = denial
            self._denials[appid] += 1
            if denial.rule.action is Action.STOP and self._denials[appid] > denial.rule.repeats:
                self._denied[appid] = _anew(denial)
        except Exception as error:  # noqa: BLE001 - passed on to all callers that wait
            request.outcome = error
            # Not repeated, because each window would make a call that ends in the same bug.
            why = f"a bug in harvester: {type(error).__name__}"
            self._denied[appid] = TokenDenied(_INTERNAL_ERROR, why)
        finally:
            del self._pending[appid]
            request.done.set()

    async def _obtain(self, appid: str) -> Secret:
        rejection = self._rejected.get(appid)
        if rejection is not None:
            rejection = rejection._replace(rejections=len(self._useless[appid]))
        asked_at = self._clock()
        issued = await self._ask(appid, rejection)
        await self.owners.claim(appid, issued.token)
        self._refuse_shared(appid)
        # Its life counts from the request, because the answer may have been long on its way.
        self._cached[appid] = _CachedToken(issued.token, asked_at + issued.seconds)
        self._rejected.pop(appid, None)
        return issued.token

    async def _ask(self, appid: str, rejection: Rejection | None) -> IssuedToken:
        """Ask the source. Raises TokenWithheld while WeChat answers none, but for one probe."""
        if self.is_withheld(appid):
            if self._clock() < self._probe_at:
                raise TokenWithheld(self._last_failure)
            self._probe_at = self._clock() + PROBE_SECONDS
        asks_wechat = self.providers.asks_wechat(appid)
        try:
            issued = await self.providers.issue(appid, rejection)
        except (CallError, TokenDenied) as error:
            if asks_wechat:
                self._last_failure, self._probe_at = error, self._clock() + PROBE_SECONDS
                if isinstance(error, TokenDenied) and error.rule.action is not Action.RETRY:
                    self._unanswered.clear()
                else:
                    self._unanswered[appid] += 1
            raise
        if asks_wechat:
            self._unanswered.clear()
        return issued


def _anew(error: _Error) -> _Error:
    """Copy an error, so that each caller gets a traceback of its own, without bodies."""
    return type(error)(*error.args)

"""Calls of `fetch` and `check`, each with a few attempts, at the rate of its account.

A window of `fetch` is asked under the quota of its account too; `check` saves its calls at the end.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeAlias

import anyio

from harvester.catalogue.error_codes import rule_for
from harvester.core import calendar
from harvester.core.calendar import Clock
from harvester.core.config.settings import Manifest
from harvester.core.dataset import Dataset
from harvester.core.errors import CallError
from harvester.core.model import Refusal, ReportedQuota, Window, bucket_of
from harvester.core.rule import TRANSIENT, Action, Rule
from harvester.engine.ledger_files import LedgerFiles
from harvester.planning.ledger import Ledger
from harvester.planning.quota import DailyQuota
from harvester.scheduling import backoff
from harvester.wechat.attempt import RefusedAttempt, attempt
from harvester.wechat.auth.provider import TokenDenied
from harvester.wechat.auth.token_cache import TokenCache
from harvester.wechat.quota_api import QUOTA_PATH, quota_body, quota_or_reason
from harvester.wechat.transport import Transport

MAX_ATTEMPTS = 3
"""Maximum attempts at a call, unless the manifest allows fewer."""

SPENT = 45009
"""WeChat's code for a quota that is spent."""

_TOLD_SECONDS = 5.0
"""Seconds of waiting from which on a wait is logged."""

_NOTHING_SENT = (Action.HOST_DOWN, Action.DEFER)
"""Actions after an attempt that did not reach WeChat."""

_log = logging.getLogger("harvester.fetch")

Outcome: TypeAlias = bytes | RefusedAttempt
"""The bytes of an answer, or the refusal."""


def may_count(outcome: Outcome) -> bool:
    """Return whether WeChat may have counted an attempt; not if nothing was sent."""
    return isinstance(outcome, bytes) or outcome.rule.action not in _NOTHING_SENT


@dataclass(eq=False, repr=False)
class LoneCalls:
    """Makes calls outside of a harvest. The calls of one account are made in sequence.

    ``made`` is their number, without the calls for tokens.
    """

    transport: Transport
    tokens: TokenCache
    manifest: Manifest
    now: Clock
    made: int = 0

    def __post_init__(self) -> None:
        """Begin without a call."""
        self._rate, self._retry = self.manifest.limits.per_token.rate, self.manifest.retry
        self._rng = random.Random()
        self._called: set[str] = set()

    async def ask(self, window: Window, files: LedgerFiles) -> Outcome:
        """Return the answer to a window, or why there is none, for the holder of its bucket.

        The calls are entered into the ledger of the bucket, each before it is made, and count in
        the rate of the next run. They may spend what a run leaves to the account's other users,
        because one of them asks. None is made if WeChat has said that the quota is spent, or if
        nothing at all is left of it. Raises StoreError and UsageError.
        """
        bucket = bucket_of(window.appid, self.manifest.output.buckets)
        today = calendar.today(self.now())
        await files.open(today, [bucket], self._rate)
        ledger = files.ledgers[bucket]
        await self._cool_down(ledger)
        # Midnight may have passed meanwhile.
        ledger.day = calendar.today(self.now())
        if (spent := self._spent(ledger, window)) is not None:
            return spent

        async def once() -> Outcome:
            # Durable before the call, because a killed run must have entered too many.
            ledger.add(window.dataset, window.appid, 1)
            await files.write([bucket])
            found = await self.attempt(window, self.manifest.datasets[window.dataset])
            _note(ledger, window, found)
            return found

        outcome = await self.few(once)
        ledger.add_recent(self.made, self.now())
        await files.close()
        return outcome

    async def few(self, ask: Callable[[], Awaitable[Outcome]]) -> Outcome:
        """Make attempts until one is answered or no more are allowed; return the last outcome."""
        refreshed, tries = False, 0
        while True:
            outcome = await ask()
            if isinstance(outcome, bytes):
                return outcome
            action = outcome.rule.action
            tries += 1
            # The cache has dropped the token, so a second rejection is no matter of its age.
            if action is Action.REFRESH_TOKEN and not refreshed:
                refreshed = True
            elif action not in TRANSIENT or tries >= min(MAX_ATTEMPTS, self._retry.max_attempts):
                return outcome
            elif action is not Action.RETRY_NOW:
                await anyio.sleep(backoff.delay(tries, self._retry, self._rng))

    async def attempt(self, window: Window, dataset: Dataset) -> Outcome:
        """Ask for a window once, when the rate of its account allows it."""
        await self._turn(window.appid)
        return await attempt(window, dataset, self.tokens, self.transport)

    async def ask_quota(self, appid: str, dataset: Dataset) -> ReportedQuota | None:
        """Ask for a quota. A refusal is ignored: the quota stays unknown."""
        with suppress(CallError, TokenDenied):
            token = await self.tokens.current(appid)
            await self._turn(appid)
            status, body = await self.transport.post(appid, QUOTA_PATH, quota_body(dataset), token)
            told = quota_or_reason(status, body, self.now())
            return told if isinstance(told, ReportedQuota) else None
        return None

    async def _turn(self, appid: str) -> None:
        """Wait between two calls of an account, as its rate requires."""
        # Before a call and not after it: a person waits for the answer to the last one.
        if appid in self._called:
            await anyio.sleep(self._rate.period / self._rate.count)
        self._called.add(appid)
        self.made += 1

    async def _cool_down(self, ledger: Ledger) -> None:
        """Wait while the rate of earlier runs leaves no room."""
        if ledger.recent_calls + MAX_ATTEMPTS <= self._rate.count:
            return
        wait = max(0.0, ledger.idle_from - self.now())
        if wait >= _TOLD_SECONDS:
            until = calendar.utc_text(ledger.idle_from)
            _log.info("waiting until %s: a run has just used the rate of this account", until)
        await anyio.sleep(wait)

    def _spent(self, ledger: Ledger, window: Window) -> RefusedAttempt | None:
        """Return the refusal for a quota of which nothing is left, the reserve included."""
        quota = DailyQuota(self.manifest.limits, ledger, window.dataset, window.appid)
        if quota.left(reserve_too=True):
            return None
        # Asked again, WeChat would say the same and count the call.
        told = ledger.exhausted_by(window.dataset, window.appid)
        return RefusedAttempt(rule_for(told.errcode if told else SPENT), told or quota.explain())


def _note(ledger: Ledger, window: Window, outcome: Outcome) -> None:
    """Return a call that WeChat cannot have counted; enter a quota that it says is spent."""
    if not may_count(outcome):
        ledger.add(window.dataset, window.appid, -1)
    match outcome:
        case RefusedAttempt(rule=Rule(action=Action.WAIT_FOR_QUOTA), why=Refusal() as why):
            ledger.exhaust(window.dataset, window.appid, why)

"""Calls of `fetch` and `check`, each with a few attempts, at the rate of its account."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeAlias

import anyio

from harvester.core.calendar import Clock
from harvester.core.config.settings import Manifest
from harvester.core.dataset import Dataset
from harvester.core.errors import CallError
from harvester.core.model import ReportedQuota, Window
from harvester.core.rule import Action
from harvester.scheduling import backoff
from harvester.wechat.attempt import RefusedAttempt, attempt
from harvester.wechat.auth import TokenDenied
from harvester.wechat.auth.token_cache import TokenCache
from harvester.wechat.quota_api import QUOTA_PATH, quota_body, quota_or_reason
from harvester.wechat.transport import Transport

MAX_ATTEMPTS = 3
"""Maximum attempts at a call, unless the manifest allows fewer."""

_NOTHING_SENT = (Action.HOST_DOWN, Action.DEFER)
"""Actions after an attempt that did not reach WeChat."""

_REPEATED = (Action.RETRY, Action.RETRY_NOW, Action.HOST_DOWN)
"""Actions after which a call is made again; a rejected certificate stays rejected."""

Outcome: TypeAlias = bytes | RefusedAttempt
"""The bytes of an answer, or the refusal."""


def may_count(outcome: Outcome) -> bool:
    """Return whether WeChat may have counted an attempt; not if nothing was sent."""
    return isinstance(outcome, bytes) or outcome.rule.action not in _NOTHING_SENT


class LoneCalls:
    """Makes calls outside of a harvest. The calls of one account are made in sequence.

    ``made`` is their number, without the calls for tokens.
    """

    def __init__(
        self, transport: Transport, tokens: TokenCache, manifest: Manifest, now: Clock
    ) -> None:
        self._transport = transport
        self._tokens = tokens
        self._rate = manifest.limits.per_token.rate
        self._retry = manifest.retry
        self._now = now
        self._rng = random.Random()
        self._called: set[str] = set()
        self.made = 0

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
            elif action not in _REPEATED or tries >= min(MAX_ATTEMPTS, self._retry.max_attempts):
                return outcome
            elif action is not Action.RETRY_NOW:
                await anyio.sleep(backoff.delay(tries, self._retry, self._rng))

    async def attempt(self, window: Window, dataset: Dataset) -> Outcome:
        """Ask for a window once, when the rate of its account allows it."""
        await self._turn(window.appid)
        return await attempt(window, dataset, self._tokens, self._transport)

    async def ask_quota(self, appid: str, dataset: Dataset) -> ReportedQuota | None:
        """Ask for a quota. A refusal is ignored: the quota stays unknown."""
        with suppress(CallError, TokenDenied):
            token = await self._tokens.current(appid)
            await self._turn(appid)
            status, body = await self._transport.post(appid, QUOTA_PATH, quota_body(dataset), token)
            told = quota_or_reason(status, body, self._now())
            return told if isinstance(told, ReportedQuota) else None
        return None

    def finish(self, appid: str) -> None:
        """Close the connection of an account that is asked no more."""
        self._transport.pool.close_account(appid)

    async def _turn(self, appid: str) -> None:
        """Wait between two calls of an account, as its rate requires."""
        # Before a call and not after it: a person waits for the answer to the last one.
        if appid in self._called:
            await anyio.sleep(self._rate.period / self._rate.count)
        self._called.add(appid)
        self.made += 1

"""A few attempts at one call, for commands that a person waits for."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

import anyio

from harvester.catalogue.error_codes import Action
from harvester.core.config.settings import Retry
from harvester.scheduling import backoff
from harvester.wechat.attempt import RefusedAttempt

MAX_ATTEMPTS = 3
"""Maximum attempts at a call, unless the manifest allows fewer."""

NOTHING_SENT = (Action.HOST_DOWN, Action.DEFER)
"""Actions after an attempt that did not reach WeChat, so that WeChat cannot have counted it."""

_REPEATED = (Action.RETRY, Action.RETRY_NOW, Action.HOST_DOWN)
"""Actions after which a call is made again; a rejected certificate stays rejected."""


async def few_attempts(
    ask: Callable[[], Awaitable[bytes | RefusedAttempt]], policy: Retry, rng: random.Random
) -> bytes | RefusedAttempt:
    """Return the answer of the first attempt that has one, or else the last refusal."""
    refreshed, tries = False, 0
    while True:
        outcome = await ask()
        if isinstance(outcome, bytes):
            return outcome
        action = outcome.rule.action
        tries += 1
        if action is Action.REFRESH_TOKEN and not refreshed:
            refreshed = True
        elif action not in _REPEATED or tries >= min(MAX_ATTEMPTS, policy.max_attempts):
            return outcome
        elif action is not Action.RETRY_NOW:
            await anyio.sleep(backoff.delay(tries, policy, rng))

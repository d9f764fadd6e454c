"""The accounts that authorised the platform: asked before a run can be planned."""

from __future__ import annotations

import random
from collections.abc import Callable

import anyio

from harvester.core.config import Api, Retry
from harvester.core.credentials import Access, Platform
from harvester.core.errors import BadTls, CallError, Unanswered, Unauthorised
from harvester.scheduling import backoff
from harvester.wechat.auth import TokenDenied, TokenProviders
from harvester.wechat.transport import Transport


def ask(
    platform: Platform, api: Api, *, clock: Callable[[], float], policy: Retry
) -> tuple[str, ...]:
    """Ask for the appids that authorised the platform, in WeChat's order.

    Raises Unauthorised if WeChat does not let the platform ask, Unanswered if it does not answer.
    """
    return anyio.run(_ask, platform, api, clock, policy)


async def _ask(
    platform: Platform, api: Api, clock: Callable[[], float], policy: Retry
) -> tuple[str, ...]:
    dice, failure = random.Random(), ""
    async with Transport(api, connections=1) as transport:
        office = TokenProviders(
            _no_account, transport, clock=clock, budget=_never, platform=platform
        )
        for attempt in range(1, policy.max_attempts + 1):
            try:
                found = await office.authorised()
            except CallError as error:
                failure = str(error)
                if isinstance(error, BadTls):
                    break
                await anyio.sleep(backoff.delay(attempt, policy, dice))
                continue
            if isinstance(found, TokenDenied):
                problem = f"the platform's accounts: {found.why}: {found.rule.meaning}"
                raise Unauthorised(problem, found.rule.advice)
            return tuple(found)
    advice = "See whether WeChat is reachable from here, then run again."
    raise Unanswered(f"the platform's accounts: {failure}", advice)


def _no_account(appid: str) -> Access:
    raise KeyError(appid)


async def _never(_: str) -> bool:
    return False

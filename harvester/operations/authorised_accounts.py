"""Request for the accounts that authorised the platform, made before a run is planned."""

from __future__ import annotations

import random

import anyio

from harvester.core.calendar import Clock
from harvester.core.config import Api, Retry
from harvester.core.credentials import Access, PlatformAccess
from harvester.core.errors import BadTls, CallError, Unanswered, Unauthorised
from harvester.scheduling import backoff
from harvester.wechat.auth import TokenDenied, TokenProviders
from harvester.wechat.transport import Transport


def ask(platform: PlatformAccess, api: Api, *, clock: Clock, policy: Retry) -> tuple[str, ...]:
    """Return the appids that authorised the platform, in WeChat's order.

    Raises Unauthorised if WeChat refuses the platform, Unanswered if it does not answer.
    """
    return anyio.run(_ask, platform, api, clock, policy)


async def _ask(platform: PlatformAccess, api: Api, clock: Clock, policy: Retry) -> tuple[str, ...]:
    rng, failure = random.Random(), ""
    async with Transport(api, connections=1) as transport:
        providers = TokenProviders(_none, transport, clock=clock, budget=_never, platform=platform)
        for attempt in range(1, policy.max_attempts + 1):
            try:
                found = await providers.authorised()
            except CallError as error:
                failure = str(error)
                if isinstance(error, BadTls):
                    break
                await anyio.sleep(backoff.delay(attempt, policy, rng))
                continue
            if isinstance(found, TokenDenied):
                problem = f"the platform's accounts: {found.why}: {found.rule.meaning}"
                raise Unauthorised(problem, found.rule.advice)
            return tuple(found)
    advice = "Check that WeChat can be reached from this machine, then run again."
    raise Unanswered(f"the platform's accounts: {failure}", advice)


def _none(appid: str) -> Access:
    raise KeyError(appid)


async def _never(_: str) -> bool:
    return False

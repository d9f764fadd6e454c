"""Request for the accounts that authorised the platform, made before a run is planned."""

from __future__ import annotations

import random
from collections.abc import Callable

import anyio

from harvester.core.calendar import Clock
from harvester.core.config.credentials import PlatformAccess
from harvester.core.config.settings import Manifest
from harvester.core.errors import BadTls, CallError, Unanswered, Unauthorised
from harvester.core.rule import Action
from harvester.scheduling import backoff
from harvester.wechat.auth.component import Component
from harvester.wechat.auth.provider import TokenDenied
from harvester.wechat.transport import Transport


async def ask(
    platform: PlatformAccess, manifest: Manifest, elapsed: Clock, on_date: Callable[[str], None]
) -> tuple[str, ...]:
    """Return the appids that authorised the platform, in WeChat's order.

    ``on_date`` gets the ``Date`` of WeChat's answers. Raises Unauthorised if WeChat refuses the
    platform, Unanswered if it does not answer.
    """
    rng, policy, failure = random.Random(), manifest.retry, ""
    async with Transport(manifest.api, connections=1, on_date=on_date) as transport:
        component = Component(platform, transport, elapsed)
        for failures in range(policy.max_attempts):
            if failures:
                await anyio.sleep(backoff.delay(failures, policy, rng))
            try:
                return tuple(await component.listed(since=elapsed()))
            except CallError as error:
                failure = str(error)
                if isinstance(error, BadTls):
                    break
            except TokenDenied as denial:
                rule = denial.rule
                # Without its traceback, whose frames may hold bodies.
                failure = f"{denial.with_traceback(None)}: {rule.meaning}"
                if rule.action is not Action.RETRY:
                    # A spent quota or a minute limit passes, so a later run may get the list.
                    kind = Unauthorised if rule.action is Action.STOP else Unanswered
                    raise kind(f"the platform's accounts: {failure}", rule.advice) from None
    advice = "Check that WeChat can be reached from this machine, then run again."
    raise Unanswered(f"the platform's accounts: {failure}", advice)

"""Calls that bring WeChat's time before a run decides what is wanted.

Every answer of WeChat has it. A run that has something to ask needs a token first anyway, and plans
again if its answer shows that the clock is off. A run that finds nothing to do may find nothing
because its clock is slow, so it makes one call that spends no quota and ends no token.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

from harvester.core.config.credentials import Access, AppSecret, RefreshToken
from harvester.core.config.settings import Manifest
from harvester.core.errors import CallError
from harvester.runs.runtime import RunContext
from harvester.wechat.auth import TokenDenied, TokenProviders
from harvester.wechat.auth.token_cache import TokenCache
from harvester.wechat.quota_api import QUOTA_PATH, quota_body
from harvester.wechat.transport import Transport

_log = logging.getLogger("harvester.clock")


def correct(context: RunContext) -> float:
    """Go by WeChat's time from now on if the clock is off; return the seconds that it moved."""
    moved = context.clock.correct()
    if context.platform is not None:
        context.platform.known.shift(moved)
    return moved


async def ask_for_time(manifest: Manifest, context: RunContext) -> None:
    """Make one call for the time that its answer brings; warn if there is no answer.

    It is a stable token, which ends no other. Where tokens come from elsewhere it is the question
    for a quota. Nothing is asked if each token ends the one before.
    """
    appids = list(_harmless(manifest, context.credentials))
    if not appids:
        return
    appid = min(appids, key=lambda each: not isinstance(context.credentials(each), AppSecret))
    dataset = next(iter(manifest.datasets.values()))
    async with (
        context.open_api() as api,
        Transport(api, connections=1, on_date=context.clock.hear) as transport,
    ):
        providers = TokenProviders(
            context.credentials, transport, clock=context.clock, platform=context.platform
        )
        async with TokenCache(providers.provider, context.clock) as tokens:
            try:
                token = await tokens.current(appid)
                if not isinstance(context.credentials(appid), AppSecret):
                    await transport.post(appid, QUOTA_PATH, quota_body(dataset), token)
            except (CallError, TokenDenied) as error:
                # A refusal of WeChat has a date as well.
                if not context.clock.is_checked:
                    _log.warning("nothing is missing by this machine's clock, unchecked: %s", error)


def _harmless(manifest: Manifest, access: Callable[[str], Access]) -> Iterator[str]:
    """Yield the accounts whose token can be had without ending another."""
    for account in manifest.asked_accounts:
        match access(account.appid):
            case AppSecret(legacy=True) | RefreshToken():
                pass
            case _:
                yield account.appid

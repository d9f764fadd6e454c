"""Token and list of a platform, asked for once for all processes of a run."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace

import anyio

from harvester.core.config.credentials import PlatformAccess, PlatformCache
from harvester.runs.processes.messages import ListWanted, TokenWanted
from harvester.runs.runtime import RunContext
from harvester.wechat.auth import TokenProviders
from harvester.wechat.transport import Transport


@dataclass(slots=True)
class PlatformService:
    """The platform of one run. ``calls`` counts the calls for tokens and lists."""

    context: RunContext
    calls: int = 0
    _lock: anyio.Lock = field(default_factory=anyio.Lock)

    async def answer(self, question: TokenWanted | ListWanted) -> object:
        """Return the token, or the list by appid. Raises TokenDenied and CallError."""
        context = self.context
        # One at a time: the second one finds what the first one has got.
        async with (
            self._lock,
            context.open_api() as api,
            # The shards hear the dates of WeChat's answers too.
            Transport(api, connections=1) as transport,
        ):
            access, clock = context.credentials, context.clock
            providers = TokenProviders(access, transport, clock=clock, platform=context.platform)
            try:
                if isinstance(question, ListWanted):
                    return await providers.component.listed(question.since)
                return await providers.component.own_token(question.rejected)
            finally:
                self.calls += providers.calls


def known_of(platform: PlatformAccess | None, appids: Collection[str]) -> PlatformCache | None:
    """Return what is known of a platform, with the refresh tokens of these accounts alone."""
    if platform is None:
        return None
    known = platform.known
    return replace(
        known,
        listed={appid: known.listed[appid] for appid in appids if appid in known.listed},
        replaced_at={appid: at for appid, at in known.replaced_at.items() if appid in appids},
    )

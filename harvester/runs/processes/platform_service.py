"""The platform of a run in several processes: one of them asks for its token, for all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import replace

from harvester.core.config.credentials import PlatformAccess, PlatformCache
from harvester.runs.runtime import RunContext
from harvester.wechat.auth.component import Component
from harvester.wechat.transport import Transport


@asynccontextmanager
async def open_platform(context: RunContext) -> AsyncIterator[Component | None]:
    """Reach the platform of a run while the block lasts; yields None if it has none."""
    if context.platform is None:
        yield None
        return
    # Its answers tell this process no time: the shards hear the dates of theirs.
    async with context.open_api() as api, Transport(api, connections=1) as transport:
        yield Component(context.platform, transport, context.clock.elapsed)


def known_of(platform: PlatformAccess | None, appids: Collection[str]) -> PlatformCache | None:
    """Return what is known of a platform, with the refresh tokens of these accounts alone."""
    if platform is None:
        return None
    known = platform.known
    listed = {appid: known.listed[appid] for appid in appids if appid in known.listed}
    return replace(known, listed=listed)

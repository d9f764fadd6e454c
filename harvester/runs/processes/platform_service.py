"""Token of a platform, asked for once for all processes of a run."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace

import anyio

from harvester.core.config.credentials import PlatformAccess, PlatformCache
from harvester.core.secret import Secret
from harvester.runs.runtime import RunContext
from harvester.wechat.auth.component import Component
from harvester.wechat.auth.provider import Meter
from harvester.wechat.transport import Transport


@dataclass(slots=True)
class PlatformService:
    """The platform of one run. ``meter`` counts the calls for tokens."""

    context: RunContext
    meter: Meter = field(default_factory=Meter)
    _lock: anyio.Lock = field(default_factory=anyio.Lock)

    async def own_token(self, rejected: Secret | None) -> Secret:
        """Return the platform's token, and not the rejected one. Raises TokenDenied, CallError."""
        context = self.context
        if context.platform is None:
            raise LookupError("no platform")
        # One at a time: the second one finds what the first one has got.
        async with (
            self._lock,
            context.open_api() as api,
            # The shards hear the dates of WeChat's answers too.
            Transport(api, connections=1) as transport,
        ):
            elapsed = context.clock.elapsed
            component = Component(context.platform, transport, elapsed, meter=self.meter)
            return await component.own_token(rejected)


def known_of(platform: PlatformAccess | None, appids: Collection[str]) -> PlatformCache | None:
    """Return what is known of a platform, with the refresh tokens of these accounts alone."""
    if platform is None:
        return None
    known = platform.known
    listed = {appid: known.listed[appid] for appid in appids if appid in known.listed}
    return replace(known, listed=listed)

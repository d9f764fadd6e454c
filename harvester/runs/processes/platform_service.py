"""Token and list of a platform, asked for once for all processes of a run."""

from __future__ import annotations

from collections.abc import Collection

import anyio

from harvester.core.config.credentials import PlatformAccess
from harvester.core.secret import Secret
from harvester.runs.access import token_providers
from harvester.runs.processes.messages import KnownPlatform, ListWanted, TokenWanted
from harvester.runs.runtime import RunContext
from harvester.wechat.transport import Transport


class PlatformService:
    """The platform of one run. ``calls`` counts the calls for tokens and lists."""

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._lock = anyio.Lock()
        self.calls = 0

    async def answer(self, question: TokenWanted | ListWanted) -> object:
        """Return the token, or the list by appid, as texts. Raises TokenDenied and CallError."""
        context = self._context
        # One at a time: the second one finds what the first one has got.
        async with (
            self._lock,
            context.open_api() as api,
            # The shards hear the dates of WeChat's answers too.
            Transport(api, connections=1) as transport,
        ):
            providers = token_providers(context, transport)
            try:
                if isinstance(question, ListWanted):
                    return texts_of(await providers.component.listed(question.since))
                rejected = None if question.rejected is None else Secret(question.rejected)
                return (await providers.component.own_token(rejected)).reveal()
            finally:
                self.calls += providers.calls

    def shift(self, seconds: float) -> None:
        """Move all times, because the clock was moved."""
        if self._context.platform is not None:
            self._context.platform.known.shift(seconds)


def known_of(platform: PlatformAccess | None, appids: Collection[str]) -> KnownPlatform | None:
    """Return what is known of a platform, with the refresh tokens of these accounts alone."""
    if platform is None:
        return None
    known = platform.known
    return KnownPlatform(
        token=None if known.token is None else known.token.reveal(),
        renew_at=known.renew_at,
        listed=texts_of({appid: known.listed[appid] for appid in appids if appid in known.listed}),
        listed_at=known.listed_at,
        replaced_at={appid: at for appid, at in known.replaced_at.items() if appid in appids},
    )


def texts_of(secrets: dict[str, Secret]) -> dict[str, str]:
    """Return secrets as texts, to be handed to another process of the run."""
    return {appid: secret.reveal() for appid, secret in secrets.items()}

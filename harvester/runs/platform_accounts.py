"""The manifest's third-party platform, for the verbs that call WeChat."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import anyio

from harvester.core.config.credentials import PlatformAccess
from harvester.core.config.settings import Account, Manifest
from harvester.core.errors import PLATFORM, ManifestError, Mistake, UsageError
from harvester.runs.clock import CheckedClock
from harvester.storage import layout
from harvester.storage.layout import Tree
from harvester.storage.state import account_cache


@dataclass(slots=True)
class PlatformAtHand:
    """The platform of one operation, opened when it is first needed and then kept with its tokens.

    ``clock`` receives the dates of WeChat's answers, and ``read`` reads the platform's secrets.
    """

    clock: CheckedClock
    read: Callable[[Manifest], PlatformAccess | None]
    _platform: PlatformAccess | None = None

    def authorised(self, manifest: Manifest, tree: Tree) -> Sequence[str]:
        """Ask WeChat for the authorised accounts, and cache them for verbs without calls.

        Raises UsageError for missing secrets, Unauthorised if WeChat refuses the platform,
        Unanswered if it does not answer, StoreError if the list cannot be written, and as
        `layout.check_folders`.
        """
        platform = self._open(manifest)
        if platform is None:
            return ()
        layout.check_folders(tree)
        # Loaded only here: an operation without calls does not load the HTTP client.
        from harvester.runs import authorised_accounts  # noqa: PLC0415 - as the line above says

        times = self.clock.elapsed, self.clock.hear
        appids = anyio.run(authorised_accounts.ask, platform, manifest, *times)
        account_cache.write(tree, appids)
        return appids

    def needed_by(self, manifest: Manifest, accounts: Iterable[Account]) -> PlatformAccess | None:
        """Return the platform if one of the accounts gets its token through it, otherwise None.

        Raises UsageError for missing secrets.
        """
        through = any(account.uses_platform for account in accounts)
        return self._open(manifest) if through and not manifest.api.is_sandbox else None

    def _open(self, manifest: Manifest) -> PlatformAccess | None:
        if self._platform is None and manifest.platform is not None:
            try:
                self._platform = self.read(manifest)
            except UsageError as error:
                place = manifest.credential_places[PLATFORM]
                raise ManifestError([Mistake(place, error.problem, error.advice)]) from None
        return self._platform

"""Comparison of the tokens of all accounts of a run, before the first data call."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from harvester.core import calendar
from harvester.core.config.credentials import RefreshToken
from harvester.core.config.settings import Manifest
from harvester.core.text.wording import counted
from harvester.planning import wanted_days
from harvester.planning.wanted_days import Missing
from harvester.runs.runtime import RunContext
from harvester.scheduling.account_queue import AccountQueue
from harvester.wechat.auth.token_cache import TokenCache
from harvester.wechat.auth.token_owners import may_be_shared


async def compare(context: RunContext, tokens: TokenCache, appids: Iterable[str]) -> None:
    """Get the tokens of those accounts of which a mistake can give two the same one.

    It returns when the other processes of the run have theirs too.
    """
    found = [appid for appid in appids if may_be_shared(context.credentials(appid))]
    if found:
        await tokens.request_all_ahead(found)
        await context.owners.wait_for_all()


def to_compare(
    context: RunContext, manifest: Manifest, queues: Iterable[AccountQueue]
) -> Iterator[str]:
    """Yield the accounts of a run whose tokens are compared.

    Those with nothing to ask are among them, because another account may have got their token. But
    the refresh of a token may replace the refresh token, so it is made for accounts that ask alone.
    """
    asking = {queue.appid for queue in queues}
    for account in manifest.asked_accounts:
        credential = context.credentials(account.appid)
        if account.appid in asking or not isinstance(credential, RefreshToken):
            yield account.appid


class AnsweredDays:
    """The days for which accounts were answered since the start of a run."""

    def __init__(
        self, manifest: Manifest, started_at: float, queues: Iterable[AccountQueue]
    ) -> None:
        self._manifest = manifest
        self._started_at = started_at
        self._owed = [(x.appid, each, each.missing) for x in queues for each in x.backlogs]

    def ask_again(self, appids: Iterable[str]) -> str:
        """Return the command, with its price, that asks again for what accounts were answered.

        Returns nothing if there was no answer.
        """
        answered, accounts = calendar.NO_DAYS, set(appids)
        accounts &= {appid for appid, _, _ in self._owed}
        for appid, backlog, days in self._owed:
            if appid in accounts:
                answered |= days & ~(backlog.missing | backlog.in_progress)
        if not answered:
            return ""
        begin = calendar.oldest(answered)
        price = counted(self._price(accounts, begin), "request")
        return (
            "What they were answered before may be of the wrong account. Ask for it again after"
            f" that, with {price}: harvester run --accounts"
            f" {','.join(sorted(accounts))} --begin-date {calendar.day_text(begin)} --refetch all"
        )

    def _price(self, accounts: set[str], begin: calendar.Day) -> int:
        today = calendar.today(self._started_at)
        since = calendar.day_range(begin, today)
        want = {
            name: {appid: days & since for appid, days in of_dataset.items() if appid in accounts}
            for name, of_dataset in wanted_days.wanted(self._manifest, self._started_at).items()
        }
        return wanted_days.summarise(self._manifest, want, Missing(want, {}, {})).requests

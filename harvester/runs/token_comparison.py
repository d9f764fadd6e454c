"""Comparison of the tokens of all accounts of a run, before the first data call."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from harvester.core import calendar
from harvester.core.calendar import DaySet
from harvester.core.config.credentials import RefreshToken
from harvester.core.config.settings import Manifest
from harvester.core.text.wording import counted
from harvester.planning import wanted_days
from harvester.planning.wanted_days import Missing
from harvester.runs.runtime import RunContext
from harvester.scheduling.account_queue import AccountQueue, Backlog
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


def ask_again(
    manifest: Manifest,
    started_at: float,
    owed: Iterable[tuple[str, Backlog, DaySet]],
    appids: Iterable[str],
) -> str:
    """Return the command, with its price, that asks again for what accounts were answered.

    Returns nothing if there was no answer. ``owed`` has the backlogs of all accounts by appid, each
    with the days that were missing when the run began, at ``started_at``.
    """
    named = {*appids}
    owed = [each for each in owed if each[0] in named]
    answered = calendar.NO_DAYS
    for _, backlog, days in owed:
        answered |= days & ~(backlog.missing | backlog.in_progress)
    if not answered:
        return ""
    begin, accounts = calendar.oldest(answered), {appid for appid, _, _ in owed}
    since = calendar.day_range(begin, calendar.today(started_at))
    want = {
        name: {appid: days & since for appid, days in of_dataset.items() if appid in accounts}
        for name, of_dataset in wanted_days.wanted(manifest, started_at).items()
    }
    requests = wanted_days.summarise(manifest, want, Missing(want, {})).requests
    return (
        "What they were answered before may be of the wrong account. Ask for it again after"
        f" that, with {counted(requests, 'request')}: harvester run --accounts"
        f" {','.join(sorted(accounts))} --begin-date {calendar.day_text(begin)} --refetch all"
    )

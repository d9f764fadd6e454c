"""Access to WeChat: its API or the sandbox, the credentials, and calls that tell the time."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Hashable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from os import environ
from urllib.parse import urlsplit
from urllib.request import proxy_bypass

from harvester.core.calendar import Clock
from harvester.core.config import credentials as kinds
from harvester.core.config.credentials import Access, AppSecret
from harvester.core.config.references import texts_of
from harvester.core.config.settings import Account, Api, Manifest
from harvester.core.errors import DEFAULTS, CallError, ManifestError, Mistake, Place, UsageError
from harvester.core.hold import UNLOSABLE, Hold
from harvester.core.secret import Secret
from harvester.core.text.inert_text import named
from harvester.runs.runtime import Credentials, Project, RunContext
from harvester.wechat.auth.component import Component
from harvester.wechat.auth.provider import TokenDenied
from harvester.wechat.auth.token_cache import TokenCache
from harvester.wechat.auth.token_owners import TokenOwners
from harvester.wechat.auth.token_providers import Budget, TokenProviders
from harvester.wechat.quota_api import QUOTA_PATH, quota_body
from harvester.wechat.transport import Transport

_SANDBOX_LATENCY = 0.02
"""Latency of an answer in seconds, as over a network."""

_PROXY_VARIABLES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")

_log = logging.getLogger("harvester.run")
_clock = logging.getLogger("harvester.clock")


def run_context(project: Project) -> RunContext:
    """Return the clock, the API, and the credentials of the accounts that a project asks.

    Raises UsageError that names each missing variable and file once.
    """
    manifest, clock = project.manifest, project.clock
    _warn_of_ignored_proxy(manifest.api)
    return RunContext(
        clock=clock,
        open_api=partial(_open_api, manifest, clock),
        credentials=_credentials(manifest, project.credentials),
        platform=project.platform.needed_by(manifest, manifest.asked_accounts),
        owners=project.owners or TokenOwners(manifest.names),
    )


def with_paused(project: Project, context: RunContext) -> RunContext:
    """Return a context with the platform too that none but accounts need of which all is paused."""
    if context.platform is None:
        every = [account for account, _ in project.manifest.datasets_of_accounts()]
        # It may lack its secrets like they do.
        with suppress(UsageError):
            platform = project.platform.needed_by(project.manifest, every)
            return replace(context, platform=platform)
    return context


@asynccontextmanager
async def open_line(
    context: RunContext,
    connections: int = 1,
    hold: Hold = UNLOSABLE,
    may_force_refresh: Budget | None = None,
) -> AsyncIterator[tuple[Transport, TokenCache, TokenProviders]]:
    """Reach WeChat, or a sandbox, while the block lasts; the clock hears WeChat's time.

    Yields what makes calls, the tokens, and the providers, which count the calls for tokens.
    ``may_force_refresh`` decides whether the token of an appid may be replaced by force. Without it
    none ever is, because that would end a token that others use. Once ``hold`` is lost no call is
    made.
    """
    access, clock, platform = context.credentials, context.clock, context.platform
    async with (
        context.open_api() as api,
        Transport(api, connections=connections, on_date=clock.hear, hold=hold) as transport,
    ):
        component = Component(platform, transport, clock.elapsed) if platform else None
        providers = TokenProviders(
            access, transport, clock=clock, budget=may_force_refresh, component=component
        )
        async with TokenCache(providers, clock, context.owners) as tokens:
            yield transport, tokens, providers


@asynccontextmanager
async def open_platform(context: RunContext) -> AsyncIterator[Component | None]:
    """Reach the platform of a run while the block lasts; yields None if it has none."""
    if context.platform is None:
        yield None
        return
    # Its answers tell this process no time: the shards hear the dates of theirs.
    async with context.open_api() as api, Transport(api, connections=1) as transport:
        yield Component(context.platform, transport, context.clock.elapsed)


async def ask_for_time(manifest: Manifest, context: RunContext) -> None:
    """Make one call for the time that its answer brings; warn if there is no answer.

    A run that has something to ask needs a token first anyway, and hears the time with it. One that
    finds nothing to do may find nothing because its clock is slow, so it makes this call.

    It is a stable token, which ends no other. Where tokens come from elsewhere it is the question
    for a quota. Nothing is asked if each token ends the one before.
    """
    access = context.credentials
    appids = [each.appid for each in manifest.asked_accounts if _is_harmless(access(each.appid))]
    if not appids:
        return
    appid = min(appids, key=lambda each: not isinstance(access(each), AppSecret))
    dataset = next(iter(manifest.datasets.values()))
    async with open_line(context) as (transport, tokens, _):
        try:
            token = await tokens.current(appid)
            if not isinstance(access(appid), AppSecret):
                await transport.post(appid, QUOTA_PATH, quota_body(dataset), token)
        except (CallError, TokenDenied) as error:
            # A refusal of WeChat has a date as well.
            if not context.clock.is_checked:
                _clock.warning("nothing is missing by this machine's clock, unchecked: %s", error)


def _is_harmless(access: Access) -> bool:
    """Return whether an account's token can be had without ending another."""
    is_legacy = isinstance(access, AppSecret) and access.legacy
    return not is_legacy and not isinstance(access, kinds.RefreshToken)


@asynccontextmanager
async def _open_api(manifest: Manifest, now: Clock) -> AsyncIterator[Api]:
    """Yield WeChat's API, or that of a sandbox that runs while the block lasts."""
    if not manifest.api.is_sandbox:
        yield manifest.api
        return
    # Loaded only here: no run against WeChat should pay for an emulator and a web server.
    from harvester.sandbox import FakeWeChat, Rules, server  # noqa: PLC0415 - see above

    async with server.serve(FakeWeChat(Rules(latency=_SANDBOX_LATENCY), now)) as address:
        yield replace(manifest.api, base_url=address)


def _warn_of_ignored_proxy(api: Api) -> None:
    """Warn of a proxy in the environment, which is for no call of harvester's."""
    host = urlsplit(api.base_url).hostname or ""
    if api.proxy is not None or api.is_sandbox or proxy_bypass(host):
        return
    names = [name for name in _PROXY_VARIABLES if environ.get(name)]
    if names:
        _log.warning(
            "%s is set and ignored: calls go to WeChat directly. If they need the proxy, name it in"
            " api.proxy of the manifest",
            names[0],
        )


def _credentials(manifest: Manifest, reader: Credentials) -> Callable[[str], Access]:
    """Read the credential of each account that is asked; returns a look-up by appid.

    That of an account of which all is paused is read when it is looked up, which raises UsageError
    if a variable or a file is missing.
    """
    if manifest.api.is_sandbox:
        return lambda _appid: AppSecret(Secret("sandbox"))
    found: dict[str, Access] = {}
    problems: defaultdict[tuple[Place, str], list[UsageError]] = defaultdict(list)
    places = manifest.credential_places
    for account in manifest.asked_accounts:
        try:
            found[account.appid] = reader.access(manifest, account)
        except UsageError as error:
            place = places.get(account.appid) or places[DEFAULTS]
            # Grouped without the account, because thousands may lack the same variable.
            problem = error.problem.removeprefix(reader.whose(account))
            problems[place, problem].append(error)
    mistakes = [_mistake(place, alike) for (place, _), alike in problems.items()]
    for sharing in _sharing_a_token(manifest, found):
        place = places.get(sharing[-1].appid) or places[DEFAULTS]
        mistakes.append(_shared(place, sharing))
    if mistakes:
        raise ManifestError(mistakes)
    accounts = {account.appid: account for account in manifest.accounts}

    def credential(appid: str) -> Access:
        return found[appid] if appid in found else reader.access(manifest, accounts[appid])

    return credential


def _mistake(place: Place, alike: list[UsageError]) -> Mistake:
    """Return what is wrong with the credentials of accounts that lack the same."""
    more = len(alike) - 1
    what = alike[0].problem + (f", and so for {more:,} more" if more else "")
    return Mistake(place, what, alike[0].advice)


def _sharing_a_token(manifest: Manifest, found: Mapping[str, Access]) -> Iterable[list[Account]]:
    """Return the accounts of each credential that gives several accounts the same token.

    A credential that names ``{appid}`` or ``{name}`` may give each account its own token, and so
    does an AppSecret.
    """
    by_source: defaultdict[Hashable, list[Account]] = defaultdict(list)
    for account in manifest.asked_accounts:
        if account.appid not in found or _names_account(account):
            continue
        match found[account.appid]:
            case kinds.SecretReader(read) | kinds.RefreshToken(kinds.SecretReader(read)):
                by_source[read()].append(account)
            case kinds.Command(argv):
                by_source[argv].append(account)
            case kinds.HttpSource(url, headers):
                by_source[url, frozenset(headers.items())].append(account)
    return (accounts for accounts in by_source.values() if len(accounts) > 1)


def _names_account(account: Account) -> bool:
    return any("{appid}" in text or "{name}" in text for text in texts_of(account.credential))


def _shared(place: Place, accounts: list[Account]) -> Mistake:
    first, second = (named(account.appid, account.name) for account in accounts[:2])
    more = f", and {len(accounts) - 2:,} more" if accounts[2:] else ""
    return Mistake(
        place,
        f"the credential gives {first} and {second} the same token{more}",
        "a token serves one account: name {appid} in the credential, or give each its own",
    )

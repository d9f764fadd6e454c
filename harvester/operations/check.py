"""One look at every account: does it get a token, what may it ask, and how much of it a day.

An account costs a call for its token, one for each family of datasets that is wanted of it, and one
for each dataset's quota. What one account comes to changes nothing for the others.
"""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import Enum

import anyio

from harvester.catalogue.error_codes import Action, Scope
from harvester.core import calendar
from harvester.core.calendar import Day
from harvester.core.config import Manifest
from harvester.core.errors import SEVERITY, CallError, Exit, StoreError
from harvester.core.model import ReportedQuota, bucket_of
from harvester.manifest import Touched, touched
from harvester.operations.access import run_context
from harvester.operations.probes import Probe, probes
from harvester.operations.project import warn_of_open_files
from harvester.operations.record.summary import new_run_id
from harvester.operations.runtime import Project, RunContext
from harvester.planning.quota import DayLedger
from harvester.scheduling import backoff
from harvester.storage.layout import Tree
from harvester.storage.state import quota_ledger, quota_limits
from harvester.wechat import attempt
from harvester.wechat.attempt import RefusedAttempt
from harvester.wechat.auth import TokenProviders
from harvester.wechat.auth.token_cache import TokenCache, TokenRefused
from harvester.wechat.quota_api import QUOTA_PATH, allowance_of, quota_body
from harvester.wechat.transport import Transport

MAX_ATTEMPTS = 3
"""A call that comes to nothing is made so often, or less often if the manifest says so."""

_log = logging.getLogger("harvester.check")


class State(Enum):
    """The result of a look."""

    WORKS = "works"
    REFUSED = "refused"
    NOT_READY = "not ready"
    """Allowed, but not now: a quota is spent, or the day has no data yet."""
    NO_ANSWER = "no answer"


WHOLE_ACCOUNT = "all"
"""In the place of a family."""

STATES = {
    Action.RETRY: State.NO_ANSWER,
    Action.RETRY_NOW: State.NO_ANSWER,
    Action.HOST_DOWN: State.NO_ANSWER,
    Action.SLOW_DOWN: State.NOT_READY,
    Action.NOT_READY: State.NOT_READY,
    Action.WAIT_FOR_QUOTA: State.NOT_READY,
    Action.DEFER: State.NOT_READY,
    Action.REFRESH_TOKEN: State.REFUSED,
    Action.SPLIT: State.REFUSED,
    Action.STOP: State.REFUSED,
}
"""The state after a refusal, by the action of its rule."""


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """The result of one probe; the members after ``state`` are empty if it was answered.

    ``family`` is ``all`` if the finding speaks for the whole account, so that nothing else need be
    asked. ``errcode`` is None if the network refused, and not WeChat.
    """

    family: str
    permission_set: int
    dataset: str
    day: Day
    state: State
    errcode: int | None = None
    errmsg: str = ""
    rid: str = ""
    meaning: str = ""
    advice: str = ""

    @property
    def is_of_account(self) -> bool:
        """True if it speaks for the whole account."""
        return self.family == WHOLE_ACCOUNT


def _finding(probe: Probe, refused: RefusedAttempt | None) -> ProbeResult:
    dataset = probe.dataset
    found = ProbeResult(
        dataset.family, dataset.permission, dataset.name, probe.window.begin, State.WORKS
    )
    if refused is None:
        return found
    rule, why, _ = refused
    # If the server was not reached, the account's other calls would not fare better.
    of_account = rule.scope in (Scope.ACCOUNT, Scope.RUN) or isinstance(why, str)
    errcode, errmsg, rid = (None, why, "") if isinstance(why, str) else why
    return replace(
        found,
        family=WHOLE_ACCOUNT if of_account else found.family,
        state=STATES[rule.action],
        errcode=errcode,
        errmsg=errmsg,
        rid=rid,
        meaning=rule.meaning,
        advice=rule.advice,
    )


@dataclass(slots=True)
class AccountCheck:
    """One account: its findings in the order of its jobs, and its allowances by dataset.

    ``calls`` are those that WeChat may count, by dataset, and ``heard_at`` is when the last of them
    came to its end.
    """

    appid: str
    name: str
    findings: list[ProbeResult] = field(default_factory=list)
    allowances: dict[str, ReportedQuota] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    heard_at: float = 0.0

    @property
    def is_authorised(self) -> bool:
        """True if WeChat knows the account and lets us in, even if for nothing or not now."""
        return any(
            finding.state is State.NOT_READY or not finding.is_of_account
            for finding in self.findings
        )


@dataclass(slots=True)
class Check:
    """All accounts, in the manifest's order, and how many calls they cost, for tokens too."""

    accounts: list[AccountCheck] = field(default_factory=list)
    calls: int = 0

    def count(self, state: State) -> int:
        """Count the accounts in a state; the worst finding of an account counts."""
        worst = [
            max((finding.state for finding in account.findings), key=_severity, default=State.WORKS)
            for account in self.accounts
        ]
        return worst.count(state)

    def allowances(self) -> Iterator[tuple[tuple[str, str], ReportedQuota]]:
        """List what was told, by appid and dataset."""
        for account in self.accounts:
            for dataset, allowance in account.allowances.items():
                yield (account.appid, dataset), allowance

    @property
    def exit_code(self) -> Exit:
        """4 if no account was let in, 3 if one was refused something, 0 otherwise."""
        codes = {Exit.DONE}
        if not any(account.is_authorised for account in self.accounts):
            codes.add(Exit.UNAUTHORISED)
        if self.count(State.REFUSED) or self.count(State.NO_ANSWER):
            codes.add(Exit.INCOMPLETE)
        return min(codes, key=SEVERITY.index)


def _severity(state: State) -> int:
    return [State.WORKS, State.NOT_READY, State.NO_ANSWER, State.REFUSED].index(state)


def check(project: Project) -> Check:
    """Look at every account of a project that has a job, and keep what was learned for later runs.

    Raises UsageError if secrets are missing.
    """
    warn_of_open_files(project.manifest)
    found = check_accounts(project.manifest, run_context(project))
    try:
        save(found, project.manifest, project.tree, project.clock())
    except StoreError as error:
        _log.warning("what this look cost, and what it told of quotas, is not kept: %s", error)
    return found


def check_offline(project: Project) -> Touched:
    """Name what a run would reach for. Asks nothing."""
    warn_of_open_files(project.manifest)
    return touched(project.manifest)


def check_accounts(manifest: Manifest, world: RunContext) -> Check:
    """Look at every account that has a job; ``world`` is that of a run."""
    return anyio.run(_check, manifest, world)


def save(found: Check, manifest: Manifest, tree: Tree, now: float) -> None:
    """Keep what was told of the quotas, and what the look has spent of them. Raises StoreError."""
    told = dict(found.allowances())
    if told:
        quota_limits.write(tree, told, now)
    spent = _spent(found, manifest, now)
    if spent:
        quota_ledger.leave(tree, spent)


def _spent(found: Check, manifest: Manifest, now: float) -> dict[int, DayLedger]:
    """Return the data calls as notes of today, by bucket."""
    today, name, period = calendar.today(now), new_run_id(now), manifest.limits.per_token.period
    spent: dict[int, DayLedger] = {}
    for account in found.accounts:
        if not account.calls:
            continue
        bucket = bucket_of(account.appid, manifest.output.buckets)
        note = spent.setdefault(bucket, DayLedger(today, name, period=period))
        quiet_at = account.heard_at + period
        if quiet_at > now:
            note.idle_from = max(note.idle_from, quiet_at)
            note.recent_calls = max(note.recent_calls, account.calls.total())
        for dataset, calls in account.calls.items():
            note.add(dataset, account.appid, calls)
    return spent


async def _check(manifest: Manifest, world: RunContext) -> Check:
    asked = probes(manifest, world.now())
    accounts = [account for account in manifest.accounts if account.appid in asked]
    check = Check([AccountCheck(account.appid, account.name) for account in accounts])
    workers = max(1, min(manifest.limits.connections, len(accounts)))
    async with world.open_api() as api, Transport(api, connections=workers) as transport:
        office = TokenProviders(
            world.credentials,
            transport,
            clock=world.now,
            budget=_never,
            platform=world.platform,
        )
        async with TokenCache(office.provider, world.now) as tokens:
            inspector = _Prober(manifest, transport, tokens, world)
            queue = iter(check.accounts)
            async with anyio.create_task_group() as tasks:
                for _ in range(workers):
                    tasks.start_soon(_work, inspector, queue, asked)
    check.calls = inspector.calls + office.calls
    return check


async def _never(_: str) -> bool:
    """Refuse to replace a token by force for the sake of a look."""
    return False


async def _work(
    inspector: _Prober, queue: Iterable[AccountCheck], asked: dict[str, list[Probe]]
) -> None:
    for account in queue:
        await inspector.inspect(account, asked[account.appid])


class _Prober:
    """Makes the calls, those of one account one after the other and no faster than its rate."""

    def __init__(
        self, manifest: Manifest, transport: Transport, tokens: TokenCache, world: RunContext
    ) -> None:
        pace = manifest.limits.per_token
        self._pause = pace.period / pace.count
        self._policy = manifest.retry
        self._transport = transport
        self._tokens = tokens
        self._now = world.now
        self._dice = random.Random()
        self.calls = 0

    async def inspect(self, account: AccountCheck, asked: list[Probe]) -> None:
        """Ask what there is to ask of an account, up to the first word that is about all of it."""
        for probe in asked:
            finding = _finding(probe, await self._try(account, probe))
            account.findings.append(finding)
            if finding.is_of_account:
                return
            if finding.state is not State.REFUSED:
                await self._learn(account, probe)

    async def _try(self, account: AccountCheck, probe: Probe) -> RefusedAttempt | None:
        """Return None for an answer, or the last reason why there is none."""
        renewed, tries = False, 0
        while True:
            outcome = await self._ask(account, probe)
            if isinstance(outcome, bytes):
                return None
            action = outcome.rule.action
            tries += 1
            if action is Action.REFRESH_TOKEN and not renewed:
                renewed = True
            elif STATES[action] is not State.NO_ANSWER or tries >= self._most:
                return outcome
            elif action is not Action.RETRY_NOW:
                await anyio.sleep(backoff.delay(tries, self._policy, self._dice))

    async def _ask(self, account: AccountCheck, probe: Probe) -> bytes | RefusedAttempt:
        """Make one attempt. It has cost a call unless the server was not reached."""
        self.calls += 1
        outcome = await attempt.attempt(probe.window, probe.dataset, self._tokens, self._transport)
        if isinstance(outcome, bytes) or outcome.rule.action is not Action.HOST_DOWN:
            account.calls[probe.dataset.name] += 1
            account.heard_at = self._now()
        await anyio.sleep(self._pause)
        return outcome

    @property
    def _most(self) -> int:
        return min(MAX_ATTEMPTS, self._policy.max_attempts)

    async def _learn(self, account: AccountCheck, probe: Probe) -> None:
        """Ask for the quota of each dataset. It is good to know, and no more than that."""
        for dataset in probe.stands_for:
            with suppress(CallError, TokenRefused):
                token = await self._tokens.current(account.appid)
                self.calls += 1
                status, body = await self._transport.post(QUOTA_PATH, quota_body(dataset), token)
                allowance = allowance_of(status, body, self._now())
                if allowance is not None:
                    account.allowances[dataset.name] = allowance
            await anyio.sleep(self._pause)

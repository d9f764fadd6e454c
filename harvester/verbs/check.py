"""`check`: whether each account gets a token, which datasets it may ask, and its quotas.

An account costs a call for its token, one for each family of its datasets, and one for each
dataset's quota. A paused account costs one token and one call, which show whether it works again.
The result of an account changes nothing for the others. `inputs` makes no call.
"""

from __future__ import annotations

import logging
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import anyio

from harvester.core import calendar, readiness
from harvester.core.calendar import Clock
from harvester.core.config.credentials import Access
from harvester.core.config.settings import Limits, Manifest
from harvester.core.dataset import Dataset, Grain
from harvester.core.errors import HarvesterError, StoreError, UsageError
from harvester.core.model import Refusal, Window, bucket_of
from harvester.core.results import PausedAccount
from harvester.core.rule import NO_ANSWER, Action, Rule, Scope
from harvester.engine.ledger_files import LedgerFiles
from harvester.engine.lone_calls import LoneCalls, Outcome, may_count
from harvester.manifest.external_inputs import touched
from harvester.manifest.narrowing import Selection
from harvester.manifest.pause_lines import Refused, pause_lines
from harvester.planning.quota import DailyQuota
from harvester.planning.wanted_days import paused_accounts
from harvester.runs import token_comparison
from harvester.runs.access import open_line, run_context, with_paused
from harvester.runs.clock import CheckedClock
from harvester.runs.event_loop import run_in_loop
from harvester.runs.run_log import locked, new_run_log
from harvester.runs.runtime import Project, RunContext
from harvester.storage import layout
from harvester.storage.layout import Tree
from harvester.verbs.arguments import ManifestSource, Selecting, in_own_record, taking
from harvester.verbs.check_report import WHOLE_ACCOUNT, AccountCheck, Check, ProbeResult, State
from harvester.verbs.project import open_project, warn_of_doubts

_log = logging.getLogger("harvester.check")

TIME_TELLERS = 3
"""So many accounts are asked for WeChat's time, because the first may have no token."""

_LATER = (Action.SLOW_DOWN, Action.NOT_READY, Action.WAIT_FOR_QUOTA)
_REFUSED = (Action.REFRESH_TOKEN, Action.SPLIT, Action.STOP)
STATES = {
    **dict.fromkeys(NO_ANSWER, State.NO_ANSWER),
    **dict.fromkeys(_LATER, State.NOT_READY),
    **dict.fromkeys(_REFUSED, State.REFUSED),
}
"""The state after a refusal, by the action of its rule."""


_PROBE_AGE = 3
"""Age in days that a period must exceed to be asked by a check: newer ones may come late."""


class Probe(NamedTuple):
    """A call that shows whether an account may use a family, and the account's datasets of it."""

    window: Window
    dataset: Dataset
    stands_for: tuple[Dataset, ...]


def probes(manifest: Manifest, now: float, *, paused: bool = False) -> dict[str, list[Probe]]:
    """Choose a call for each family of each account that has a job, by appid.

    The families are those of the datasets that are asked, or of the ``paused`` ones. ``now`` is in
    seconds since the Unix epoch.
    """
    families = defaultdict[str, defaultdict[str, dict[str, Dataset]]](lambda: defaultdict(dict))
    for account, names in manifest.datasets_of_accounts():
        for dataset in map(manifest.datasets.__getitem__, names):
            if account.pauses(dataset.name) is paused:
                families[account.appid][dataset.family][dataset.name] = dataset
    return {
        appid: [_probe(appid, [*of_family.values()], now) for of_family in of_account.values()]
        for appid, of_account in families.items()
    }


def _probe(appid: str, datasets: list[Dataset], now: float) -> Probe:
    """Choose the newest period that is settled and no news, of the dataset with the fewest rows."""
    dataset = min(datasets, key=lambda each: (each.grain is Grain.HOUR, len(each.key)))
    age = max(_PROBE_AGE, dataset.settle)
    old = readiness.period_begin(dataset.grain, calendar.today(now) - age) - 1
    day = max(readiness.period_begin(dataset.grain, old), dataset.first_day)
    return Probe(Window(appid, dataset.name, day, day), dataset, tuple(datasets))


def _concerns_all(rule: Rule) -> bool:
    """Return whether no account can be asked for this cause; a token server is that of some."""
    return rule.is_local and rule.action is not Action.RETRY_NOW


def _probe_result(probe: Probe, outcome: Outcome) -> ProbeResult:
    probed = probe.dataset.permission, probe.dataset.name, calendar.date_of(probe.window.begin)
    if isinstance(outcome, bytes):
        return ProbeResult(probe.dataset.family, *probed, State.WORKS)
    rule, why = outcome.rule, outcome.why
    # A server that was not reached would not answer the account's other calls either.
    is_of_all = rule.scope in (Scope.ACCOUNT, Scope.RUN) or isinstance(why, str)
    family = WHOLE_ACCOUNT if is_of_all else probe.dataset.family
    errcode, errmsg, rid = (None, why, "") if isinstance(why, str) else why
    told = errmsg, rid, rule.meaning, rule.advice
    return ProbeResult(family, *probed, STATES[rule.action], errcode, *told)


def _unreadable(probe: Probe, error: UsageError) -> ProbeResult:
    """Return the finding for a credential with a variable or a file that is missing."""
    probed = probe.dataset.permission, probe.dataset.name, calendar.date_of(probe.window.begin)
    told = error.problem, "", "the credential cannot be read", error.advice
    return ProbeResult(WHOLE_ACCOUNT, *probed, State.REFUSED, None, *told)


@taking(Selecting)
def check(asked: Selecting) -> Check:
    """Ask for one token and one cheap call per family of each account; return who works.

    Keeps WeChat's quota numbers for later plans and runs. In a running event loop call it in a
    thread. Raises UsageError, Unauthorised or Unanswered if the accounts of a platform cannot be
    listed, and HarvesterError if the output cannot be read.
    """
    opened = partial(open_project, asked.manifest, asked.selection(), asked.output, "asked")
    return in_own_record(lambda: _check_project(opened()))


def _check_project(project: Project) -> Check:
    """Probe every account of a project that has a job, and save the quotas for later runs.

    A missing secret of a paused account is a finding of that account. Raises UsageError if other
    secrets are missing, and as `layout.check_folders`. If the quotas cannot be written, as while a
    run holds the accounts, the error is logged.
    """
    warn_of_doubts(project.manifest)
    with suppress(StoreError):
        # What cannot be read is reported when the quotas are saved.
        layout.check_folders(project.tree)
    found = anyio.run(check_accounts, project.manifest, with_paused(project, run_context(project)))
    refused, today = _refused(found, project.manifest), calendar.today(project.clock())
    found.pause_lines = [*pause_lines(project.manifest, refused, today)]
    try:
        save(found, project.manifest, project.tree, project.clock)
    except HarvesterError as error:
        _log.warning("the quotas and the calls of this check are not saved: %s", error.problem)
    return found


def _refused(found: Check, manifest: Manifest) -> Iterator[Refused]:
    """Yield the refusals of a check, each with the datasets of its family."""
    names = {account.appid: names for account, names in manifest.datasets_of_accounts()}
    families = {name: dataset.family for name, dataset in manifest.datasets.items()}
    for account in found.accounts:
        for finding in account.findings:
            if finding.state is State.REFUSED:
                datasets = (x for x in names[account.appid] if families[x] == finding.family)
                yield Refused(account.appid, (*datasets,), finding.errcode, finding.meaning)


def save(found: Check, manifest: Manifest, tree: Tree, clock: CheckedClock) -> None:
    """Save the reported quotas, and the calls that the check has spent of them.

    Raises as `locked`, Busy if a run goes on holding one of the buckets; StoreError, and UsageError
    for a ledger of a newer version.
    """
    by_bucket = defaultdict[int, list[AccountCheck]](list)
    for account in found.everyone:
        if account.calls or account.allowances:
            by_bucket[bucket_of(account.appid, tree.buckets)].append(account)
    stream = new_run_log(manifest.file, clock).stream
    if by_bucket:
        with locked(tree, by_bucket, stream, None) as held:
            files = LedgerFiles(held, stream.own.run_id, clock.moment)
            run_in_loop(partial(_enter, by_bucket, manifest.limits, files, clock))


async def _enter(
    by_bucket: Mapping[int, list[AccountCheck]], limits: Limits, files: LedgerFiles, clock: Clock
) -> None:
    """Enter the calls and the quotas of accounts into the ledgers of their buckets."""
    await files.open(calendar.today(clock()), by_bucket, limits.per_token.rate)
    for bucket, accounts in by_bucket.items():
        ledger, made = files.ledgers[bucket], Counter[str]()
        for account in accounts:
            made[account.appid] += account.calls.total()
            for dataset, calls in account.calls.items():
                ledger.add(dataset, account.appid, calls)
            for dataset, told in account.allowances.items():
                counted = min(told.used, ledger.spent(dataset, account.appid))
                DailyQuota(limits, ledger, dataset, account.appid).answered(told, counted)
        # Calls of the last period still count in WeChat's rate limit.
        ledger.add_recent(max(made.values()), clock())
    await files.close()


async def check_accounts(manifest: Manifest, context: RunContext) -> Check:
    """Probe every account that has a job."""
    clock, accounts = context.clock, manifest.asked_accounts
    check = Check(
        [AccountCheck(account.appid, account.name) for account in accounts],
        paused=[AccountCheck(x.appid, x.name, paused=x) for x in paused_accounts(manifest)],
    )
    # The calls of one account are made one after the other, also if a part of it is paused.
    by_appid: defaultdict[str, list[AccountCheck]] = defaultdict(list)
    for each in check.everyone:
        by_appid[each.appid].append(each)
    workers = max(1, min(manifest.limits.connections, len(by_appid)))
    # No token is replaced by force: a check must not end one that others use.
    async with open_line(context, workers) as (transport, tokens, providers):
        calls = LoneCalls(transport, tokens, manifest, clock)
        # The days to ask for are chosen by WeChat's time if this machine's is off.
        for account in accounts[:TIME_TELLERS]:
            if clock.is_checked:
                break
            await tokens.request_ahead(account.appid)
            # A token from elsewhere brings no time, and this question spends nothing.
            if not clock.is_checked:
                await calls.ask_quota(account.appid, next(iter(manifest.datasets.values())))
        clock.correct()
        await token_comparison.compare(context, tokens, [each.appid for each in accounts])
        asked, paused = (probes(manifest, clock(), paused=each) for each in (False, True))
        prober = _Prober(asked, paused, calls, context.credentials)
        # The workers share the iterator, so that each account is taken once.
        queue = iter(by_appid.values())
        async with anyio.create_task_group() as tasks:
            for _ in range(workers):
                tasks.start_soon(prober.work, queue)
    check.calls = calls.made + providers.calls
    return check


@dataclass(slots=True)
class _Prober:
    """Makes the probes of accounts, which are given by appid."""

    asked: Mapping[str, list[Probe]]
    paused: Mapping[str, list[Probe]]
    calls: LoneCalls
    credentials: Callable[[str], Access]
    _never_heard: bool = True
    _cut_off: Outcome | None = None

    async def work(self, queue: Iterator[list[AccountCheck]]) -> None:
        """Probe accounts one after the other, as long as there are any in the queue."""
        for parts in queue:
            for account in parts:
                await (self.try_paused(account) if account.paused else self.probe(account))
            # They are asked no more, and there may be more of them than connections.
            self.calls.transport.pool.close_account(parts[0].appid)

    async def probe(self, account: AccountCheck) -> None:
        """Make the probes of an account, up to the first result that holds for all of it.

        If WeChat was never heard, for a cause on this machine's side, that is the result of all
        further accounts.
        """
        for probe in self.asked[account.appid]:
            outcome = self._cut_off or await self._try(account, probe)
            # A proxy or a certificate fails for all accounts alike, and each would wait anew.
            if not isinstance(outcome, bytes) and self._never_heard and _concerns_all(outcome.rule):
                self._cut_off = outcome
            finding = _probe_result(probe, outcome)
            account.findings.append(finding)
            if finding.is_of_account:
                break
            if finding.state is not State.REFUSED:
                for dataset in probe.stands_for:
                    allowance = await self.calls.ask_quota(account.appid, dataset)
                    if allowance is not None:
                        account.allowances[dataset.name] = allowance

    async def try_paused(self, account: AccountCheck) -> None:
        """Make the first probe of a paused account, if its credential can be read."""
        probe = self.paused[account.appid][0]
        try:
            self.credentials(account.appid)
        except UsageError as error:
            account.findings.append(_unreadable(probe, error))
        else:
            account.findings.append(_probe_result(probe, await self._try(account, probe)))

    async def _try(self, account: AccountCheck, probe: Probe) -> Outcome:
        """Make a few attempts. Each counts against the quota unless nothing was sent."""

        async def once() -> Outcome:
            outcome = await self.calls.attempt(probe.window, probe.dataset)
            if isinstance(outcome, bytes) or isinstance(outcome.why, Refusal):
                self._never_heard, self._cut_off = False, None
            if may_count(outcome):
                account.calls[probe.dataset.name] += 1
            return outcome

        return await self.calls.few(once)


class Inputs(NamedTuple):
    """Variables, files, programs and hosts that a run would use.

    ``accounts`` and ``jobs`` are numbers. ``unset`` are variables that the run needs and that are
    not set, ``missing`` files that do not exist.
    """

    accounts: int
    jobs: int
    paused: tuple[PausedAccount, ...]
    variables: tuple[str, ...]
    files: tuple[Path, ...]
    programs: tuple[str, ...]
    hosts: tuple[str, ...]
    unset: tuple[str, ...]
    missing: tuple[Path, ...]


def inputs(
    manifest: ManifestSource, chosen: Selection, output: str | os.PathLike[str] | None
) -> Inputs:
    """Return the hosts, variables, files and programs that a run would use. Makes no call.

    Raises UsageError.
    """
    narrowed = open_project(manifest, chosen, output, "optional").manifest
    warn_of_doubts(narrowed)
    variables, files, programs, hosts, required = touched(narrowed)
    about = len(narrowed.accounts), len(narrowed.jobs), paused_accounts(narrowed)
    unset = tuple(name for name in required if not os.environ.get(name))
    missing = tuple(file for file in files if not file.exists())
    return Inputs(*about, variables, files, programs, hosts, unset, missing)

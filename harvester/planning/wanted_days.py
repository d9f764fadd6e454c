"""Wanted days of a manifest, and the plan of the requests for the missing ones.

All of it is arithmetic on day sets. A plan is never a list of windows, so that ten thousand
accounts over ten years cost a few integers each.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from harvester.core import calendar, readiness
from harvester.core.calendar import NO_DAYS, DaySet
from harvester.core.config.settings import Account, Job, Manifest, Pace
from harvester.core.dataset import Dataset
from harvester.core.results import DatasetPlan, PausedAccount
from harvester.core.text.inert_text import inert
from harvester.core.windows import count_windows
from harvester.planning import bucket_sizing, sharding
from harvester.planning.ledger import Calls
from harvester.planning.quota import with_retries

CPU_SECONDS_PER_REQUEST = 0.00015
"""CPU seconds per request on one core, measured: see docs/performance.md."""

Wanted = dict[str, dict[str, DaySet]]
"""Days that the manifest asks for and WeChat can answer, by dataset name and appid."""


class Missing(NamedTuple):
    """The days that a run asks for.

    Answers about the days of ``again`` may replace final rows.
    """

    days: Wanted
    again: Wanted


def wanted_days(account: Account, job: Job, dataset: Dataset, now: float) -> DaySet:
    """Return the days of a dataset that a job wants of an account, if they exist and are ready.

    A week or a month is its first day, and is wanted if that day lies in the range. ``now`` is in
    seconds since the Unix epoch.
    """
    newest = readiness.newest_ready(dataset, now)
    begin = max(job.begin, dataset.first_day, account.begin_date or job.begin)
    end = min(
        newest if job.end is None else min(job.end, newest),
        newest if account.end_date is None else account.end_date,
    )
    return readiness.periods(dataset.grain, begin, end)


def wanted(manifest: Manifest, now: float, *, paused_too: bool = False) -> Wanted:
    """Return the days that all jobs want. An account without any is left out.

    So are paused datasets of accounts, unless ``paused_too`` asks what they would want.
    """
    accounts = _by_appid(manifest)
    result: Wanted = {}
    for job in manifest.jobs:
        for name in job.datasets:
            dataset = manifest.datasets[name]
            of_dataset = result.setdefault(name, {})
            asked = _of_job(accounts, job) if paused_too else _asked(accounts, job, name)
            for account in asked:
                if found := wanted_days(account, job, dataset, now):
                    # Accounts with equal days share one object, which saves memory.
                    other = of_dataset.get(account.appid)
                    of_dataset[account.appid] = found | other if other else found
    return result


def _by_appid(manifest: Manifest) -> dict[str, Account]:
    return {account.appid: account for account in manifest.accounts}


def _of_job(accounts: Mapping[str, Account], job: Job) -> list[Account]:
    return [accounts[appid] for appid in job.appids if appid in accounts]


def _asked(accounts: Mapping[str, Account], job: Job, dataset: str) -> list[Account]:
    """Return the accounts of a job of which a dataset is asked."""
    found = _of_job(accounts, job)
    return [each for each in found if each.paused is None or not each.pauses(dataset)]


def next_ready_at(manifest: Manifest, now: float) -> float | None:
    """Return when the next day gets ready that a job wants; None if no job wants a later day.

    ``now`` and the result, which is later, are in seconds since the Unix epoch.
    """
    accounts = _by_appid(manifest)
    found = (
        _next_ready_at(_asked(accounts, job, name), job, manifest.datasets[name], now)
        for job in manifest.jobs
        for name in job.datasets
    )
    return min((at for at in found if at is not None), default=None)


def _next_ready_at(accounts: list[Account], job: Job, dataset: Dataset, now: float) -> float | None:
    # Two, because a job may begin in the middle of the present week or month.
    for _ in range(2):
        day, now = readiness.next_ready(dataset, now)
        if (job.end is None or day <= job.end) and any(
            calendar.has_day(wanted_days(account, job, dataset, now), day) for account in accounts
        ):
            return now
    return None


def calls_kept(manifest: Manifest, now: float) -> Calls:
    """Return the calls that a run leaves for days that get ready later today, retries included."""
    end = calendar.instant(calendar.today(now) + 1) - 1
    changing = {
        name: dataset
        for name, dataset in manifest.datasets.items()
        if readiness.newest_ready(dataset, end) > readiness.newest_ready(dataset, now)
    }
    # Options narrow a run and not the needs of the day, so all jobs count.
    jobs = (
        replace(job, datasets=tuple(name for name in job.datasets if name in changing))
        for job in manifest.all_jobs or manifest.jobs
    )
    whole = sharding.with_jobs(manifest, jobs)
    want = wanted(whole, now)
    return {
        name: {
            appid: with_retries(count_windows(later, changing[name].span))
            for appid, found in of_dataset.items()
            if (later := found & ~want[name].get(appid, NO_DAYS))
        }
        for name, of_dataset in wanted(whole, end).items()
    }


def bound_seconds(requests: Iterable[int], pace: Pace) -> tuple[float, str]:
    """Return the lower bound of a run in seconds and its cause: ``rate``, ``cpu``, ``nothing``.

    ``requests`` are numbers by account. The account with the most needs ``(requests - burst) /
    rate``, and one core its time per request; the greater is the bound.
    """
    counts = list(requests)
    if not sum(counts):
        return 0.0, "nothing"
    paced = max(0.0, (max(counts) - pace.burst) * pace.rate.period / pace.rate.count)
    cpu = sum(counts) * CPU_SECONDS_PER_REQUEST
    return (round(paced, 3), "rate") if paced >= cpu else (round(cpu, 3), "cpu")


@dataclass(frozen=True, slots=True)
class Plan:
    """Requests of a run that began now, and warnings for the user.

    ``bound`` is its lower bound in seconds, and the cause. ``paused`` accounts are not asked and
    have no days in it.
    """

    datasets: tuple[DatasetPlan, ...]
    requests: int
    account_days: int
    bound: tuple[float, str]
    warnings: tuple[str, ...] = ()
    paused: tuple[PausedAccount, ...] = ()


def paused_accounts(manifest: Manifest) -> tuple[PausedAccount, ...]:
    """Return the accounts of which a job has paused datasets, in the manifest's order."""
    return tuple(
        PausedAccount(
            account.appid,
            account.name,
            pause.reason,
            () if len(paused) == len(names) else (*dict.fromkeys(paused),),
            None if pause.until is None else calendar.date_of(pause.until),
        )
        for account, names in manifest.datasets_of_accounts()
        if (pause := account.paused) and (paused := [*filter(account.pauses, names)])
    )


def summarise(manifest: Manifest, want: Wanted, missing: Missing) -> Plan:
    """Add up a plan from the wanted and the missing days of a run."""
    per_account, per_dataset = Counter[str](), Counter[str]()
    for dataset, appid, lacking in each_missing(manifest, missing):
        requests = count_windows(lacking, dataset.span)
        per_account[appid] += requests
        per_dataset[dataset.name] += requests
    rows = tuple(
        _dataset_plan(name, per_dataset[name], of_dataset, missing.days.get(name, {}))
        for name, of_dataset in want.items()
    )
    return Plan(
        datasets=rows,
        requests=per_dataset.total(),
        account_days=sum(row.account_days for row in rows),
        bound=bound_seconds(per_account.values(), manifest.limits.per_token),
        warnings=(*_clip_warnings(manifest, want), *bucket_sizing.warnings(manifest, want)),
        paused=paused_accounts(manifest),
    )


def each_missing(manifest: Manifest, missing: Missing) -> Iterator[tuple[Dataset, str, DaySet]]:
    """Yield what an account lacks of a dataset: both, and the days."""
    for name, dataset in manifest.datasets.items():
        for appid, lacking in missing.days.get(name, {}).items():
            if lacking:
                yield dataset, appid, lacking


def _dataset_plan(
    name: str, requests: int, want: dict[str, DaySet], missing: dict[str, DaySet]
) -> DatasetPlan:
    everything = functools.reduce(int.__or__, missing.values(), NO_DAYS)
    return DatasetPlan(
        dataset=name,
        accounts=sum(1 for lacking in missing.values() if lacking),
        requests=requests,
        account_days=sum(map(calendar.count_days, missing.values())),
        wanted=sum(map(calendar.count_days, want.values())),
        begin=calendar.date_of(calendar.oldest(everything)) if everything else None,
        end=calendar.date_of(calendar.newest(everything)) if everything else None,
    )


def _clip_warnings(manifest: Manifest, want: Wanted) -> Iterator[str]:
    """Name the jobs that were clipped, because silence would look like fetched days."""
    accounts = {account.appid: account for account in manifest.asked_accounts}
    for job in manifest.jobs:
        clipped = sum(_is_clipped(account, job) for account in _of_job(accounts, job))
        if clipped:
            yield f"{inert(job.name)}: {_accounts(clipped)} limited by account dates"
        for name in job.datasets:
            dataset = manifest.datasets[name]
            if job.begin < dataset.first_day:
                yield f"{inert(job.name)}: {name} begins on {calendar.day_text(dataset.first_day)}"
            asked = _asked(accounts, job, name)
            nothing = sum(account.appid not in want[name] for account in asked)
            if nothing:
                days = f"{_accounts(nothing)} without days of {name} in this range"
                yield f"{inert(job.name)}: {days}"


def _is_clipped(account: Account, job: Job) -> bool:
    """Return whether an account's own dates shorten a job."""
    begins_late = account.begin_date is not None and account.begin_date > job.begin
    ends_early = account.end_date is not None and (job.end is None or account.end_date < job.end)
    return begins_late or ends_early


def _accounts(count: int) -> str:
    return "1 account is" if count == 1 else f"{count:,} accounts are"

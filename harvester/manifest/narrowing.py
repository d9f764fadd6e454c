"""The selection of the command line, applied to a manifest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from typing import Any, NamedTuple

from harvester.core import calendar
from harvester.core.config.parsers import parsed
from harvester.core.config.references import quote_safe
from harvester.core.config.settings import Account, Job, Manifest
from harvester.core.errors import UsageError
from harvester.core.model import is_appid
from harvester.manifest.account_selection import AccountIndex, datasets_named, listed, unknown
from harvester.manifest.option_values import day_option, end_day_option, spelled

_HIDDEN = "(a name)"
"""Stands for words by which accounts are selected, where no file may name them."""


_MAX_JOBS = 3
"""Jobs that a hint describes."""


class Selection(NamedTuple):
    """Filters of the command line. An empty field filters nothing.

    Days are dates, or spelled as in a job; ``accounts`` holds appids, names, ``tag:NAME`` or
    ``NAME=VALUE`` of an attribute.
    """

    begin_date: str | date | None = None
    end_date: str | date | None = None
    accounts: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    jobs: tuple[str, ...] = ()

    def days(self, now: float) -> tuple[calendar.Day | None, calendar.Day | None]:
        """Return the first and the last day, None for no limit. Raises UsageError."""
        begin = day_option("begin_date", self.begin_date, now)
        end = end_day_option("end_date", self.end_date, now)
        if begin is not None and end is not None and begin > end:
            raise UsageError(f"{spelled('begin_date')} is after {spelled('end_date')}", "swap them")
        return begin, end

    def texts(self, *, names: bool = True) -> dict[str, Any]:
        """Return the filters that are set as values for JSON, or without ``names`` of accounts."""
        accounts = tuple(word if names or is_appid(word) else _HIDDEN for word in self.accounts)
        return {
            name: [*value] if isinstance(value, tuple) else str(value)
            for name, value in self._replace(accounts=accounts)._asdict().items()
            if value
        }


ALL = Selection()
"""The whole manifest."""


def narrow(manifest: Manifest, selection: Selection, now: float) -> Manifest:
    """Return the selected part of a manifest. A selection never adds to a job.

    Jobs without days, accounts or datasets left are dropped, but kept in ``all_jobs``. ``now`` is
    in seconds since the Unix epoch. Raises UsageError for names that the manifest does not have,
    and if no job is left.
    """
    today = calendar.today(now)
    begin, end = selection.days(now)
    accounts = _chosen_accounts(manifest.accounts, selection.accounts)
    chosen = _chosen_jobs(manifest.jobs, selection.jobs)
    # Of all jobs: a dataset that only another job has is no unknown one.
    wanted = frozenset(name for job in manifest.jobs for name in job.datasets)
    names = _chosen_datasets(selection.datasets, wanted)
    appids = {account.appid for account in accounts}
    jobs = [
        replace(
            job,
            datasets=tuple(name for name in job.datasets if name in names),
            appids=tuple(appid for appid in job.appids if appid in appids),
            begin=job.begin if begin is None else max(job.begin, begin),
            # None is the newest day that is ready, so later than any other.
            end=min((day for day in (job.end, end) if day is not None), default=None),
        )
        for job in chosen
    ]
    left = tuple(
        job for job in jobs if job.datasets and job.appids and job.begin <= _last_day(job, today)
    )
    if not left:
        raise _nothing_left(chosen, selection, today)
    # A manifest that was narrowed before keeps the jobs that it had as a whole.
    everything = manifest.all_jobs or manifest.jobs
    return replace(manifest, accounts=accounts, jobs=left, all_jobs=everything)


def _nothing_left(jobs: Sequence[Job], selection: Selection, today: calendar.Day) -> UsageError:
    """Return the error for options that leave nothing of these jobs, with what the first have.

    Without options the cause is a clock of this machine that stands before their first days.
    """
    options = (
        f"{spelled(name)}{quote_safe(given if isinstance(given, str) else ','.join(given))}"
        for name, given in selection.texts().items()
    )
    have = (
        f"{listed([job.name])} has {listed(job.datasets)} of {listed(job.appids)},"
        f" {calendar.day_text(job.begin)} to {calendar.day_text(_last_day(job, today))}"
        for job in jobs[:_MAX_JOBS]
    )
    why = ", ".join(options) or f"this machine's clock, which says {calendar.day_text(today)}"
    return UsageError(f"no job is left by {why}", "; ".join(have))


def _last_day(job: Job, today: calendar.Day) -> calendar.Day:
    return today - 1 if job.end is None else job.end


def meant(
    manifest: Manifest, accounts: Sequence[str], datasets: Sequence[str]
) -> tuple[frozenset[str], frozenset[str]]:
    """Return the appids and datasets that an option names, whether jobs have them or not.

    An appid need not be in the manifest any more; ``all`` means the manifest's accounts. Without
    words for datasets all are returned. Raises UsageError for unknown words.
    """
    plain = [word for word in accounts if is_appid(word)]
    others = [word for word in accounts if word not in plain and word != "all"]
    named = _chosen_accounts(manifest.accounts, others) if others else ()
    every = manifest.accounts if "all" in accounts else ()
    appids = frozenset([*plain, *(account.appid for account in (*named, *every))])
    return appids, _chosen_datasets(datasets, frozenset(manifest.datasets))


def _chosen_accounts(accounts: tuple[Account, ...], words: Sequence[str]) -> tuple[Account, ...]:
    if not words:
        return accounts
    known, option = AccountIndex(accounts), f"{spelled('accounts')}:"
    chosen = {appid for word in words for appid in parsed(option, word, known.selected)}
    return tuple(account for account in accounts if account.appid in chosen)


def _chosen_datasets(patterns: Sequence[str], wanted: frozenset[str]) -> frozenset[str]:
    """Return the datasets that an option names, or ``wanted`` without patterns."""
    if not patterns:
        return wanted
    names, option = set[str](), f"{spelled('datasets')}:"
    for pattern in patterns:
        here = wanted.intersection(parsed(option, pattern, datasets_named))
        if not here:
            hint = f"the jobs have {listed(sorted(wanted))}"
            raise UsageError(f"{option} no job has{quote_safe(pattern)}", hint)
        names |= here
    return frozenset(names)


def _chosen_jobs(jobs: tuple[Job, ...], names: Sequence[str]) -> tuple[Job, ...]:
    known = [job.name for job in jobs]
    if strange := [name for name in names if name not in known]:
        flaw = unknown("job", strange[0], known)
        raise UsageError(f"{spelled('jobs')}: {flaw.what}", flaw.hint)
    return tuple(job for job in jobs if not names or job.name in names)

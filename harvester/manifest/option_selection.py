"""The selection of the command line, applied to a manifest, and parsers of single options."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, TypeVar

from harvester.catalogue import matching
from harvester.core import calendar
from harvester.core.config import parsers
from harvester.core.config.references import quote_safe
from harvester.core.config.settings import Account, Job, Manifest
from harvester.core.errors import UsageError
from harvester.core.model import is_appid
from harvester.manifest.attributes import attributed, is_attribute, with_attribute
from harvester.manifest.diagnostics import nearest
from harvester.manifest.job_selection import known_tags, listed, tags_of, unknown_dataset

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Selection:
    """Filters of the command line. An empty field filters nothing.

    Dates are spelled as in a job; ``accounts`` holds appids, names, ``tag:NAME`` or
    ``NAME=VALUE`` of an attribute.
    """

    begin_date: str | None = None
    end_date: str | None = None
    accounts: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    jobs: tuple[str, ...] = ()


ALL = Selection()
"""The whole manifest."""

_TAG = "tag:"


def narrow(manifest: Manifest, selection: Selection, now: float) -> Manifest:
    """Return the selected part of a manifest. A selection never adds to a job.

    Jobs without days, accounts or datasets left are dropped, but kept in ``all_jobs``. ``now`` is
    in seconds since the Unix epoch. Raises UsageError for names that the manifest does not have,
    and if no job is left.
    """
    today = calendar.today(now)
    begin = day_option("--begin-date", selection.begin_date, now)
    end = end_day_option("--end-date", selection.end_date, now)
    if begin is not None and end is not None and begin > end:
        raise UsageError("--begin-date is after --end-date", "swap them")
    accounts = _chosen_accounts(manifest.accounts, selection.accounts)
    chosen = _chosen_jobs(manifest.jobs, selection.jobs)
    wanted = frozenset(name for job in manifest.jobs for name in job.datasets)
    names = _chosen_datasets(selection.datasets, wanted)
    appids = {account.appid for account in accounts}
    jobs = [
        dataclasses.replace(
            job,
            datasets=tuple(name for name in job.datasets if name in names),
            appids=tuple(appid for appid in job.appids if appid in appids),
            begin=job.begin if begin is None else max(job.begin, begin),
            end=_earlier(job.end, end),
        )
        for job in chosen
    ]
    left = tuple(job for job in jobs if _has_work(job, today))
    if not left:
        _refuse_nothing(chosen, jobs, selection, today)
    everything = manifest.all_jobs or manifest.jobs
    return dataclasses.replace(manifest, accounts=accounts, jobs=left, all_jobs=everything)


def _refuse_nothing(
    whole: Sequence[Job], narrowed: Sequence[Job], selection: Selection, today: calendar.Day
) -> NoReturn:
    """Raise the UsageError that names the options which leave nothing, and what the jobs have.

    ``narrowed`` are the whole jobs without the datasets, accounts and days that are not selected.
    """
    with_datasets = [job for job in narrowed if job.datasets]
    if not with_datasets:
        there = sorted({name for job in whole for name in job.datasets})
        raise UsageError("--datasets: not in these jobs", f"they have {listed(there)}")
    if not any(job.appids for job in narrowed):
        appids = [*dict.fromkeys(appid for job in whole for appid in job.appids)]
        hint = f"the jobs have {_accounts(len(appids))}: {listed(appids)}"
        raise UsageError("--accounts: no job has these accounts", hint)
    found = [job for job in with_datasets if job.appids]
    if not found:
        pairs = (f"{listed(job.datasets)} of {_accounts(len(job.appids))}" for job in whole)
        hint = f"the jobs have {'; '.join(pairs)}"
        raise UsageError("--accounts and --datasets: no job has both", hint)
    names = {job.name for job in found}
    same = [job for job in whole if job.name in names]
    begin = min(job.begin for job in same)
    end = max(today - 1 if job.end is None else job.end for job in same)
    hint = f"the jobs have {calendar.day_text(begin)} to {calendar.day_text(end)}"
    option, text = "--begin-date and --end-date", ""
    if all(job.begin > end for job in found):
        option, text = "--begin-date", selection.begin_date or ""
        raise UsageError(f"{option}{quote_safe(text)} is after the last day of the jobs", hint)
    if all(job.end is not None and job.end < begin for job in found):
        option, text = "--end-date", selection.end_date or ""
        raise UsageError(f"{option}{quote_safe(text)} is before the first day of the jobs", hint)
    raise UsageError(f"{option} leave no day of any job", hint)


def _accounts(count: int) -> str:
    return f"{count:,} account{'' if count == 1 else 's'}"


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


def day_option(option: str, text: str | None, now: float) -> calendar.Day | None:
    """Parse a day, ``2024-01-31`` or ``-30d``, or return None for None. Raises UsageError."""
    return _option(option, text, lambda text: parsers.begin_day(text, calendar.today(now)))


def end_day_option(option: str, text: str | None, now: float) -> calendar.Day | None:
    """Parse ``yesterday``, ``2024-01-31`` or ``-30d``; None is the newest day that is ready.

    Raises UsageError.
    """
    return _option(option, text, lambda text: parsers.end_day(text, calendar.today(now)))


def duration_option(option: str, text: str | None) -> float | None:
    """Parse ``50m`` as seconds, or return None for None. Raises UsageError."""
    return _option(option, text, lambda text: parsers.duration(text, longest=math.inf))


def timeout_option(option: str, text: str | None) -> float | None:
    """Parse ``10m`` or ``0`` as seconds, or return None for None. Raises UsageError."""
    return 0.0 if text == "0" else duration_option(option, text)


def place_named(text: str) -> Path | str:
    """Parse the output of the command line: a path or an object store. Raises UsageError."""
    if "://" not in text:
        return Path(text)
    return parsers.parsed("--output", text, parsers.place)


def _option(option: str, text: str | None, parse: Callable[[str], _T]) -> _T | None:
    return None if text is None else parsers.parsed(f"{option}{quote_safe(text)}", text, parse)


def _earlier(end: calendar.Day | None, other: calendar.Day | None) -> calendar.Day | None:
    """Return the earlier end. None is the newest day that is ready, so later than any other."""
    return min((day for day in (end, other) if day is not None), default=None)


def _has_work(job: Job, today: calendar.Day) -> bool:
    end = today - 1 if job.end is None else job.end
    return bool(job.datasets and job.appids) and job.begin <= end


def _chosen_accounts(accounts: tuple[Account, ...], words: Sequence[str]) -> tuple[Account, ...]:
    if not words:
        return accounts
    by_name = {f"{_TAG}{tag}": appids for tag, appids in tags_of(accounts).items()}
    for account in accounts:
        for name in dict.fromkeys((account.appid, account.name or account.appid)):
            by_name.setdefault(name, []).append(account.appid)
    known = attributed(accounts)
    for word in words:
        if is_attribute(word) and word not in by_name:
            by_name[word] = parsers.parsed(
                "--accounts:", word, lambda word: with_attribute(word, known)
            )
    tags = [name.removeprefix(_TAG) for name in by_name if name.startswith(_TAG)]
    for word in words:
        if word.startswith(_TAG) and word not in by_name:
            tag = word.removeprefix(_TAG)
            hint = nearest(tag, tags) or known_tags(tags)
            raise UsageError(f"--accounts: unknown tag{quote_safe(tag)}", hint)
    _check_known("--accounts", "account", words, by_name)
    chosen = {appid for word in words for appid in by_name[word]}
    return tuple(account for account in accounts if account.appid in chosen)


def _chosen_datasets(patterns: Sequence[str], wanted: frozenset[str]) -> frozenset[str]:
    """Return the datasets that an option names, or ``wanted`` without patterns."""
    if not patterns:
        return wanted
    names: set[str] = set()
    for pattern in patterns:
        found = matching(pattern)
        if not found:
            what, hint = unknown_dataset(pattern)
            raise UsageError(f"--datasets: {what}", hint)
        here = wanted & {dataset.name for dataset in found}
        if not here:
            hint = f"the jobs have {listed(sorted(wanted))}"
            raise UsageError(f"--datasets: no job has{quote_safe(pattern)}", hint)
        names |= here
    return frozenset(names)


def _chosen_jobs(jobs: tuple[Job, ...], names: Sequence[str]) -> tuple[Job, ...]:
    if not names:
        return jobs
    _check_known("--jobs", "job", names, [job.name for job in jobs])
    return tuple(job for job in jobs if job.name in names)


def _check_known(option: str, noun: str, words: Sequence[str], known: Collection[str]) -> None:
    """Raise UsageError for the first word that is not known."""
    for word in words:
        if word not in known:
            hint = nearest(word, known) or f"the manifest has {listed([*known])}"
            raise UsageError(f"{option}: unknown {noun}{quote_safe(word)}", hint)

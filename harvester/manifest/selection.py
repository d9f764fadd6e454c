"""Which accounts and datasets a job means, and how the command line narrows that."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeVar

from harvester.catalogue import CATALOGUE, matching, retirement
from harvester.core import calendar, parsers
from harvester.core.config import Account, Job, Manifest
from harvester.core.errors import InvalidValue, UsageError
from harvester.core.model import is_appid
from harvester.core.references import shown
from harvester.core.selection import Selection
from harvester.manifest import models
from harvester.manifest.diagnostics import Diagnostics, LoadContext, Step, Where, nearest

_T = TypeVar("_T")

_HINTED = 20
"""How many unknown appids of a job get a hint: more are no typing errors, and hints take time."""


class Known(NamedTuple):
    """What jobs may name: appids, and tags with the appids that have them."""

    appids: dict[str, None]
    tags: dict[str, list[str]]


def tags_of(accounts: Iterable[Account]) -> dict[str, list[str]]:
    """The appids of each tag, in the order of the accounts."""
    tagged: dict[str, list[str]] = {}
    for account in accounts:
        for tag in account.tags:
            tagged.setdefault(tag, []).append(account.appid)
    return tagged


def known_from(accounts: Sequence[Account]) -> Known:
    """What the jobs of these accounts may name."""
    return Known(dict.fromkeys(account.appid for account in accounts), tags_of(accounts))


def job_of(
    written: models.Job, index: int, where: Where, *, known: Known, reading: LoadContext
) -> Job:
    """A job with its datasets and appids in full; what it names and nobody knows is a mistake."""
    mistakes = reading.mistakes
    if written.end_date is not None and written.end_date < written.begin_date:
        mistakes.add(where(("end_date",)), "`end_date` is before `begin_date`", "swap them")
    return Job(
        name=str(written.name or f"job-{index + 1}"),
        datasets=_datasets(written, where, mistakes),
        appids=_appids(written.accounts, _Finder(where, known, reading)),
        begin=written.begin_date,
        end=written.end_date,
    )


def _datasets(written: models.Job, where: Where, mistakes: Diagnostics) -> tuple[str, ...]:
    names: dict[str, None] = {}
    for index, pattern in enumerate(written.datasets):
        found = matching(pattern)
        names.update(dict.fromkeys(dataset.name for dataset in found))
        if not found:
            mistakes.add(where(("datasets", index)), *_not_meant(pattern))
    return tuple(names)


def _not_meant(pattern: str) -> tuple[str, str]:
    """What is wrong with a pattern that means no dataset, and a hint."""
    retired = retirement(pattern)
    if retired:
        return retired
    names = [*CATALOGUE, *(dataset.api for dataset in CATALOGUE.values())]
    hint = nearest(pattern, names) or "`harvester datasets` lists them"
    return f"unknown dataset{shown(pattern)}", hint


def _appids(written: str | list[str] | models.Chosen, find: _Finder) -> tuple[str, ...]:
    everybody = tuple(find.known.appids)
    if written == "all":
        return everybody
    if isinstance(written, str):
        return find.appids((written,), ("accounts",))
    if isinstance(written, list):
        return find.appids(written, ("accounts",))
    mistakes = find.reading.mistakes
    before = len(mistakes.found)
    chosen = everybody
    if written.tags is not None:
        tagged = find.tags(written.tags, ("accounts", "tags"))
        chosen = tuple(appid for appid in everybody if appid in tagged)
    without = set(find.appids(written.without or (), ("accounts", "except")))
    left = tuple(appid for appid in chosen if appid not in without)
    if chosen and not left and len(mistakes.found) == before and not find.reading.loose:
        what, hint = "`accounts` leaves none", "widen it or drop the job"
        mistakes.add(find.where(("accounts",)), what, hint)
    return left


class _Finder(NamedTuple):
    """Looks names up and reports those nobody knows, each at its place."""

    where: Where
    known: Known
    reading: LoadContext

    def appids(self, names: Sequence[str], loc: tuple[Step, ...]) -> tuple[str, ...]:
        """The names that are appids, each once."""
        unknown = [
            (index, name)
            for index, name in enumerate(names)
            if name not in self.known.appids and not self.is_excused(name)
        ]
        for count, (index, name) in enumerate(unknown):
            hint = nearest(name, self.known.appids) if count < _HINTED else ""
            if name in self.known.tags:
                hint = f"a tag is written {{tags: [{name}]}}"
            place = self.where((*loc, index))
            self.reading.mistakes.add(place, f"unknown account{shown(name)}", hint)
        return tuple(dict.fromkeys(str(name) for name in names if name in self.known.appids))

    def tags(self, names: Sequence[str], loc: tuple[Step, ...]) -> frozenset[str]:
        """The appids that have any of the tags."""
        for index, name in enumerate(names):
            if name not in self.known.tags and not self.is_excused(name):
                hint = nearest(name, self.known.tags) or "no account has it"
                place = self.where((*loc, index))
                self.reading.mistakes.add(place, f"unknown tag{shown(name)}", hint)
        return frozenset().union(*(self.known.tags.get(name, ()) for name in names))

    def is_excused(self, name: str) -> bool:
        """Whether the name may belong to an account that has a mistake of its own."""
        return self.reading.blind or name in self.reading.loose


def narrow(manifest: Manifest, selection: Selection, now: float) -> Manifest:
    """The part of a manifest that a selection means; it never gets wider.

    Jobs of which nothing is left are dropped, but ``all_jobs`` has them as they were. ``now`` is in
    seconds since the Unix epoch. Raises UsageError for what the manifest does not know, and if
    nothing at all is left.
    """
    today = calendar.today(now)
    begin = day_option("--begin-date", selection.begin_date, now)
    end = _option("--end-date", selection.end_date, lambda text: parsers.end_day(text, today))
    if begin is not None and end is not None and begin > end:
        raise UsageError("--begin-date is after --end-date", "swap them")
    accounts = _chosen_accounts(manifest.accounts, selection.accounts)
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
        for job in _chosen_jobs(manifest.jobs, selection.jobs)
    ]
    left = tuple(job for job in jobs if _is_something(job, today))
    if not left:
        raise UsageError(
            "the options leave nothing of the manifest's jobs",
            "they narrow what a job has and never widen it",
        )
    everything = manifest.all_jobs or manifest.jobs
    return dataclasses.replace(manifest, accounts=accounts, jobs=left, all_jobs=everything)


def meant(
    manifest: Manifest, accounts: Sequence[str], datasets: Sequence[str]
) -> tuple[frozenset[str], frozenset[str]]:
    """The appids and datasets that words mean, whatever the jobs want of them.

    An appid need not be in the manifest any more; ``all`` accounts are those that are. No word for
    datasets means all of them. Raises UsageError for words that mean nothing.
    """
    plain = [word for word in accounts if is_appid(word)]
    others = [word for word in accounts if word not in plain and word != "all"]
    named = _chosen_accounts(manifest.accounts, others) if others else ()
    everybody = manifest.accounts if "all" in accounts else ()
    appids = frozenset([*plain, *(account.appid for account in (*named, *everybody))])
    return appids, _chosen_datasets(datasets, frozenset(manifest.datasets))


def day_option(option: str, text: str | None, now: float) -> calendar.Day | None:
    """Read ``2024-01-31`` or ``-30d``; None if nothing is said. Raises UsageError."""
    return _option(option, text, lambda text: parsers.begin_day(text, calendar.today(now)))


def duration_option(option: str, text: str | None) -> float | None:
    """Read ``50m`` as seconds; None if nothing is said. Raises UsageError."""
    return _option(option, text, lambda text: parsers.duration(text, longest=math.inf))


def _option(option: str, text: str | None, read: Callable[[str], _T]) -> _T | None:
    if text is None:
        return None
    try:
        return read(text)
    except InvalidValue as flaw:
        problem, advice = f"{option} {flaw.what}", flaw.hint
    raise UsageError(problem, advice)


def _earlier(end: calendar.Day | None, other: calendar.Day | None) -> calendar.Day | None:
    """The earlier end; None is the newest day that is ready and so later than any day named."""
    if end is None or other is None:
        return other if end is None else end
    return min(end, other)


def _is_something(job: Job, today: calendar.Day) -> bool:
    end = today - 1 if job.end is None else job.end
    return bool(job.datasets and job.appids) and job.begin <= end


def _chosen_accounts(accounts: tuple[Account, ...], words: Sequence[str]) -> tuple[Account, ...]:
    if not words:
        return accounts
    called: dict[str, list[str]] = {
        f"tag:{tag}": appids for tag, appids in tags_of(accounts).items()
    }
    for account in accounts:
        called.setdefault(account.appid, []).append(account.appid)
        if account.name and account.name != account.appid:
            called.setdefault(account.name, []).append(account.appid)
    chosen: set[str] = set()
    for word in words:
        if word not in called:
            raise _unknown("--accounts", "account", word, called)
        chosen.update(called[word])
    return tuple(account for account in accounts if account.appid in chosen)


def _chosen_datasets(patterns: Sequence[str], wanted: frozenset[str]) -> frozenset[str]:
    """Find the datasets that an option means. Raises UsageError for what means none."""
    if not patterns:
        return wanted
    names: set[str] = set()
    for pattern in patterns:
        found = matching(pattern)
        if not found:
            what, hint = _not_meant(pattern)
            raise UsageError(f"--datasets: {what}", hint)
        names.update(dataset.name for dataset in found)
    return frozenset(names)


def _chosen_jobs(jobs: tuple[Job, ...], names: Sequence[str]) -> tuple[Job, ...]:
    if not names:
        return jobs
    called = [job.name for job in jobs]
    for name in names:
        if name not in called:
            raise _unknown("--jobs", "job", name, called)
    return tuple(job for job in jobs if job.name in names)


def _unknown(option: str, noun: str, word: str, known: Iterable[str]) -> UsageError:
    hint = nearest(word, known) or f"the manifest has no such {noun}"
    return UsageError(f"{option}: unknown {noun}{shown(word)}", hint)

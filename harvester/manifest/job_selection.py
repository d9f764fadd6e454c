"""Lookup of the names in jobs and in command-line options, and parsers of single options."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from harvester.catalogue import CATALOGUE, matching, retirement
from harvester.core import calendar, parsers
from harvester.core.config import Account, Job, Manifest
from harvester.core.errors import InvalidValue, UsageError
from harvester.core.model import is_appid
from harvester.core.references import quote_safe
from harvester.core.selection import Selection
from harvester.manifest import models
from harvester.manifest.attributes import Attributed, attributed, is_attribute, with_attribute
from harvester.manifest.diagnostics import Diagnostics, LoadContext, Step, Where, nearest

_T = TypeVar("_T")

MAX_HINTS = 20
"""Unknown appids of a job that get a hint. More are no typing errors, and a hint takes time."""


class Known(NamedTuple):
    """The names that a job may use: appids, and by tag and attribute the appids that have it."""

    appids: dict[str, None]
    tags: dict[str, list[str]]
    attributes: Attributed


def known_from(accounts: Sequence[Account]) -> Known:
    """Return the names that jobs may use for these accounts."""
    appids = dict.fromkeys(account.appid for account in accounts)
    return Known(appids, tags_of(accounts), attributed(accounts))


def tags_of(accounts: Iterable[Account]) -> dict[str, list[str]]:
    """Return the appids of each tag, in the order of the accounts."""
    tagged: dict[str, list[str]] = {}
    for account in accounts:
        for tag in account.tags:
            tagged.setdefault(tag, []).append(account.appid)
    return tagged


def job_of(
    written: models.WrittenJob, index: int, where: Where, *, known: Known, context: LoadContext
) -> Job:
    """Return a job with the full names of its datasets and accounts, and report unknown ones."""
    mistakes = context.mistakes
    if written.end_date is not None and written.end_date < written.begin_date:
        mistakes.add(where(("end_date",)), "`end_date` is before `begin_date`", "swap them")
    return Job(
        name=str(written.name or f"job-{index + 1}"),
        datasets=_datasets(written, where, mistakes),
        appids=_appids(written.accounts, _Finder(where, known, context)),
        begin=written.begin_date,
        end=written.end_date,
    )


def _datasets(written: models.WrittenJob, where: Where, mistakes: Diagnostics) -> tuple[str, ...]:
    names: dict[str, None] = {}
    for index, pattern in enumerate(written.datasets):
        found = matching(pattern)
        names.update(dict.fromkeys(dataset.name for dataset in found))
        if not found:
            mistakes.add(where(("datasets", index)), *_unknown_dataset(pattern))
    return tuple(names)


def _unknown_dataset(pattern: str) -> tuple[str, str]:
    """Return the mistake and the hint for a pattern that matches no dataset."""
    retired = retirement(pattern)
    if retired:
        return retired
    names = [*CATALOGUE, *(dataset.api for dataset in CATALOGUE.values())]
    hint = nearest(pattern, names) or "`harvester datasets` lists them"
    return f"unknown dataset{quote_safe(pattern)}", hint


def _appids(written: tuple[str, ...] | models.Chosen, find: _Finder) -> tuple[str, ...]:
    if isinstance(written, tuple):
        return find.appids(written, ("accounts",))
    mistakes = find.context.mistakes
    before = len(mistakes.found)
    chosen = tuple(find.known.appids)
    if written.tags is not None:
        tagged = find.tags(written.tags, ("accounts", "tags"))
        chosen = tuple(appid for appid in chosen if appid in tagged)
    for name, values in (written.attributes or {}).items():
        having = find.with_attribute(name, values, ("accounts", "attributes", name))
        chosen = tuple(appid for appid in chosen if appid in having)
    without = set(find.appids(written.without or (), ("accounts", "except")))
    left = tuple(appid for appid in chosen if appid not in without)
    # Not reported if it may follow from another mistake.
    if chosen and not left and len(mistakes.found) == before and not find.context.invalid_accounts:
        what, hint = "`accounts` leaves none", "widen it or drop the job"
        mistakes.add(find.where(("accounts",)), what, hint)
    return left


class _Finder(NamedTuple):
    """Looks up the names in a job and reports the unknown ones, each with its place."""

    where: Where
    known: Known
    context: LoadContext

    def appids(self, names: Sequence[str], loc: tuple[Step, ...]) -> tuple[str, ...]:
        """Return the appids among the names, and those that attributes select, each once."""
        selecting = dict(filter(lambda item: is_attribute(item[1]), enumerate(names)))
        found = {i: self._with_attribute(word, (*loc, i)) for i, word in selecting.items()}
        others = (item for item in self.unknown(names, self.known.appids) if item[0] not in found)
        for count, (index, name) in enumerate(others):
            hint = nearest(name, self.known.appids) if count < MAX_HINTS else ""
            if name in self.known.tags:
                hint = f"a tag is written {{tags: [{name}]}}"
            self.report((*loc, index), f"unknown account{quote_safe(name)}", hint)
        known = self.known.appids
        chosen = (
            appid
            for index, name in enumerate(names)
            for appid in found.get(index, [str(name)] if name in known else [])
        )
        return tuple(dict.fromkeys(chosen))

    def tags(self, names: Sequence[str], loc: tuple[Step, ...]) -> frozenset[str]:
        """Return the appids that have any of the tags."""
        for index, name in self.unknown(names, self.known.tags):
            hint = nearest(name, self.known.tags) or "no account has it"
            self.report((*loc, index), f"unknown tag{quote_safe(name)}", hint)
        return frozenset().union(*(self.known.tags.get(name, ()) for name in names))

    def with_attribute(
        self, name: str, values: Sequence[str], loc: tuple[Step, ...]
    ) -> frozenset[str]:
        """Return the appids that have an attribute with any of the values."""
        places = loc if len(values) == 1 else None
        found = (
            self._with_attribute(f"{name}={value}", places or (*loc, index))
            for index, value in enumerate(values)
        )
        return frozenset().union(*found)

    def _with_attribute(self, word: str, loc: tuple[Step, ...]) -> list[str]:
        try:
            return with_attribute(word, self.known.attributes)
        except InvalidValue as flaw:
            if not (self.context.accounts_unknown or word in self.context.invalid_accounts):
                self.report(loc, flaw.what, flaw.hint)
            return []

    def unknown(self, names: Sequence[str], known: Container[str]) -> Iterator[tuple[int, str]]:
        """Yield the unknown names and their indices.

        Names that may belong to an account with a mistake of its own are left out.
        """
        for index, name in enumerate(names):
            is_excused = self.context.accounts_unknown or name in self.context.invalid_accounts
            if name not in known and not is_excused:
                yield index, name

    def report(self, loc: tuple[Step, ...], what: str, hint: str) -> None:
        """Report a mistake at a part of the job."""
        self.context.mistakes.add(self.where(loc), what, hint)


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
    left = tuple(job for job in jobs if _has_work(job, today))
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
    return _parsed("the output named on the command line", text, parsers.place)


def _option(option: str, text: str | None, parse: Callable[[str], _T]) -> _T | None:
    return None if text is None else _parsed(option, text, parse)


def _parsed(option: str, text: str, parse: Callable[[str], _T]) -> _T:
    try:
        return parse(text)
    except InvalidValue as flaw:
        problem, advice = f"{option} {flaw.what}", flaw.hint
    # Raised outside of the handler, so that the InvalidValue is not attached to it.
    raise UsageError(problem, advice)


def _earlier(end: calendar.Day | None, other: calendar.Day | None) -> calendar.Day | None:
    """Return the earlier end. None is the newest day that is ready, so later than any other."""
    return min((day for day in (end, other) if day is not None), default=None)


def _has_work(job: Job, today: calendar.Day) -> bool:
    end = today - 1 if job.end is None else job.end
    return bool(job.datasets and job.appids) and job.begin <= end


def _chosen_accounts(accounts: tuple[Account, ...], words: Sequence[str]) -> tuple[Account, ...]:
    if not words:
        return accounts
    by_name = {f"tag:{tag}": appids for tag, appids in tags_of(accounts).items()}
    for account in accounts:
        for name in dict.fromkeys((account.appid, account.name or account.appid)):
            by_name.setdefault(name, []).append(account.appid)
    known = attributed(accounts)
    for word in words:
        if is_attribute(word) and word not in by_name:
            by_name[word] = _parsed("--accounts:", word, lambda word: with_attribute(word, known))
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
            what, hint = _unknown_dataset(pattern)
            raise UsageError(f"--datasets: {what}", hint)
        names.update(dataset.name for dataset in found)
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
            hint = nearest(word, known) or f"the manifest has no such {noun}"
            raise UsageError(f"{option}: unknown {noun}{quote_safe(word)}", hint)

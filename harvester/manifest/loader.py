"""The way from a file to a manifest: parse, fill in references, validate, put together."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harvester.core import calendar
from harvester.core.config import Account, Job, Manifest
from harvester.core.dataset import Dataset
from harvester.core.errors import ManifestError, Place
from harvester.core.references import shown
from harvester.manifest import build, models
from harvester.manifest.accounts import Written, judged, read_csv
from harvester.manifest.diagnostics import LoadContext, Step, Where
from harvester.manifest.interpolation import resolve_all
from harvester.manifest.selection import job_of, known_from
from harvester.manifest.text_file import Unreadable, read_text
from harvester.manifest.validation import check, salvage
from harvester.manifest.yaml_reader import Document, parse


def load(
    path: Path, *, environ: Mapping[str, str], now: float, authorised: Sequence[str] = ()
) -> Manifest:
    """Read a manifest whose platform's accounts are known, see `read`. Raises ManifestError."""
    return read(path, environ=environ, now=now).manifest(authorised)


def read(path: Path, *, environ: Mapping[str, str], now: float) -> Draft:
    """Read and judge a manifest with the files it names.

    ``environ`` is what ``${NAME}`` reads; ``now``, in seconds since the Unix epoch, decides what
    yesterday is. Secrets are not resolved, see `access_of`. Raises ManifestError if the file is no
    manifest at all.
    """
    reading = LoadContext(path.parent, environ, calendar.today(now))
    with _no_collector():
        draft = _draft(path, reading)
    if draft is None:
        raise ManifestError(reading.mistakes.found)
    return draft


@contextlib.contextmanager
def _no_collector() -> Iterator[None]:
    """Pause the garbage collector, which would walk the growing tree again and again.

    It takes more than half the time of ten thousand accounts, and reading makes no cycles.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@dataclass(frozen=True, slots=True)
class Draft:
    """A manifest that was read, up to the accounts that only its platform knows."""

    document: Document
    reading: LoadContext
    root: models.Root
    accounts: dict[str, Account]
    jobs: list[tuple[models.Job, Where]]
    datasets: dict[str, Dataset]

    def manifest(self, authorised: Sequence[str] = ()) -> Manifest:
        """Return the manifest with the accounts of these appids, if it wants them.

        Raises ManifestError with every mistake, none of which repeats what could be a secret.
        """
        root, reading = self.root, self.reading
        accounts = dict(self.accounts)
        for appid in authorised if root.accounts_from else ():
            if appid not in accounts:
                accounts[appid] = Account(appid=appid, **vars(root.defaults))
        jobs = self._jobs([*accounts.values()])
        if reading.mistakes.found:
            raise ManifestError(reading.mistakes.found)
        return Manifest(
            file=self.document.file,
            accounts=tuple(accounts.values()),
            jobs=jobs,
            output=root.output,
            datasets=self.datasets,
            api=root.api,
            platform=root.platform,
            from_platform=root.accounts_from is not None,
            limits=root.limits,
            retry=root.retry,
            references=tuple(reading.followed),
        )

    def _jobs(self, accounts: Sequence[Account]) -> tuple[Job, ...]:
        known = known_from(accounts)
        jobs: dict[str, Job] = {}
        for index, (written, where) in enumerate(self.jobs):
            job = job_of(written, index, where, known=known, reading=self.reading)
            if job.name in jobs:
                what = f"the job name{shown(written.name or job.name)} comes twice"
                hint = "a job without a name is job-1, job-2, …"
                self.reading.mistakes.add(where(("name",)), what, hint)
            jobs[job.name] = job
        return tuple(jobs.values())


def _draft(path: Path, reading: LoadContext) -> Draft | None:
    """Return what the file says. With mistakes on the list it is only good for finding more."""
    document = _document(path, reading)
    if document is None:
        return None
    value, where, mistakes = document.value, document.where, reading.mistakes
    torn = bool(mistakes.found)
    resolve_all(value, where, reading)
    if not isinstance(value, dict):
        check(models.Root, value, where, reading)
        return None
    # The items of these lists are judged one by one, so that a bad one does not hide the others.
    head = {name: inner for name, inner in value.items() if not _has_items(name, inner)}
    root, bad = salvage(models.Root, head, where, reading)
    build.check_files(root.api, where, mistakes)
    build.check_platform(root, bad, where, reading)
    terms = build.terms_of(root, bad, torn=torn)
    if "jobs" not in value:
        mistakes.add(where(), "`jobs` is missing", "one `- datasets: …` each")
    return Draft(
        document,
        reading,
        root,
        accounts=_accounts(document, root, terms, reading, bad),
        jobs=[*_jobs(document, reading)],
        datasets=build.datasets(root.datasets, where, reading),
    )


def _has_items(name: str, value: object) -> bool:
    return name in {"accounts", "jobs"} and isinstance(value, list) and bool(value)


def _document(path: Path, reading: LoadContext) -> Document | None:
    try:
        text = read_text(path)
    except Unreadable as flaw:
        place = Place(path, max(flaw.line, 1), flaw.column)
        reading.mistakes.add(place, f"the manifest {flaw.what}", flaw.hint)
        return None
    return parse(text, path, reading.mistakes)


def _accounts(
    document: Document,
    root: models.Root,
    terms: build.CredentialRules,
    reading: LoadContext,
    bad: set[str],
) -> dict[str, Account]:
    value, where, mistakes = document.value, document.where, reading.mistakes
    before = len(mistakes.found)
    written = [Written(*item) for item in _items(document, "accounts")]
    if root.accounts_file is not None:
        reading.followed[f"${{file:{root.accounts_file}}}"] = None
        written += read_csv(root.accounts_file, where(("accounts_file",)), reading)
    given = {} if "defaults" in bad else value.get("defaults", {})
    accounts = judged(written, {**given, "credential": root.defaults.credential}, terms, reading)
    sources = [name for name in ("accounts", "accounts_file", "accounts_from") if name in value]
    if not sources:
        mistakes.add(where(), "`accounts` is missing", "list them, or name an accounts_file")
    elif not accounts and not reading.blind and not value.get("accounts"):
        name = sources[-1]
        if name != "accounts_from" and name not in bad and len(mistakes.found) == before:
            mistakes.add(where((name,)), f"`{name}` holds no account")
    # Accounts that authorised the platform may be named, and only WeChat knows them.
    reading.blind |= not sources or "accounts_from" in sources or "accounts" in bad
    return accounts


def _jobs(document: Document, reading: LoadContext) -> Iterator[tuple[models.Job, Where]]:
    """Yield what is good of the jobs."""
    for value, where in _items(document, "jobs"):
        if isinstance(value, dict):
            yield salvage(models.Job, value, where, reading)[0], where
        else:
            check(models.Job, value, where, reading, item_of="jobs")


def _items(document: Document, name: str) -> Iterator[tuple[Any, Where]]:
    """Yield the items of a list in the manifest, each with the places in it."""
    values = document.value.get(name)
    for index, value in enumerate(values if isinstance(values, list) else ()):
        yield value, _within(document.where, name, index)


def _within(where: Where, *prefix: Step) -> Where:
    """Return the places in a part."""

    def inside(loc: Sequence[Step] = (), /, *, key: bool = False) -> Place:
        return where((*prefix, *loc), key=key)

    return inside

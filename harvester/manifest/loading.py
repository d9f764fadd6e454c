"""The way from a file to a manifest: parse, fill in references, validate, put together."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from harvester.core import calendar
from harvester.core.config import Account, Job, Manifest
from harvester.core.errors import ManifestError, Place
from harvester.manifest import credentials, sections, shape
from harvester.manifest.accounts import Entry, merge, names_in, read_csv
from harvester.manifest.check import check, good, salvage
from harvester.manifest.credentials import Terms
from harvester.manifest.mistakes import Reading, Step, Where, shown
from harvester.manifest.references import resolve_all
from harvester.manifest.selection import job_of, known_from
from harvester.manifest.source import Unreadable, read_text
from harvester.manifest.yaml_tree import Document, parse

_LEAST: dict[str, object] = {"jobs": [{}], "accounts": None}
"""For salvaging a manifest without its accounts and jobs: their good items are found one by one."""


def load(
    path: Path, *, environ: Mapping[str, str], now: float, authorised: Sequence[str] = ()
) -> Manifest:
    """Read and judge a manifest with the files it names.

    ``authorised`` are the appids that the platform knows, if the manifest wants them as accounts.
    ``environ`` is what ``${NAME}`` reads; ``now``, in seconds since the Unix epoch, decides what
    yesterday is. Secrets are not resolved, see `access_of`. Raises ManifestError with every
    mistake, none of which repeats what could be a secret.
    """
    reading = Reading(path.parent, environ, calendar.today(now), tuple(authorised))
    with _no_collector():
        document = _document(path, reading)
        manifest = _manifest(document, reading) if document is not None else None
    if reading.mistakes.found or manifest is None:
        raise ManifestError(reading.mistakes.found)
    return manifest


@contextlib.contextmanager
def _no_collector() -> Iterator[None]:
    """Reading makes no cycles, and the collector would walk the growing tree again and again.

    It takes more than half the time of ten thousand accounts.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _document(path: Path, reading: Reading) -> Document | None:
    try:
        text = read_text(path)
    except Unreadable as flaw:
        place = Place(path, max(flaw.line, 1), flaw.column)
        reading.mistakes.at(place, f"the manifest {flaw.what}", flaw.hint)
        return None
    return parse(text, path, reading.mistakes)


def _manifest(document: Document, reading: Reading) -> Manifest | None:
    """The manifest of a document. With mistakes on the list it is only good for finding more."""
    value, where = document.value, document.where
    reading.torn = bool(reading.mistakes.found)
    resolve_all(value, where, reading)
    root = check(shape.Root, value, where, reading)
    if not isinstance(value, dict):
        return None
    sound, good_keys = (root, set(value)) if root else salvage(shape.Root, value, reading, **_LEAST)
    bad = value.keys() - good_keys
    accounts = _accounts(document, sound, bad, reading)
    return Manifest(
        file=document.file,
        accounts=accounts,
        jobs=_jobs(document, root, accounts, reading),
        output=sections.output(sound.output, where, reading),
        datasets=sections.datasets(sound.datasets, where, reading),
        api=sections.api(sound.api, where, reading),
        platform=credentials.platform(sound.platform),
        from_platform=sound.accounts_from is not None,
        limits=sections.limits(sound.limits, where, reading),
        retry=sections.retry(sound.retry, where, reading),
        references=tuple(reading.followed),
    )


def _accounts(
    document: Document, sound: shape.Root, bad: set[str], reading: Reading
) -> tuple[Account, ...]:
    value, where, mistakes = document.value, document.where, reading.mistakes
    before = len(mistakes.found)
    entries = [*_listed(document, sound, reading)]
    if sound.accounts_file is not None:
        reading.followed[f"${{file:{sound.accounts_file}}}"] = None
        entries.extend(read_csv(sound.accounts_file, where(("accounts_file",)), reading))
    defaults = sound.defaults or shape.Defaults()
    terms = _terms(sound, bad, reading)
    _check_platform(sound, bad, where, reading)
    authorised = reading.authorised if terms.from_platform else ()
    accounts = merge(entries, defaults, mistakes, terms=terms, authorised=authorised)
    sources = [name for name in ("accounts", "accounts_file", "accounts_from") if name in value]
    if not sources:
        reading.blind = True
        mistakes.at(where(), "`accounts` is missing", "list them, or name an accounts_file")
    elif "accounts_from" in sources:
        # Whoever authorised the platform may be named, and only WeChat knows who did.
        reading.blind = True
    elif not (accounts or value.get("accounts") or reading.blind or "accounts_file" in bad):
        name = "accounts_file" if "accounts_file" in value else "accounts"
        if len(mistakes.found) == before:
            mistakes.at(where((name,)), f"`{name}` holds no account")
    return accounts


def _check_platform(sound: shape.Root, bad: set[str], where: Where, reading: Reading) -> None:
    """Whether the accounts of the platform can be had, and their tokens."""
    place = where(("accounts_from",))
    if sound.accounts_from is None or "platform" in bad or "defaults" in bad or "api" in bad:
        return
    if sound.platform is None:
        what, hint = "`accounts_from` needs `platform`", "say which platform it is"
        reading.mistakes.at(place, what, hint)
    if sound.api is not None and sound.api.base_url == "sandbox":
        what = "`accounts_from` needs WeChat: the built-in emulator has no platform"
        reading.mistakes.at(place, what, "list the accounts")
        return
    defaults = sound.defaults or shape.Defaults()
    if defaults.credential is None and not defaults.owns_tokens:
        what, hint = credentials.NOT_OWNED
        reading.mistakes.at(place, f"{what} under `defaults`", hint)


def _terms(sound: shape.Root, bad: set[str], reading: Reading) -> Terms:
    """What the manifest means for its accounts' credentials."""
    return Terms(
        needed=_needs_credentials(sound, bad, reading),
        platform=sound.platform is not None or "platform" in bad,
        from_platform=sound.accounts_from is not None,
    )


def _needs_credentials(sound: shape.Root, bad: set[str], reading: Reading) -> bool:
    """Whether every account needs one. Unknown if what says so could not be read."""
    beside = shape.Root.model_fields.keys() - {"api", "defaults", "accounts_from"}
    if reading.torn or bad - beside:
        return False
    return sound.api is None or sound.api.base_url != "sandbox"


def _listed(document: Document, sound: shape.Root, reading: Reading) -> Iterator[Entry]:
    """The accounts that stand in the manifest itself, without those that have mistakes."""
    if sound.accounts is not None:
        for index, account in enumerate(sound.accounts):
            yield Entry(account, _within(document.where, "accounts", index))
        return
    values = document.value.get("accounts", [])
    if not isinstance(values, list):
        reading.blind = True
        return
    for index, value in enumerate(values):
        if one := good(shape.Account, value, reading):
            yield Entry(one, _within(document.where, "accounts", index))
        else:
            reading.loose.update(names_in(value))


def _jobs(
    document: Document, root: shape.Root | None, accounts: Sequence[Account], reading: Reading
) -> tuple[Job, ...]:
    known = known_from(accounts)
    jobs: dict[str, Job] = {}
    for index, written in enumerate(_written_jobs(document.value.get("jobs"), root, reading)):
        where = _within(document.where, "jobs", index)
        job = job_of(written, index, where, known=known, reading=reading)
        if job.name in jobs:
            what = f"the job name{shown(written.name or job.name)} comes twice"
            reading.mistakes.at(where(("name",)), what, "a job without a name is job-1, job-2, …")
        jobs[job.name] = job
    return tuple(jobs.values())


def _written_jobs(values: object, root: shape.Root | None, reading: Reading) -> Iterator[shape.Job]:
    """The jobs of a good manifest, or what is good of those of a bad one."""
    if root is not None:
        yield from root.jobs
    elif isinstance(values, list):
        for value in values:
            yield salvage(shape.Job, value if isinstance(value, dict) else {}, reading)[0]


def _within(where: Where, *prefix: Step) -> Where:
    """The places in a part."""

    def inside(loc: Sequence[Step] = (), /, *, key: bool = False) -> Place:
        return where((*prefix, *loc), key=key)

    return inside

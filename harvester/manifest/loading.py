"""The way from a file to a manifest: parse, fill in references, validate, put together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from harvester import days
from harvester.errors import ManifestError
from harvester.manifest import sections, shape
from harvester.manifest.accounts import Entry, merge, names_in, read_csv
from harvester.manifest.check import check, good
from harvester.manifest.mistakes import Place, Reading, Step, Where, shown
from harvester.manifest.references import resolve_all
from harvester.manifest.selection import job_of, known_from
from harvester.manifest.source import Unreadable, read_text
from harvester.manifest.yaml_tree import Document, parse
from harvester.model import Account, Job, Manifest


def load(path: Path, *, environ: Mapping[str, str], now: float) -> Manifest:
    """Read and judge a manifest with the files it names.

    ``environ`` is what ``${NAME}`` reads; ``now``, in seconds since the Unix epoch, decides what
    yesterday is. Secrets are not resolved, see `credential_of`. Raises ManifestError with every
    mistake, none of which repeats what could be a secret.
    """
    reading = Reading(path.parent, environ, days.today(now))
    document = _document(path, reading)
    manifest = _manifest(document, reading) if document is not None else None
    if reading.mistakes.found or manifest is None:
        raise ManifestError(reading.mistakes.found)
    return manifest


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
    resolve_all(value, where, reading)
    root = check(shape.Root, value, where, reading)
    if not isinstance(value, dict):
        return None
    sound, bad = (root, frozenset[str]()) if root else _sound(value, reading)
    accounts = _accounts(document, sound, bad, reading)
    return Manifest(
        file=document.file,
        accounts=accounts,
        jobs=_jobs(document, sound if root else None, accounts, reading),
        output=sections.output(sound.output, reading.folder),
        datasets=sections.datasets(sound.datasets, where, reading),
        api=sections.api(sound.api, where, reading),
        limits=sections.limits(sound.limits, where, reading),
        retry=sections.retry(sound.retry, where, reading),
    )


def _sound(value: dict[str, object], reading: Reading) -> tuple[shape.Root, frozenset[str]]:
    """The sections of a bad manifest that are good, and the names of those that are not.

    Accounts and jobs are left out: their good items are found one by one.
    """
    least: dict[str, object] = {"jobs": [{}]}
    names = [name for name in value if name in shape.Root.model_fields]
    sound = {
        name: value[name]
        for name in names
        if name not in {"accounts", "jobs"}
        and good(shape.Root, {**least, name: value[name]}, reading)
    }
    root = shape.Root.model_validate({**least, **sound}, context={"today": reading.today})
    return root, frozenset(names) - sound.keys()


def _accounts(
    document: Document, sound: shape.Root, bad: frozenset[str], reading: Reading
) -> tuple[Account, ...]:
    value, where, mistakes = document.value, document.where, reading.mistakes
    before = len(mistakes.found)
    entries = [*_listed(document, sound, reading)]
    if sound.accounts_file is not None:
        named = where(("accounts_file",))
        entries.extend(read_csv(reading.folder / sound.accounts_file, named, reading))
    sandbox = sound.api is not None and sound.api.base_url == "sandbox"
    needs_credential = not sandbox and not bad & {"api", "defaults"}
    defaults = sound.defaults or shape.Defaults()
    accounts = merge(entries, defaults, mistakes, needs_credential=needs_credential)
    if "accounts" not in value and "accounts_file" not in value:
        reading.blind = True
        mistakes.at(where(), "`accounts` is missing", "list them, or name an accounts_file")
    elif not accounts and not bad and len(mistakes.found) == before:
        name = "accounts" if "accounts" in value else "accounts_file"
        mistakes.at(where((name,)), f"`{name}` holds no account")
    return accounts


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
    values = document.value.get("jobs")
    written: list[shape.Job | None] = []
    if root is not None:
        written.extend(root.jobs)
    elif isinstance(values, list):
        written.extend(good(shape.Job, value, reading) for value in values)
    known = known_from(accounts)
    jobs: dict[str, Job] = {}
    for index, job in enumerate(written):
        if job is None:
            continue
        where = _within(document.where, "jobs", index)
        made = job_of(job, index, where, known=known, reading=reading)
        if made.name in jobs:
            what = f"the job name{shown(job.name or made.name)} comes twice"
            reading.mistakes.at(where(("name",)), what, "jobs without a name are job-1, job-2, …")
        jobs[made.name] = made
    return tuple(jobs.values())


def _within(where: Where, *prefix: Step) -> Where:
    """The places in a part."""

    def inside(loc: Sequence[Step] = (), /, *, key: bool = False) -> Place:
        return where((*prefix, *loc), key=key)

    return inside

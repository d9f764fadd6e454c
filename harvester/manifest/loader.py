"""The steps from a file to a manifest: parse, resolve references, validate, assemble."""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from harvester.catalogue import CATALOGUE
from harvester.core import calendar
from harvester.core.config.expect import Expect
from harvester.core.config.references import Reference, quote_safe
from harvester.core.config.settings import Account, Api, Job, Manifest
from harvester.core.dataset import Dataset
from harvester.core.errors import DEFAULTS, PLATFORM, ManifestError, Place
from harvester.manifest import models
from harvester.manifest.account_selection import AccountIndex, datasets_named
from harvester.manifest.accounts import check_platform, pause_of, place_of, validate_accounts
from harvester.manifest.accounts_file import read_csv
from harvester.manifest.diagnostics import LoadContext, Section
from harvester.manifest.external_inputs import secret_variables
from harvester.manifest.interpolation import resolved
from harvester.manifest.jobs import job_of
from harvester.manifest.text_file import MISSING, Unreadable, read_bytes, read_text
from harvester.manifest.validation import check, refuse_missing, salvage
from harvester.manifest.yaml_reader import parse

_INIT = "`harvester init jobs.yaml` writes one; yours is named behind the verb, as in run FILE"


def read(path: Path, *, environ: Mapping[str, str], now: float, text: str | None = None) -> Draft:
    """Read and validate a manifest and its accounts file.

    ``environ`` has the variables of ``${NAME}``; ``now``, in seconds since the Unix epoch, decides
    which day is yesterday. ``text`` is read in the place of the file, which need not exist then.
    Secrets are not resolved, see `CredentialReader`. Raises ManifestError if nothing of it can be
    read.
    """
    threshold = gc.get_threshold()
    # The collector would walk all objects of the process again and again, and reading makes no
    # cycles: with ten thousand accounts it takes a third of the time, in a large process more.
    gc.set_threshold(0)
    try:
        return _draft(_parsed(text, LoadContext(path, environ, calendar.today(now))))
    finally:
        gc.set_threshold(*threshold)


@dataclass(frozen=True, slots=True, repr=False)
class Draft:
    """A manifest without the accounts that only its platform knows.

    It has no repr, because the values of the file may be secret.
    """

    context: LoadContext
    root: models.Root
    accounts: dict[str, Account]
    jobs: list[tuple[models.WrittenJob, Section]]

    def manifest(self, authorised: Sequence[str] = ()) -> Manifest:
        """Return the manifest, with these appids as accounts if it has ``accounts_from``.

        Raises ManifestError with every mistake; no message repeats a secret.
        """
        root, context = self.root, self.context
        accounts = dict(self.accounts)
        for appid in authorised if root.accounts_from else ():
            if appid not in accounts:
                accounts[appid] = Account(appid=appid, **vars(root.defaults))
        jobs = self._jobs([*accounts.values()])
        if context.mistakes:
            raise ManifestError(context.mistakes)
        return Manifest(
            file=context.file,
            accounts=tuple(accounts.values()),
            jobs=jobs,
            output=root.output,
            datasets=_datasets(root.datasets),
            api=root.api,
            platform=root.platform,
            from_platform=root.accounts_from is not None,
            limits=root.limits,
            retry=root.retry,
            expect=_expect(root.expect),
            references=tuple(context.references),
            secret_variables=secret_variables(accounts.values(), root.platform),
            credential_places=context.credential_places,
            account_places=context.account_places,
        )

    def _jobs(self, accounts: Sequence[Account]) -> tuple[Job, ...]:
        known = AccountIndex(accounts)
        jobs: dict[str, Job] = {}
        for index, (written, section) in enumerate(self.jobs):
            job = job_of(written, index, section, known)
            if job.name in jobs:
                what = f"the job name{quote_safe(written.name or job.name)} comes twice"
                section.refuse(("name",), what, "a job without a name is job-1, job-2, …")
            jobs[job.name] = job
        return tuple(jobs.values())


def _draft(section: Section) -> Draft:
    """Return the draft of a file. After mistakes it only serves to find further mistakes."""
    context = section.context
    context.partial = bool(context.mistakes)
    if not isinstance(section.value, dict):
        check(models.Root, section)
        raise ManifestError(context.mistakes)
    value = section.value = resolved(section.value, context)
    # The items of these lists are validated one by one, so that a bad one does not hide the others.
    items = {name: section.items(name) for name in ("accounts", "jobs")}
    head = {name: inner for name, inner in value.items() if not items.get(name)}
    root, context.bad = salvage(models.Root, replace(section, value=head))
    paused = pause_of(root.defaults.paused, ("defaults", "paused"), section)
    root = replace(root, defaults=replace(root.defaults, paused=paused))
    _check_files(root.api, section)
    check_platform(root, section)
    if "jobs" not in value:
        refuse_missing(section, ("jobs",), value, "one `- datasets: …` each")
    accounts = _accounts(items["accounts"], section, root)
    jobs = [(_job(item), item) for item in items["jobs"]]
    return Draft(context, root, accounts, [(job, item) for job, item in jobs if job is not None])


def _job(item: Section) -> models.WrittenJob | None:
    """Return a job reduced to its valid keys, None if it is no mapping."""
    is_mapping = isinstance(item.value, dict)
    return salvage(models.WrittenJob, item)[0] if is_mapping else check(models.WrittenJob, item)


def _parsed(text: str | None, context: LoadContext) -> Section:
    try:
        text = read_text(context.file) if text is None else text
    except Unreadable as flaw:
        place = Place(context.file, max(flaw.line, 1), flaw.column)
        hint = _INIT if flaw.what == MISSING else flaw.hint
        raise context.fatal(place, f"the manifest {flaw.what}", hint) from None
    return parse(text, context)


def _check_files(api: Api, section: Section) -> None:
    """Report a missing or unreadable file of certificates."""
    try:
        if api.ca_file is not None:
            read_bytes(api.ca_file)
    except Unreadable as flaw:
        section.refuse(("api", "ca_file"), f"`ca_file` {flaw.what}", flaw.hint)


def _datasets(overrides: dict[str, models.Override]) -> dict[str, Dataset]:
    """Return the catalogue with the manifest's overrides."""
    known = dict(CATALOGUE)
    for name, override in overrides.items():
        changed = _given(override)
        if override.refresh is not None:
            changed["refresh"] = known[name].refresh._replace(**_given(override.refresh))
        known[name] = replace(known[name], **changed)
    return known


def _expect(written: dict[str, Expect]) -> dict[str, Expect]:
    """Return what is expected of each dataset. Entries for fewer datasets are laid over others."""
    entries = [(datasets_named(name), own) for name, own in written.items()]
    found: dict[str, Expect] = {}
    # The entry of a dataset is laid over that of a glob, and that over all.
    for names, own in sorted(entries, key=lambda entry: -len(entry[0])):
        for name in names:
            # Many days of a sparse dataset are empty, and only a person knows how many.
            is_silent = CATALOGUE[name].sparse and len(names) == len(CATALOGUE)
            # But 0% says that days without rows are fine.
            leaves_out = is_silent and own.min_share_with_rows
            entry = replace(own, min_share_with_rows=None) if leaves_out else own
            found[name] = found.get(name, Expect(gate="open")).under(entry)
    return found


def _given(written: models.Override | models.WrittenRefresh) -> dict[str, Any]:
    return {key: value for key, value in asdict(written).items() if value is not None}


def _accounts(written: list[Section], section: Section, root: models.Root) -> dict[str, Account]:
    value, context = section.value, section.context
    before = len(context.mistakes)
    if root.accounts_file is not None:
        # Noted like a reference, because it is a file that the manifest needs.
        context.references[Reference(root.accounts_file.path, is_file=True)] = None
        written += read_csv(root.accounts_file, section.place(("accounts_file",)), context)
        # A row that could not be read may be the account that a job names.
        context.accounts_unknown |= len(context.mistakes) > before
    places = context.credential_places
    places[DEFAULTS] = place_of(root.defaults.credential, section, ("defaults", "credential"))
    places[PLATFORM] = section.place(("platform", "secret"))
    accounts = validate_accounts(written, root, context)
    sources = [name for name in models.SOURCES if name in value]
    from_platform = "accounts_from" in sources
    if not sources:
        refuse_missing(section, ("accounts",), value, "list them, or name an accounts_file")
    # Not if another mistake explains why there is none.
    elif not (written or from_platform or context.accounts_unknown or context.bad & {*sources}):
        section.refuse((sources[-1],), f"`{sources[-1]}` holds no account", "add one")
    # A job may name accounts that authorised the platform, which only WeChat knows.
    context.accounts_unknown |= not sources or from_platform or "accounts" in context.bad
    return accounts

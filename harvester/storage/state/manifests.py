"""Manifests as runs keep them in the output, for readers who do not have them.

One file per manifest, in the format of a manifest: its accounts, jobs, overrides of datasets and
expectations, and no credential. A lost file is written again by the next run.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from operator import attrgetter
from typing import Any, TypeAlias

import orjson

from harvester.catalogue import CATALOGUE
from harvester.core import calendar
from harvester.core.config.expect import Expect
from harvester.core.config.settings import Account, Job, Manifest
from harvester.core.dataset import Dataset
from harvester.core.errors import LostRace, UsageError
from harvester.storage.backends.base import read_bytes
from harvester.storage.layout import MANIFESTS, Tree
from harvester.storage.state import json_file
from harvester.storage.state.json_file import SideFile

_MAX_ALIKE = 100
"""Most manifests of one file name in an output; of further ones nothing is kept."""

_HEAD_BYTES = 200
"""The first bytes of a file, which have its digest."""

_MEMBERS = ("appid", "name", "tags", "attributes", "paused", "begin_date", "end_date")
"""The members of an account that are kept."""

_DAYS = ("begin_date", "end_date", "until")
"""Those of them, and of a pause, that are days."""


@dataclass(frozen=True, slots=True)
class KeptManifest:
    """The parts of a manifest that say what is wanted, as a manifest writes them.

    ``digest`` tells whether one is kept already. ``paused_since`` is the day of the first run that
    found an account paused, by appid.
    """

    digest: str
    accounts: tuple[dict[str, Any], ...]
    jobs: tuple[dict[str, Any], ...]
    datasets: dict[str, Any]
    expect: dict[str, Any] = field(default_factory=dict)
    paused_since: dict[str, date] = field(default_factory=dict)

    @property
    def appids(self) -> set[str]:
        """The appids of the accounts."""
        return {str(account.get("appid")) for account in self.accounts}


def keep(tree: Tree, manifest: Manifest, now: float) -> None:
    """Write a whole manifest at ``now``, in seconds since the Unix epoch, unless it is there.

    The file is named after the manifest's own. Of two manifests of one name, each has the file with
    accounts that it has. Raises StoreError, and UsageError for a newer version.
    """
    _, file = _place(tree, manifest, digest := digest_of(manifest))
    if file is not None:
        accounts, since = tuple(map(_account, manifest.accounts)), _since(tree, manifest, now)
        # The other shards of a run write the same.
        with suppress(LostRace):
            file.write(KeptManifest(digest, accounts, *_content(manifest), since))


def name_of(tree: Tree, manifest: Manifest) -> str:
    """Return the name of its file in the output, without the number if that is 1.

    Raises StoreError.
    """
    # One of a newer version stays as it is, and has that name.
    with suppress(UsageError):
        return _short(_place(tree, manifest, digest_of(manifest))[0])
    return manifest.file.name


def wanted_by_others(tree: Tree, name: str) -> dict[str, set[str]]:
    """Return the accounts of which manifests of other names want a dataset. Raises as `read`."""
    found = defaultdict[str, set[str]](set)
    for place in _names(tree):
        # That of the manifest itself is not read.
        if _short(place) == name or not (kept := json_file.read(tree.store, place, KeptManifest)):
            continue
        for job in kept.jobs:
            chosen = job.get("accounts")
            some = {*map(str, chosen)} if isinstance(chosen, list) else kept.appids
            for dataset in CATALOGUE.keys() & set(map(str, job.get("datasets", ()))):
                found[dataset] |= some
    return found


def _short(place: str) -> str:
    return place.removeprefix(f"{MANIFESTS}/").removesuffix(".json").removesuffix(".1")


def digest_of(manifest: Manifest) -> str:
    """Return a digest of what is kept of a manifest."""
    # Reading ten thousand accounts back would take a hundred times as long.
    values = [*map(attrgetter(*_MEMBERS), manifest.accounts)], *_content(manifest)
    return hashlib.sha256(orjson.dumps(values, default=sorted)).hexdigest()[:16]


def _place(
    tree: Tree, manifest: Manifest, digest: str
) -> tuple[str, SideFile[KeptManifest] | None]:
    """Return the name of the file of a manifest, and the file unless the manifest is in it."""
    # Neither its path nor its content stays the same: a CI runner makes a new folder each time.
    name, place = re.sub(r"[^\w.-]", "-", manifest.file.name, flags=re.ASCII)[:100], ""
    for number in range(1, _MAX_ALIKE + 1):
        place = f"{MANIFESTS}/{name}.{number}.json"
        if digest.encode() in (read_bytes(tree.store, place, _HEAD_BYTES) or b""):
            return place, None
        file = SideFile(tree.store, place, KeptManifest)
        old = file.read()
        if old is None or not old.appids.isdisjoint(manifest.names):
            return place, file
    return place, None


_Content: TypeAlias = tuple[tuple[dict[str, Any], ...], dict[str, Any], dict[str, Any]]


def _content(manifest: Manifest) -> _Content:
    """Return what is kept of a manifest besides its accounts."""
    jobs = tuple(_job(job, tuple(manifest.names)) for job in manifest.jobs)
    changed = [each for each in manifest.datasets.values() if each != CATALOGUE.get(each.name)]
    expect = {name: _expect(each) for name, each in manifest.expect.items()}
    return jobs, {dataset.name: _override(dataset) for dataset in changed}, expect


def read(tree: Tree) -> Iterator[tuple[str, KeptManifest | None]]:
    """Yield the names of the files with the manifests, None for one that no run has written.

    Raises StoreError, and UsageError for a newer version.
    """
    for name in _names(tree):
        yield name, json_file.read(tree.store, name, KeptManifest)


def _names(tree: Tree) -> list[str]:
    return [file.name for file in tree.files(MANIFESTS)]


def paused_since(tree: Tree) -> dict[str, date]:
    """Return the day of the first run that found an account paused, by appid. Raises as `read`."""
    found = dict[str, date]()
    for _, kept in read(tree):
        found |= kept.paused_since if kept else {}
    return found


def _since(tree: Tree, manifest: Manifest, now: float) -> dict[str, date]:
    """Return the days of the first runs that found the accounts paused: today for new ones."""
    known, today = paused_since(tree), calendar.date_of(calendar.today(now))
    paused = (account.appid for account in manifest.accounts if account.paused)
    return {appid: known.get(appid, today) for appid in paused}


def _account(account: Account) -> dict[str, Any]:
    members = {name: getattr(account, name) for name in _MEMBERS}
    members["tags"] = sorted(account.tags)
    if account.paused is not None:
        members["paused"] = _with_day_texts(vars(account.paused))
    return _with_day_texts(members)


def _with_day_texts(members: dict[str, Any]) -> dict[str, Any]:
    """Return the members of a value that has any, days as text."""
    return {
        name: calendar.day_text(value) if name in _DAYS else value
        for name, value in members.items()
        if value
    }


def _job(job: Job, every: tuple[str, ...]) -> dict[str, Any]:
    begin, end = job.written
    return {
        "name": job.name,
        "datasets": job.datasets,
        "accounts": "all" if job.appids == every else job.appids,
        "begin_date": begin or calendar.day_text(job.begin),
        "end_date": end or ("yesterday" if job.end is None else calendar.day_text(job.end)),
    }


def _override(dataset: Dataset) -> dict[str, Any]:
    return {
        "span": dataset.span,
        "ready_at": calendar.clock_text(dataset.ready_minutes),
        "settle": f"{dataset.settle}d",
        "refresh": dataset.refresh._asdict(),
    }


def _expect(expect: Expect) -> dict[str, Any]:
    by, rows = expect.complete_by, expect.min_share_with_rows
    time = by and calendar.clock_text(by.time)
    members = {
        "complete_by": by and {"time": time, "share": _share_text(by.share)},
        "min_share_with_rows": None if rows is None else _share_text(rows),
        "quiet": [calendar.range_text(*days) for days in calendar.day_ranges(expect.quiet_days)],
        "gate": expect.gate,
    }
    return {name: value for name, value in members.items() if value}


def _share_text(share: float) -> str:
    return f"{100 * share:g}%"

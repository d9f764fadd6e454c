"""Reading of a manifest, and opening of a project: the narrowed manifest and its output tree."""

from __future__ import annotations

import json
import logging
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

from harvester.catalogue import CATALOGUE
from harvester.core.config.manifest_text import ManifestText
from harvester.core.config.settings import Manifest, Output
from harvester.core.errors import ManifestError, UsageError
from harvester.core.text.inert_text import inert
from harvester.core.text.wording import and_more
from harvester.manifest.doubts import doubts
from harvester.manifest.external_inputs import secret_files
from harvester.manifest.loader import Draft
from harvester.manifest.narrowing import ALL, Selection, narrow
from harvester.manifest.option_values import place_named
from harvester.manifest.resolve_credentials import CredentialReader
from harvester.manifest.text_file import Unreadable, read_text
from harvester.runs.clock import CheckedClock
from harvester.runs.platform_accounts import PlatformAtHand
from harvester.runs.runtime import Project
from harvester.storage.layout import Tree, datasets, open_tree, refuse_unharvested
from harvester.storage.state import account_cache, change_reader, manifests, rewrite_journal
from harvester.verbs import arguments
from harvester.verbs.arguments import ManifestSource

_RUNNERS = ("CI", "GITHUB_ACTIONS")
_LOG = logging.getLogger("harvester.project")


Authorised: TypeAlias = Literal["asked", "remembered", "optional"]
"""The source of the list of accounts that authorised the platform.

``asked``: WeChat. ``remembered``: the cached list. ``optional``: the cached list, or no accounts.
"""


def _read_again(
    source: ManifestText, output: Output, appids: tuple[str, ...], selection: Selection, now: float
) -> tuple[Manifest, Manifest]:
    """Do what a `ReadAgain` does; ``appids`` are the accounts that authorised the platform."""
    again = replace(arguments.draft_of(source, now).manifest(appids), output=output)
    return narrowed(again, selection, now), again


@arguments.checked
def read_manifest(manifest: ManifestSource, environ: Mapping[str, str] | None = None) -> Manifest:
    """Read and validate a manifest; no secret is resolved.

    ``environ`` has the variables of ``${NAME}``; those of the process by default. Raises UsageError
    with all ``mistakes``.
    """
    source, now = arguments.source(manifest), CheckedClock().started_at
    with suppress(Unreadable):
        # Kept, so that a verb works on what was read. If it cannot be, the draft says why.
        source = source._replace(text=source.text or read_text(source.path), read_at=now)
    if environ is not None:
        source = source._replace(environ=dict(environ))
    return replace(arguments.draft_of(source, now).manifest(), source=source)


def narrowed(manifest: Manifest, selection: Selection, now: float) -> Manifest:
    """Return the part of a manifest that a command works on. Raises UsageError.

    A manifest without accounts is returned as it is, because those of a platform may not be known
    yet. ``now`` is in seconds since the Unix epoch.
    """
    return narrow(manifest, selection, now) if manifest.accounts else manifest


class Opened(NamedTuple):
    """A manifest and its output, opened without a call: the accounts of a platform are missing."""

    draft: Draft
    manifest: Manifest
    tree: Tree
    clock: CheckedClock
    source: ManifestText

    def project(self, selection: Selection, authorised: Authorised) -> Project:
        """Add the accounts of the platform and narrow the manifest. Raises as `open_project`."""
        manifest, credentials = self.manifest, CredentialReader()
        platform = PlatformAtHand(self.clock, credentials.platform)
        output, tree, appids = manifest.output, self.tree, tuple[str, ...]()
        if manifest.from_platform:
            # `plan`, `status` and similar verbs make no call, so they use the cached list.
            asked = authorised == "asked"
            found = platform.authorised(manifest, tree) if asked else account_cache.read(tree)
            appids = tuple(found)
            manifest = replace(self.draft.manifest(appids), output=output)
            if authorised != "optional" and not manifest.accounts:
                raise UsageError(
                    "no account is known to have authorised the platform",
                    "`harvester check` and `harvester run` fetch the list of accounts from WeChat",
                )

        mine = narrowed(manifest, selection, self.clock.started_at)
        read_again = partial(_read_again, self.source, output, appids, selection)
        return Project(mine, manifest, tree, self.clock, platform, read_again, credentials)


def open_project(
    manifest: ManifestSource | None,
    selection: Selection = ALL,
    output: str | os.PathLike[str] | None = None,
    authorised: Authorised = "remembered",
    *,
    may_be_new: bool = False,
) -> Project:
    """Load and narrow a manifest, and open its output.

    No file is created, except the cached list of a platform's accounts. ``output`` replaces the
    output of the manifest. Without a manifest it is what runs have kept of theirs in ``output``.
    Of an output that ``may_be_new`` the manifest's ``must_exist`` is ignored.

    Raises:
        ManifestError: The manifest has mistakes.
        UsageError: The options match nothing, or the platform has no known accounts. Or the output
            does not fit the manifest, is an unfinished rewrite, may not be read, or has a side file
            of a newer version.
        StoreError: The output cannot be read.
        Unauthorised, Unanswered: WeChat was asked, and refused the platform or did not answer.
    """
    if manifest is None:
        return _open_alone(selection, output)
    source, clock = arguments.source(manifest), CheckedClock()
    return open_quietly(source, output, clock, may_be_new=may_be_new).project(selection, authorised)


def open_alone(output: str | os.PathLike[str] | None) -> tuple[Output, Tree]:
    """Open an output without a manifest, as a tree of one bucket; return its place too.

    Raises UsageError, also for an unfinished rewrite, and StoreError.
    """
    if output is None:
        raise UsageError("neither a manifest nor an output is named", "name one of them")
    path = place_named(os.fspath(output))
    # The folders of datasets may be links to other disks, which only a manifest has to allow.
    place = Output(path=path, follow_links=isinstance(path, Path))
    tree = open_tree(place)
    rewrite_journal.refuse_unfinished(tree)
    return place, tree


def _open_alone(selection: Selection, output: str | os.PathLike[str] | None) -> Project:
    """Open an output that exists, with the union of the manifests that runs have kept in it.

    No account and no job is in that of an output without any. Raises UsageError and StoreError.
    """
    clock, credentials = CheckedClock(), CredentialReader()
    place, tree = open_alone(output)
    tree = change_reader.whole_tree(tree.store)
    whole = union(tree, replace(place, buckets=tree.buckets), clock.started_at)
    platform = PlatformAtHand(clock, credentials.platform)
    mine = narrowed(whole, selection, clock.started_at)
    return Project(mine, whole, tree, clock, platform, lambda _: (whole, whole), credentials)


def union(tree: Tree, output: Output, now: float) -> Manifest:
    """Return all that the kept manifests want at ``now``, in seconds since the Unix epoch.

    Of an account of two manifests the last one says whether it is paused. Raises StoreError and
    UsageError.
    """
    found = list(_kept(tree, now))
    accounts = {account.appid: account for each in found for account in each.accounts}
    jobs = tuple(job for each in found for job in each.jobs)
    # Manifests that share an output agree on the overrides of datasets.
    datasets = found[0].datasets if found else dict(CATALOGUE)
    expect = {name: own for each in found for name, own in each.expect.items()}
    return Manifest(
        Path("kept-manifests"), tuple(accounts.values()), jobs, output, datasets, expect=expect
    )


def _kept(tree: Tree, now: float) -> Iterator[Manifest]:
    for name, kept in manifests.read(tree):
        # `forget` leaves a job without accounts, which no manifest may have.
        jobs = [job for job in kept.jobs if job.get("accounts") != []] if kept else []
        if kept and not (jobs and kept.accounts):
            continue
        members = ("accounts", "datasets", "expect") if kept else ()
        written = {name: getattr(kept, name) for name in members} | {"jobs": jobs}
        text = json.dumps({"api": {"base_url": "sandbox"}, **written}, ensure_ascii=False)
        try:
            # A reader must resolve no variable and no file that a planted file names.
            source = ManifestText(Path(name), text.replace("${", "{"), {})
            yield arguments.draft_of(source, now).manifest()
        except ManifestError:
            raise UsageError(
                f"{tree.store.display_path(name)}: not a manifest as a run keeps it",
                "delete the file, and the next run writes it again; or name the manifest",
            ) from None


def open_quietly(
    source: ManifestText,
    output: str | os.PathLike[str] | None,
    clock: CheckedClock,
    *,
    may_be_new: bool = False,
) -> Opened:
    """Load a manifest and open its output, without a call and without a new file.

    ``may_be_new`` is as in `open_project`. Raises as it does, except for the errors of WeChat and
    of a selection.
    """
    draft = arguments.draft_of(source, clock.started_at)
    manifest = draft.manifest()
    if output is not None:
        target = replace(manifest.output, path=place_named(os.fspath(output)))
        manifest = replace(manifest, output=target)
    place = manifest.output
    tree = open_tree(replace(place, must_exist=place.must_exist and not may_be_new))
    rewrite_journal.refuse_unfinished(tree)
    return Opened(draft, manifest, tree, clock, source)


def is_inside(place: Path | str, around: Path | str) -> bool:
    """Return whether a place is another one or inside of it. Links are followed."""
    at, whole = (str(x.resolve()) if isinstance(x, Path) else x for x in (place, around))
    return f"{at}/".startswith(f"{whole}/")


def open_harvested(
    manifest: ManifestSource | None,
    output: str | os.PathLike[str] | None,
    lock_timeout: str | timedelta | None,
) -> Project:
    """Open a project whose output exists, with all of its accounts and datasets.

    ``lock_timeout`` is how long to wait for its buckets, None for the default. Raises as
    `open_project`, and UsageError for an output without data, so that a mistyped path is not
    reported as verified, rewritten or forgotten.
    """
    timeout = arguments.timeout_seconds(lock_timeout)
    project = open_project(manifest, ALL, output)
    refuse_unharvested(project.tree.store)
    return project._replace(lock_timeout=timeout)


def datasets_of(output: str) -> tuple[str, ...]:
    """Return the datasets of which an output has rows. Raises as `open_harvested`."""
    return datasets(open_harvested(None, output, None).tree.store)


def warn_of_doubts(manifest: Manifest) -> None:
    """Log warnings of the manifest, and of secret files that all users of this machine can read."""
    for doubt in doubts(manifest):
        _LOG.warning("%s", doubt)
    found = [file for file in secret_files(manifest) if _is_open_to_all(file)]
    if found:
        first = inert(os.path.relpath(found[0], manifest.file.parent))
        which = and_more([first], len(found))
        _LOG.warning("secrets readable by every user of this machine: %s: chmod o-r", which)


def _is_open_to_all(file: Path) -> bool:
    """Return whether all users can read a file and enter the folders above it, False if missing."""
    try:
        real = file.resolve(strict=True)
        is_within_reach = all(folder.stat().st_mode & stat.S_IXOTH for folder in real.parents)
        return is_within_reach and bool(real.stat().st_mode & stat.S_IROTH)
    except OSError:
        return False


def warn_of_exposure(manifest: Manifest) -> None:
    """Log warnings of secrets that all users can read, and of an output that may be lost.

    An output may be lost if it is a folder of a CI runner and ``must_exist`` is not set.
    """
    warn_of_doubts(manifest)
    output = manifest.output
    on_runner = any(os.environ.get(name, "") not in {"", "0", "false"} for name in _RUNNERS)
    if on_runner and isinstance(output.path, Path) and not output.must_exist:
        _LOG.warning(
            "the output, %s, is a folder of this CI runner: if that is thrown away, so is the"
            " output, and the next run asks for everything again. Name an object store, or a disk"
            " that stays together with `output.must_exist: true`",
            inert(str(output.path)),
        )

"""What every verb over a manifest begins with: the manifest, narrowed, and its output tree."""

from __future__ import annotations

import logging
import os
import shlex
import stat
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from os import environ
from pathlib import Path
from typing import NamedTuple, TypeAlias

from harvester.cli.options import EVERYTHING, Selecting
from harvester.compact import refuse_unfinished
from harvester.core.config import Manifest
from harvester.errors import UsageError
from harvester.manifest import narrow, place_named, read, secret_files
from harvester.store import roster
from harvester.store.disk import OURS
from harvester.store.layout import Tree, open_tree

_LOG = logging.getLogger(__name__)


class Project(NamedTuple):
    """A manifest, the output tree that belongs to it, and how a command names the two."""

    manifest: Manifest
    tree: Tree
    words: str


def steady_clock() -> Callable[[], float]:
    """Seconds since the Unix epoch, right at the start and never stepping back."""
    anchor = time.time() - time.monotonic()
    return lambda: anchor + time.monotonic()


Authorised: TypeAlias = Callable[[Manifest, Tree], Sequence[str] | None]
"""Who authorised the manifest's platform; None where nobody knows and it does not matter."""


def last_heard(_: Manifest, tree: Tree) -> Sequence[str]:
    """Who authorised the platform when it was last asked."""
    return roster.known(tree)


def if_heard(_: Manifest, tree: Tree) -> Sequence[str] | None:
    """The same for who can do without: the manifest alone is looked at."""
    return roster.known(tree) or None


def open_project(
    path: Path,
    selecting: Selecting,
    output: str | None,
    now: float,
    authorised: Authorised = last_heard,
) -> Project:
    """Load and narrow a manifest and look at its output; nothing is created.

    Raises ManifestError for mistakes and UsageError for options that match nothing or an output
    that does not fit.
    """
    draft = read(path, environ=environ, now=now)
    manifest = draft.manifest()
    target = manifest.output
    if output is not None:
        target = replace(target, path=place_named(output))
    tree = open_tree(target)
    refuse_unfinished(tree)
    if manifest.from_platform:
        appids = authorised(manifest, tree)
        manifest = draft.manifest(appids or ())
        if appids is not None and not manifest.accounts:
            raise UsageError(
                "nobody is known to have authorised the platform",
                "`harvester check` and `run` ask WeChat who has; others know what they have heard",
            )
    manifest = replace(manifest, output=target)
    if manifest.accounts:
        manifest = narrow(manifest, selecting.selection(), now)
    words = [str(path)] if output is None else [str(path), "--output", output]
    return Project(manifest, tree, shlex.join(words))


def open_harvested(path: Path, output: str | None, now: float) -> Project:
    """The same for verbs about what is there already, whole.

    Raises UsageError where nothing of ours is: a typo in a path must not come out as sound,
    compacted or forgotten.
    """
    project = open_project(path, EVERYTHING, output, now)
    store = project.tree.store
    if not any(map(store.holds, (OURS, *project.manifest.datasets))):
        raise UsageError(
            f"{store.where()}: nothing was harvested here", "correct the output's path"
        )
    return project


def warn_of_open_files(manifest: Manifest) -> None:
    """Say in one line which secret files every user of this machine can read."""
    found = [file for file in secret_files(manifest) if _is_open_to_all(file)]
    if found:
        first = os.path.relpath(found[0], manifest.file.parent)
        more = f" and {len(found) - 1:,} more secret files" if found[1:] else ""
        verb = "are" if found[1:] else "is"
        _LOG.warning("%s%s %s readable by every user of this machine: chmod o-r", first, more, verb)


def _is_open_to_all(file: Path) -> bool:
    """By its mode and by those of all folders above it; one that is not there is open to nobody."""
    try:
        real = file.resolve(strict=True)
        modes = [folder.stat().st_mode for folder in real.parents]
        return bool(real.stat().st_mode & stat.S_IROTH) and all(
            mode & stat.S_IXOTH for mode in modes
        )
    except OSError:
        return False

"""The beginning of every verb over a manifest: the manifest, narrowed, and its output tree."""

from __future__ import annotations

import logging
import os
import shlex
import stat
from dataclasses import replace
from os import environ
from pathlib import Path
from typing import Literal, TypeAlias

from harvester.core.config import Manifest
from harvester.core.errors import UsageError
from harvester.core.selection import ALL, Selection
from harvester.manifest import narrow, place_named, read, secret_files
from harvester.operations.platform_accounts import PlatformAtHand
from harvester.operations.rewrite import refuse_unfinished
from harvester.operations.runtime import Project, SteadyClock
from harvester.storage.backends.local import META_DIR
from harvester.storage.layout import open_tree
from harvester.storage.state import account_cache

_LOG = logging.getLogger("harvester.project")


Authorised: TypeAlias = Literal["asked", "remembered", "optional"]
"""From where it is known who authorised the platform.

WeChat is asked, or what it said last counts, which may be nothing if that is optional.
"""


def open_project(
    path: Path,
    selection: Selection = ALL,
    output: str | None = None,
    authorised: Authorised = "remembered",
    clock: SteadyClock | None = None,
) -> Project:
    """Load and narrow a manifest and look at its output; nothing is created.

    Raises ManifestError for mistakes and UsageError for options that match nothing or an output
    that does not fit.
    """
    clock = clock or SteadyClock()
    now, platform = clock.started_at, PlatformAtHand(clock)
    draft = read(path, environ=environ, now=now)
    manifest = draft.manifest()
    target = manifest.output
    if output is not None:
        target = replace(target, path=place_named(output))
    tree = open_tree(target)
    refuse_unfinished(tree)
    if manifest.from_platform:
        asked = authorised == "asked"
        appids = platform.authorised(manifest, tree) if asked else account_cache.read(tree)
        manifest = draft.manifest(appids)
        if authorised != "optional" and not manifest.accounts:
            raise UsageError(
                "nobody is known to have authorised the platform",
                "`harvester check` and `run` ask WeChat who has; others know what they have heard",
            )
    manifest = replace(manifest, output=target)
    if manifest.accounts:
        manifest = narrow(manifest, selection, now)
    words = [str(path)] if output is None else [str(path), "--output", output]
    return Project(manifest, tree, shlex.join(words), clock, platform)


def open_harvested(path: Path, output: str | None) -> Project:
    """Do the same for verbs about what is there already, whole.

    Raises UsageError where nothing of ours is: a typo in a path must not come out as sound,
    compacted or forgotten.
    """
    project = open_project(path, ALL, output)
    store = project.tree.store
    if not any(map(store.exists, (META_DIR, *project.manifest.datasets))):
        raise UsageError(
            f"{store.display_path()}: nothing was harvested here", "correct the output's path"
        )
    return project


def warn_of_open_files(manifest: Manifest) -> None:
    """Warn in one line of secret files that every user of this machine can read."""
    found = [file for file in secret_files(manifest) if _is_open_to_all(file)]
    if found:
        first = os.path.relpath(found[0], manifest.file.parent)
        more = f" and {len(found) - 1:,} more secret files" if found[1:] else ""
        verb = "are" if found[1:] else "is"
        _LOG.warning("%s%s %s readable by every user of this machine: chmod o-r", first, more, verb)


def _is_open_to_all(file: Path) -> bool:
    """Look at a file's mode and at those of all folders above it; a missing file is not open."""
    try:
        real = file.resolve(strict=True)
        modes = [folder.stat().st_mode for folder in real.parents]
        return bool(real.stat().st_mode & stat.S_IROTH) and all(
            mode & stat.S_IXOTH for mode in modes
        )
    except OSError:
        return False

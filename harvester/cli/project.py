"""What every verb over a manifest begins with: the manifest, narrowed, and its output tree."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from dataclasses import replace
from os import environ
from pathlib import Path
from typing import NamedTuple

from harvester.cli.options import Selecting
from harvester.manifest import load, narrow, place_named
from harvester.model import Manifest
from harvester.store.layout import Tree, open_tree


class Project(NamedTuple):
    """A manifest, the output tree that belongs to it, and how a command names the two."""

    manifest: Manifest
    tree: Tree
    words: str


def steady_clock() -> Callable[[], float]:
    """Seconds since the Unix epoch, right at the start and never stepping back."""
    anchor = time.time() - time.monotonic()
    return lambda: anchor + time.monotonic()


def open_project(path: Path, selecting: Selecting, output: str | None, now: float) -> Project:
    """Load and narrow a manifest and look at its output; nothing is created.

    Raises ManifestError for mistakes and UsageError for options that match nothing or an output
    that does not fit.
    """
    manifest = load(path, environ=environ, now=now)
    if output is not None:
        manifest = replace(manifest, output=replace(manifest.output, path=place_named(output)))
    manifest = narrow(manifest, selecting.selection(), now)
    words = [str(path)] if output is None else [str(path), "--output", output]
    return Project(manifest, open_tree(manifest.output), shlex.join(words))

"""`read_manifest`: a manifest as a value, without its secrets."""

from __future__ import annotations

import os
from collections.abc import Mapping

from harvester.core.config.settings import Manifest
from harvester.manifest.loader import read
from harvester.manifest.narrowing import Selection, narrow
from harvester.runs.clock import CheckedClock
from harvester.verbs.arguments import ManifestSource, source


def read_manifest(manifest: ManifestSource, environ: Mapping[str, str] | None = None) -> Manifest:
    """Read and validate a manifest; no secret is resolved.

    ``environ`` has the variables of ``${NAME}``; those of the process by default. Raises UsageError
    with all ``mistakes``.
    """
    path, text = source(manifest)
    given = os.environ if environ is None else environ
    return read(path, environ=given, now=CheckedClock().started_at, text=text).manifest()


def narrowed(manifest: Manifest, selection: Selection, now: float) -> Manifest:
    """Return the part of a manifest that a command works on. Raises UsageError.

    The accounts of a platform may not be known yet. ``now`` is in seconds since the Unix epoch.
    """
    return narrow(manifest, selection, now) if manifest.accounts else manifest

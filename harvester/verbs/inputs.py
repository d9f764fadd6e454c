"""`inputs`: what a run would use of this machine, and what of it is missing, without a call."""

from __future__ import annotations

import os
from dataclasses import dataclass
from os import environ
from pathlib import Path

from harvester.core.results import PausedAccount
from harvester.manifest.external_inputs import touched
from harvester.manifest.narrowing import Selection
from harvester.planning.wanted_days import paused_accounts
from harvester.verbs.arguments import ManifestSource
from harvester.verbs.project import open_project, warn_of_doubts


@dataclass(frozen=True, slots=True)
class Inputs:
    """Variables, files, programs and hosts that a run would use.

    ``accounts`` and ``jobs`` are numbers. ``unset`` are variables that the run needs and that are
    not set, ``missing`` files that do not exist.
    """

    accounts: int
    jobs: int
    paused: tuple[PausedAccount, ...]
    variables: tuple[str, ...]
    files: tuple[Path, ...]
    programs: tuple[str, ...]
    hosts: tuple[str, ...]
    unset: tuple[str, ...]
    missing: tuple[Path, ...]


def inputs(
    manifest: ManifestSource, chosen: Selection, output: str | os.PathLike[str] | None
) -> Inputs:
    """Return the hosts, variables, files and programs that a run would use. Makes no call.

    Raises UsageError.
    """
    narrowed = open_project(manifest, chosen, output, "optional").manifest
    warn_of_doubts(narrowed)
    variables, files, programs, hosts, required = touched(narrowed)
    about = len(narrowed.accounts), len(narrowed.jobs), paused_accounts(narrowed)
    unset = tuple(name for name in required if not environ.get(name))
    missing = tuple(file for file in files if not file.exists())
    return Inputs(*about, variables, files, programs, hosts, unset, missing)

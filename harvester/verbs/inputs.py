"""Inputs of a run, and those of them that are missing, found without a call."""

from __future__ import annotations

from os import environ
from pathlib import Path
from typing import NamedTuple

from harvester.manifest import touched
from harvester.runs.runtime import Project
from harvester.verbs.project import warn_of_open_files


class Inputs(NamedTuple):
    """Variables, files, programs and hosts that a run would use.

    ``unset`` are variables that it needs and that are not set, ``missing`` files that do not exist.
    """

    variables: tuple[str, ...]
    files: tuple[Path, ...]
    programs: tuple[str, ...]
    hosts: tuple[str, ...]
    unset: tuple[str, ...]
    missing: tuple[Path, ...]


def check_offline(project: Project) -> Inputs:
    """Return the hosts, variables, files and commands that a run would use. Makes no call."""
    warn_of_open_files(project.manifest)
    found = touched(project.manifest)
    return Inputs(
        found.variables,
        found.files,
        found.programs,
        found.hosts,
        tuple(name for name in found.required if not environ.get(name)),
        tuple(file for file in found.files if not file.exists()),
    )

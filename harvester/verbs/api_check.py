"""`check`: which accounts work. Apart from the other verbs, because it loads the HTTP client."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from harvester.core.config.selection import Selection
from harvester.runs.runtime import Project
from harvester.verbs import arguments, inputs
from harvester.verbs import check as checking
from harvester.verbs.arguments import ManifestSource, Names
from harvester.verbs.asking.check_report import (
    WHOLE_ACCOUNT,
    WORST_FIRST,
    AccountCheck,
    Check,
    ProbeResult,
    State,
)
from harvester.verbs.inputs import Inputs
from harvester.verbs.project import ManifestText, open_project

__all__ = [
    "WHOLE_ACCOUNT",
    "WORST_FIRST",
    "AccountCheck",
    "Check",
    "Inputs",
    "ProbeResult",
    "State",
    "check",
    "check_offline",
    "probe_accounts",
]


def check(
    manifest: ManifestSource,
    *,
    accounts: Names = None,
    datasets: Names = None,
    output: str | os.PathLike[str] | None = None,
) -> Check:
    """Ask for one token and one cheap call per family of each account; return who works.

    Keeps WeChat's quota numbers for later plans and runs. In a running event loop call it in a
    thread. Raises UsageError, and HarvesterError if the output cannot be read.
    """
    chosen = arguments.selection(accounts, datasets, None, None, None)
    given = arguments.source(manifest), chosen, arguments.place(output)
    return arguments.in_own_record(partial(probe_accounts, *given))


def probe_accounts(manifest: Path | ManifestText, chosen: Selection, output: str | None) -> Check:
    """Do what `check` does, with the secrets of the caller's context. Raises as `check`."""
    return checking.check(open_project(manifest, chosen, output, "asked"))


def check_offline(
    manifest: Path | ManifestText, chosen: Selection, output: str | None
) -> tuple[Project, Inputs]:
    """Check the manifest alone; return what a run would use. Makes no call. Raises UsageError."""
    project = open_project(manifest, chosen, output, "optional")
    return project, inputs.check_offline(project)

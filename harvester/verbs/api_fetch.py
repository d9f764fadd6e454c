"""`fetch`: one window asked now. Apart from the other verbs, because it loads the HTTP client."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from harvester.core.config.selection import ALL
from harvester.runs.runtime import Project
from harvester.verbs import arguments
from harvester.verbs import fetch as fetching
from harvester.verbs.arguments import ManifestSource
from harvester.verbs.asking.answer import Answer, ChangedValue, UnusableDay
from harvester.verbs.project import ManifestText, open_project

__all__ = ["Answer", "ChangedValue", "UnusableDay", "ask", "fetch", "opened"]


def fetch(
    manifest: ManifestSource,
    account: str,
    dataset: str,
    begin: str | date,
    end: str | date | None = None,
) -> Answer:
    """Ask WeChat for one window now, and compare its answer with the published rows.

    ``account`` is an appid or a unique name, ``begin`` and ``end`` are Beijing days, both included;
    without ``end`` it is one day. Nothing is published. In a running event loop call it in a
    thread. Raises UsageError, Busy if a run holds the account, and HarvesterError if the output
    cannot be read.
    """
    days = str(begin), None if end is None else str(end)
    source = arguments.source(manifest)
    return arguments.in_own_record(lambda: ask(opened(source, None), account, dataset, days))


def opened(
    manifest: Path | ManifestText, output: str | None, lock_timeout: float | None = None
) -> Project:
    """Open a manifest and its output; a question waits ``lock_timeout`` seconds for its account."""
    return open_project(manifest, ALL, output)._replace(lock_timeout=lock_timeout)


def ask(project: Project, account: str, dataset: str, days: tuple[str, str | None]) -> Answer:
    """Do what `fetch` does, with the secrets of the caller's context. Raises as `fetch`."""
    return fetching.fetch(project, account, dataset, *days)

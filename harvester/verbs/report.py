"""`report`: coverage, attention, expectations and runs as one page that needs nothing else."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass, replace
from pathlib import Path

from harvester import __version__
from harvester.catalogue.languages import Language
from harvester.core.errors import UsageError
from harvester.core.text.inert_text import inert
from harvester.manifest.option_values import place_named, spelled
from harvester.planning import wanted_days
from harvester.runs.runtime import Project
from harvester.storage import layout
from harvester.storage.backends import user_file
from harvester.verbs import summary_file
from harvester.verbs.arguments import AnyDay, ManifestSource, Names, checked, selection
from harvester.verbs.page import assembly, tables
from harvester.verbs.page.facts import View
from harvester.verbs.project import is_inside
from harvester.verbs.results import VerbResult
from harvester.verbs.status import find, open_to_read


@dataclass(frozen=True, slots=True, repr=False)
class ReportPage(VerbResult):
    """A page that a report wrote: its place ``html``, its length, and the sentence at its head."""

    html: str
    bytes: int
    sentence: str


@checked
def report(
    manifest: ManifestSource | None = None,
    *,
    html: str | os.PathLike[str],
    accounts: Names = None,
    datasets: Names = None,
    jobs: Names = None,
    begin_date: AnyDay = None,
    end_date: AnyDay = None,
    output: str | os.PathLike[str] | None = None,
    for_client: bool = False,
    lang: Language = "en",
) -> ReportPage:
    """Write the state of an output as a page. Reads the files alone and needs no secret.

    ``html`` is a file, or the URL of an object that ends in ``.html``. What is not selected is not
    in the page. ``for_client`` leaves out commands, remedies, runs, quota and sizes. Without a
    manifest the wanted days are what the last runs kept of theirs in ``output``. Raises UsageError,
    and HarvesterError if the output cannot be read or the page cannot be written.
    """
    chosen = selection(accounts, datasets, jobs, begin_date, end_date)
    project = open_to_read(manifest, chosen, output)
    target, now = _target(html, project), project.clock.started_at
    found = find(project.manifest, project.tree, wanted_days.wanted(project.manifest, now), now)
    command = "" if for_client else _command(manifest, output)
    view = View(project.manifest, found, now, lang, for_client, command)
    sentence = tables.sentence(view, __version__)
    # A path may have bytes that are no text.
    page = "".join(assembly.pieces(view, sentence, project.tree)).encode(errors="backslashreplace")
    _write(target, page, project)
    return ReportPage(os.fspath(html), len(page), sentence)


def _command(manifest: ManifestSource | None, output: str | os.PathLike[str] | None) -> str:
    """Return the run of a manifest for a shell; empty if it is not a file."""
    if not isinstance(manifest, str | os.PathLike):
        return ""
    path = os.fspath(manifest)
    words = ["harvester", "run", f"./{path}" if path.startswith("-") else path]
    return shlex.join(words if output is None else [*words, f"--output={os.fspath(output)}"])


def _target(html: str | os.PathLike[str], project: Project) -> Path | str:
    """Return the file or the URL of the page. Raises UsageError if it may not be written."""
    place, manifest, name = place_named(os.fspath(html), "html"), project.whole, spelled("html")
    if isinstance(place, Path):
        summary_file.refuse_unusable(place, manifest.file, name)
        summary_file.refuse_place(place, manifest, name)
    elif not place.endswith(".html"):
        raise UsageError(f"{name} {inert(place)}: no name of a page", "let it end in .html")
    elif is_inside(place, manifest.output.path):
        raise UsageError(f"{name} {inert(place)}: inside of the output", "name another place")
    return place


def _write(target: Path | str, page: bytes, project: Project) -> None:
    """Put the page in its place, whole or not at all. Raises StoreError."""
    if isinstance(target, Path):
        user_file.write(target, page, is_final=True)
        return
    folder, _, name = target.rpartition("/")
    place = replace(project.manifest.output, path=folder, must_exist=False)
    layout.open_tree(place).store.put(name, page)

"""``harvester status``: coverage, gaps, quarantine, the last runs."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from harvester import days
from harvester.cli import show, streams
from harvester.cli.options import (
    EVERYTHING,
    Format,
    ManifestPath,
    OkExit,
    Output,
    Selecting,
)
from harvester.errors import Exit
from harvester.operations import status as surveying
from harvester.operations.project import open_project
from harvester.report.record import plain


def status(
    manifest: ManifestPath = Path("jobs.yaml"),
    /,
    *,
    selecting: Selecting = EVERYTHING,
    output: Output = None,
    require: Annotated[
        Literal["yesterday"] | None,
        Parameter(
            help="Exit with 75 unless every day up to the newest ready one has a good answer.",
            env_var="HARVESTER_REQUIRE",
        ),
    ] = None,
    format: Format = "text",
    ok_exit: OkExit = "",
) -> int:
    """Show coverage, gaps, quarantine and the last runs. Reads the files alone, asks nothing."""
    del ok_exit  # settled where every verb ends
    project = open_project(manifest, selecting.selection(), output)
    found = surveying.status(project)
    with streams.answering():
        if format == "json":
            print(json.dumps(_as_json(found), indent=2, ensure_ascii=False))
        else:
            show.status(show.console(), found, project.words)
    return Exit.AGAIN if require is not None and not found.whole else Exit.DONE


def _as_json(found: surveying.Status) -> dict[str, object]:
    return {
        "whole": found.whole,
        "datasets": list(map(plain, found.datasets)),
        "gaps": [stretch.plain() for stretch in found.gaps],
        "suspicious": [stretch.plain() for stretch in found.suspicious],
        "quarantined": [
            {**item._asdict(), "day": days.day_text(item.day)} for item in found.quarantined
        ],
        "runs": [asdict(record) for record in found.runs],
        "foreign": list(found.foreign),
        "warnings": list(found.warnings),
    }

"""``harvester status``: coverage, gaps, quarantine and the last runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from harvester.cli import options
from harvester.cli.output import tables
from harvester.cli.output.answers import answer
from harvester.core.exit_codes import Exit
from harvester.operations import status as surveying
from harvester.operations.plain import plain
from harvester.operations.project import open_project
from harvester.operations.record import run_record


def status(
    manifest: options.ManifestPath = Path("jobs.yaml"),
    /,
    *,
    selecting: options.Selecting = options.ALL,
    output: options.Output = None,
    require: Annotated[Literal["yesterday"] | None, options.value("HARVESTER_REQUIRE")] = None,
    format: options.Format = "text",
    _ok_exit: options.OkExit = "",
) -> int:
    """Show coverage, gaps, quarantine and the last runs.

    Reads the files alone, asks nothing and needs no secret.

    Exit codes:
      0   shown
      2   a mistake in the manifest or the options
      75  days are missing (with --require)

    Params:
        require: Exit with 75 unless every day up to the newest ready one has a good answer.
    """
    project = open_project(manifest, selecting.selection(), output)
    found = surveying.status(project)
    answer(format, lambda: _as_json(found), lambda out: tables.status(out, found, project.words))
    return Exit.AGAIN if require is not None and not found.complete else Exit.DONE


def _as_json(found: surveying.Status) -> dict[str, object]:
    members = plain(found)
    del members["unusable"]
    members["datasets"] = list(map(run_record.plain_row, found.datasets))
    return {"complete": found.complete, **members}

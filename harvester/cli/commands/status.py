"""``harvester status``: coverage, gaps, quarantine and the last runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from harvester.api import verbs
from harvester.api.reports import Required, Status, plain, plain_row
from harvester.cli import options
from harvester.cli.output import tables
from harvester.cli.output.answers import answer
from harvester.core.errors import UsageError
from harvester.core.exit_codes import Exit
from harvester.manifest import end_day_option


def status(
    manifest: options.ManifestPath = Path("jobs.yaml"),
    /,
    *,
    selecting: options.Selecting = options.ALL,
    output: options.Output = None,
    require: Annotated[str | None, options.day("HARVESTER_REQUIRE")] = None,
    final: Annotated[bool, options.flag("HARVESTER_FINAL")] = False,
    format: options.Format = "text",
    _ok_exit: options.OkExit = "",
) -> int:
    """Show coverage, gaps, quarantine and the last runs.

    Reads the files alone, asks nothing and needs no secret.

    For example:
      harvester status jobs.yaml --require yesterday

    Exit codes:
      0   shown; with --require: every day up to that one has an answer
      2   a mistake in the manifest or the options
      3   with --require: days are missing, and none of them comes by itself
      75  with --require: days are missing that a run can still obtain

    Params:
        require: Be a gate for every day up to this one: yesterday (the newest ready day),
            2024-01-31 or -30d.
        final: With --require: a provisional answer is not enough.
    """
    project = verbs.open_project(manifest, selecting.selection(), output)
    found = verbs.survey(project, _required(require, project.clock.started_at, final=final))
    answer(format, lambda: _as_json(found), lambda out: tables.status(out, found))
    return found.gate.exit_code if found.gate else Exit.DONE


def _required(require: str | None, now: float, *, final: bool) -> Required | None:
    """Return the days that the options require. Raises UsageError."""
    if require is None:
        if final:
            raise UsageError("--final is a part of --require", "write --require yesterday --final")
        return None
    return Required(end_day_option("--require", require, now), final)


def _as_json(found: Status) -> dict[str, object]:
    members = plain(found)
    del members["unusable"], members["next_requests"]
    members["datasets"] = list(map(plain_row, found.datasets))
    return {"complete": found.complete, **members}

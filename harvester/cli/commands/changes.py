"""``harvester changes``: which files were replaced since a cursor."""

from __future__ import annotations

import json
from typing import Annotated, Any

from harvester.cli import options
from harvester.cli.output.streams import stdout_output
from harvester.core.errors import HistoryLost
from harvester.core.text.inert_text import inert_json
from harvester.verbs import changes as feed


def changes(
    manifest: options.ManifestPath = options.JOBS,
    /,
    *,
    since: Annotated[str, options.value("HARVESTER_SINCE")] = feed.FROM_THE_BEGINNING,
    selecting: options.Selecting = options.ALL,
    output: options.Output = None,
    _ok_exit: options.OkExit = "",
) -> None:
    """Show which files were replaced or deleted since a cursor.

    Prints a JSON object a line; the last one has the next cursor. Reads the files
    alone, asks nothing, needs no secret, and with --output no manifest.

    For example:
      harvester changes jobs.yaml --since begin

    Exit codes:
      0  shown
      2  a mistake in the manifest or the options; or the cursor is of another
         output, or older than the history that is kept: the only line has
         "reset": true and a new cursor

    Params:
        since: The cursor of an earlier answer, or begin: every file that exists, once.
    """
    source, chosen = options.manifest_of(manifest, output), selecting.chosen()
    try:
        found, cursor = feed.changes(source, since=since, chosen=chosen, output=output)
    except HistoryLost as error:
        _print({"reset": True, "cursor": error.cursor})
        raise
    _print(*(change.to_dict() for change in found), {"cursor": cursor})


def _print(*lines: dict[str, Any]) -> None:
    with stdout_output():
        for line in lines:
            print(inert_json(json.dumps(line, ensure_ascii=False)))

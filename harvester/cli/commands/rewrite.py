"""``harvester rewrite``: a fresh output to switch to."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from harvester.cli import options
from harvester.cli.output.answers import answer, json_text
from harvester.cli.output.terminal import Terminal
from harvester.core.text.inert_text import inert
from harvester.core.text.wording import counted
from harvester.verbs import rewrite as rewriting


def rewrite(
    manifest: options.ManifestPath = options.JOBS,
    /,
    *,
    to: Annotated[str, options.value("HARVESTER_TO")],
    buckets: Annotated[int | None, options.value("HARVESTER_BUCKETS")] = None,
    output: options.Output = None,
    lock_timeout: options.LockTimeout = None,
    format: options.Format = "text",
) -> None:
    """Write a fresh output with another number of buckets or newer columns.

    Publishes first what waits in the raw log of the old output, which otherwise
    stays as it is. If it was killed, repeat it.

    For example:
      harvester rewrite jobs.yaml --to output-8 --buckets 8

    Exit codes:
      0   written; the text says how to switch to it
      2   a mistake in the options, or the place cannot be used
      75  another run holds the accounts for too long

    Params:
        to: Where the new output is written.
        buckets: Files a month is split into, from 1 to 9,999; as many as now by default.
    """
    made = rewriting.rewrite(
        manifest, to=to, buckets=buckets, output=output, lock_timeout=lock_timeout
    )
    place = _seen_from(manifest.parent, to)
    answer(format, made.to_dict, lambda out: _print_tree(out, made, manifest, place))


def _seen_from(folder: Path, to: str) -> str:
    """Name a place as a manifest in a folder has it, because its paths count from there."""
    if "://" in to or Path(to).is_absolute():
        return to
    place = os.path.relpath(Path(to).resolve(), folder.resolve())
    # A manifest refuses a path that begins with `~`, because it would not be expanded.
    return f"./{place}" if place.startswith("~") else place


def _print_tree(out: Terminal, made: rewriting.NewTree, manifest: Path, place: str) -> None:
    out.print(f"{counted(made.files, 'file')}, {counted(made.rows, 'row')}")
    out.say(f"to switch to it, set in `output` of {inert(str(manifest))}:", gap=True)
    # A text of JSON is one of YAML, whatever is in it.
    out.say(f"  path: {json_text(place)}")
    out.say(f"  buckets: {made.buckets}")

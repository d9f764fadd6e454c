"""``harvester compact``: a fresh tree to switch to."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from rich.console import Console
from rich.text import Text

from harvester.cli import options
from harvester.cli.output.answers import answer
from harvester.core.config import Output as Place
from harvester.operations import rewrite as rewriting
from harvester.operations.project import open_harvested
from harvester.operations.rewrite import NewTree

_BARE = re.compile(r"(?:\.{0,2}/|[A-Za-z])[A-Za-z0-9_./-]*")
_NO_TEXTS = {"true", "false", "yes", "no", "on", "off", "y", "n", "null"}


def compact(
    manifest: options.ManifestPath = Path("jobs.yaml"),
    /,
    *,
    to: Annotated[str | None, options.value("Where the new tree is made.", "HARVESTER_TO")] = None,
    buckets: Annotated[
        int | None,
        options.value(
            "Files a month is split into; as many as now by default.", "HARVESTER_BUCKETS"
        ),
    ] = None,
    output: options.Output = None,
    format: options.Format = "text",
) -> int:
    """Make a fresh tree with another number of buckets, to switch to. Repeat it if it was killed.

    Publishes first what waits in the raw log. The old tree stays as it is.
    """
    project = open_harvested(manifest, output)
    made = rewriting.rewrite(project, to, buckets)
    place = replace(project.manifest.output, buckets=made.buckets)
    answer(
        format,
        lambda: made,
        lambda out: _print(out, made, manifest, advice(place, to or "", manifest)),
    )
    return 0


def advice(place: Place, to: str, manifest: Path) -> str:
    """Write the output that a manifest needs, in YAML, to mean a place called ``to`` here.

    A path in a manifest counts from the manifest and not from the current folder.
    """
    keys = {"path": _in_yaml(_from(manifest.parent, to)), "buckets": str(place.buckets)}
    if place.must_exist:
        keys["must_exist"] = "true"
    if "://" in to:
        if place.endpoint:
            keys["endpoint"] = _in_yaml(place.endpoint)
        if place.single_writer:
            keys["single_writer"] = "true"
    return "{" + ", ".join(f"{name}: {value}" for name, value in keys.items()) + "}"


def _from(folder: Path, to: str) -> str:
    """Name a place as seen from a folder: absolute, unless it lies inside."""
    if "://" in to or Path(to).is_absolute():
        return to
    path, base = Path(to).resolve(), folder.resolve()
    inside = str(path.relative_to(base)) if path.is_relative_to(base) else str(path)
    return f"./{inside}" if inside.startswith("~") else inside


def _in_yaml(text: str) -> str:
    """Write a text bare where every reader of YAML takes it for one, and else as JSON."""
    if _BARE.fullmatch(text) and text.lower() not in _NO_TEXTS:
        return text
    return json.dumps(text, ensure_ascii=False)


def _print(out: Console, made: NewTree, manifest: Path, output: str) -> None:
    kept = f", {made.kept:,} of them made before" if made.kept else ""
    out.print(f"{made.files:,} files{kept}, {made.rows:,} rows")
    out.print(Text(f"\nto switch to it, write into {manifest}:"), soft_wrap=True)
    out.print(Text(f"  output: {output}"), soft_wrap=True)

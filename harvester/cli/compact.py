"""``harvester compact``: a fresh tree to switch to."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Annotated

from cyclopts import Parameter
from rich.text import Text

from harvester import compact as compacting
from harvester.cli import show
from harvester.cli.options import Format, ManifestPath, Output
from harvester.cli.project import open_harvested, steady_clock
from harvester.compact import Compacted
from harvester.core.config import Output as Place
from harvester.errors import UsageError
from harvester.manifest import place_named
from harvester.report.books import Books
from harvester.store import locks
from harvester.store.layout import open_tree
from harvester.summary import begin, utc_text

MOST_BUCKETS = 9_999
"""As many as a manifest may name."""

_BARE = re.compile(r"(?:\.{0,2}/|[A-Za-z])[A-Za-z0-9_./-]*")
_NO_TEXTS = {"true", "false", "yes", "no", "on", "off", "y", "n", "null"}


def compact(
    manifest: ManifestPath = Path("jobs.yaml"),
    /,
    *,
    to: Annotated[
        str | None, Parameter(help="Where the new tree is made.", env_var="HARVESTER_TO")
    ] = None,
    buckets: Annotated[
        int | None,
        Parameter(
            help="Files a month is split into; as many as now by default.",
            env_var="HARVESTER_BUCKETS",
        ),
    ] = None,
    output: Output = None,
    format: Format = "text",
) -> int:
    """Make a fresh tree with another number of buckets, to switch to. Repeat it if it was killed.

    Publishes first what waits in the raw log. The old tree stays as it is.
    """
    clock = steady_clock()
    done = begin(manifest, clock())
    project = open_harvested(manifest, output, done.started_at)
    place = _place(project.manifest.output, to, buckets)
    old, new = project.tree, open_tree(place)
    known, since = project.manifest.datasets, utc_text(done.started_at)
    with (
        locks.hold(old, range(old.buckets), run_id=done.run_id, since=since),
        locks.hold(new, range(new.buckets), run_id=done.run_id, since=since),
    ):
        books = Books(begin(manifest, done.started_at), clock), Books(done, clock)
        made = compacting.compact(old, new, known, old=books[0], new=books[1])
    if format == "json":
        answer = {"path": new.store.where(), "buckets": new.buckets, **made._asdict()}
        print(json.dumps(answer, indent=2, ensure_ascii=False))
    else:
        stays = replace(place, must_exist=project.manifest.output.must_exist)
        _print(made, manifest, advice(stays, to or "", manifest))
    return 0


def advice(place: Place, to: str, manifest: Path) -> str:
    """What the manifest has to say of its output, in YAML, to mean a place called ``to`` here.

    There it counts from the manifest and not from the current folder.
    """
    keys = {"path": _in_yaml(_from(manifest.parent, to)), "buckets": str(place.buckets)}
    if place.must_exist:
        keys["must_exist"] = "true"
    if isinstance(place.path, str):
        if place.endpoint:
            keys["endpoint"] = _in_yaml(place.endpoint)
        if place.single_writer:
            keys["single_writer"] = "true"
    return "{" + ", ".join(f"{name}: {value}" for name, value in keys.items()) + "}"


def _from(folder: Path, to: str) -> str:
    """A place as it is named from a folder: absolute, unless it lies in there."""
    if "://" in to or Path(to).is_absolute():
        return to
    path, base = Path(to).resolve(), folder.resolve()
    inside = str(path.relative_to(base)) if path.is_relative_to(base) else str(path)
    return f"./{inside}" if inside.startswith("~") else inside


def _in_yaml(text: str) -> str:
    """Bare where that is a text to everybody who reads YAML, and else in JSON, which YAML is."""
    if _BARE.fullmatch(text) and text.lower() not in _NO_TEXTS:
        return text
    return json.dumps(text, ensure_ascii=False)


def _print(made: Compacted, manifest: Path, output: str) -> None:
    out = show.console()
    kept = f", {made.kept:,} of them made before" if made.kept else ""
    out.print(f"{made.files:,} files{kept}, {made.rows:,} rows")
    out.print(Text(f"\nto switch to it, write into {manifest}:"), soft_wrap=True)
    out.print(Text(f"  output: {output}"), soft_wrap=True)


def _place(old: Place, to: str | None, buckets: int | None) -> Place:
    """Where the new tree is made: beside the old one, or either would be read as part of both."""
    if to is None:
        raise UsageError("--to is missing", "Name a new place for the tree.")
    if "${" in to:
        raise UsageError(f"{to}: a manifest would fill in what ${{…}} means", "name another place")
    if buckets is not None and not 1 <= buckets <= MOST_BUCKETS:
        problem = f"--buckets {buckets}: must be from 1 to {MOST_BUCKETS:,}"
        raise UsageError(problem, "Look at `harvester plan`.")
    new = replace(old, path=place_named(to), buckets=buckets or old.buckets, must_exist=False)
    one, other = (
        PurePosixPath(place.path) if isinstance(place.path, str) else place.path.resolve()
        for place in (old, new)
    )
    if type(one) is type(other) and (one.is_relative_to(other) or other.is_relative_to(one)):
        raise UsageError(f"{to}: inside of {old.path}, or around it", "name a place beside it")
    return new

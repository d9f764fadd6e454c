"""``harvester compact``: a fresh tree to switch to."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Annotated

from cyclopts import Parameter
from rich.text import Text

from harvester import compact as compacting
from harvester.cli import show
from harvester.cli.options import EVERYTHING, Format, ManifestPath, Output
from harvester.cli.project import open_project, steady_clock
from harvester.compact import Compacted
from harvester.errors import UsageError
from harvester.manifest import place_named
from harvester.model import Output as Place
from harvester.report.books import Books
from harvester.store import locks
from harvester.store.layout import open_tree
from harvester.summary import begin, utc_text


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
    project = open_project(manifest, EVERYTHING, output, done.started_at)
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
        _print(made, manifest, f"{{path: {to}, buckets: {new.buckets}}}")
    return 0


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
    if buckets is not None and buckets < 1:
        raise UsageError(f"--buckets {buckets}: at least 1", "Look at `harvester plan`.")
    new = replace(old, path=place_named(to), buckets=buckets or old.buckets, must_exist=False)
    one, other = (
        PurePosixPath(place.path) if isinstance(place.path, str) else place.path.resolve()
        for place in (old, new)
    )
    if type(one) is type(other) and (one.is_relative_to(other) or other.is_relative_to(one)):
        raise UsageError(f"{to}: inside of {old.path}, or around it", "name a place beside it")
    return new

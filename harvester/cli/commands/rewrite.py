"""``harvester rewrite``: a fresh output to switch to."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from rich.console import Console

from harvester.cli import options
from harvester.cli.output.answers import answer, json_text, print_line
from harvester.core.config.settings import Output
from harvester.core.text.inert_text import inert
from harvester.verbs import rewrite as rewriting
from harvester.verbs.project import read_manifest

_BARE = re.compile(r"(?:\.{0,2}/|[A-Za-z])[A-Za-z0-9_./-]*")
_YAML_KEYWORDS = {"true", "false", "yes", "no", "on", "off", "y", "n", "null"}


def rewrite(
    manifest: options.ManifestPath = options.JOBS,
    /,
    *,
    to: Annotated[str | None, options.value("HARVESTER_TO")] = None,
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
    timeout = options.timeout(lock_timeout)
    made = rewriting.rewrite(manifest, to=to, buckets=buckets, output=output, lock_timeout=timeout)

    def show(out: Console) -> None:
        place = replace(read_manifest(manifest).output, buckets=made.buckets)
        _print_tree(out, made, manifest, advice(place, to or "", manifest))

    answer(format, lambda: made, show)


def advice(place: Output, to: str, manifest: Path) -> str:
    """Return the ``output`` of a manifest, in YAML, that means a place called ``to`` here.

    A path in a manifest counts from the manifest and not from the current folder.
    """
    keys = {"path": _yaml_text(_seen_from(manifest.parent, to)), "buckets": str(place.buckets)}
    if place.must_exist:
        keys["must_exist"] = "true"
    if "://" in to:
        if place.endpoint:
            keys["endpoint"] = _yaml_text(place.endpoint)
        if place.single_writer:
            keys["single_writer"] = "true"
        elif place.lease:
            keys["lease"] = f"{place.lease:g}s"
    elif place.follow_links:
        keys["follow_links"] = "true"
    return "{" + ", ".join(f"{name}: {value}" for name, value in keys.items()) + "}"


def _seen_from(folder: Path, to: str) -> str:
    """Name a place as seen from a folder: absolute, unless it lies inside."""
    if "://" in to or Path(to).is_absolute():
        return to
    path, base = Path(to).resolve(), folder.resolve()
    inside = str(path.relative_to(base)) if path.is_relative_to(base) else str(path)
    # A manifest refuses a path that begins with `~`, because it would not be expanded.
    return f"./{inside}" if inside.startswith("~") else inside


def _yaml_text(text: str) -> str:
    """Write a text bare where every YAML reader takes it for a text, and else as JSON."""
    if _BARE.fullmatch(text) and text.lower() not in _YAML_KEYWORDS:
        return text
    return json_text(text)


def _print_tree(out: Console, made: rewriting.NewTree, manifest: Path, output: str) -> None:
    kept = f", {made.kept:,} of them made before" if made.kept else ""
    out.print(f"{made.files:,} files{kept}, {made.rows:,} rows")
    print_line(out, f"to switch to it, write into {inert(str(manifest))}:", gap=True)
    print_line(out, f"  output: {output}")

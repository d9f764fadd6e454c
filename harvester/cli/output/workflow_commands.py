"""Commands to a GitHub runner: lines like ``::error file=jobs.yaml,line=3::…``.

This is the only module that writes them. Foreign texts are inert, so they cannot contain one.
"""

from __future__ import annotations

from collections.abc import Iterator
from os import environ

from harvester.core.errors import HarvesterError, ManifestError, Problem
from harvester.core.inert_text import inert_line
from harvester.core.redaction import masked

MAX_ANNOTATIONS = 10
"""Annotations of one kind that GitHub shows for a step."""

_DATA = str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A"})
_PROPERTY = str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A", ":": "%3A", ",": "%2C"})


def workflow_command(name: str, data: str, **properties: str | int) -> str:
    """Return the line of a command, with its data and the values of its properties encoded."""
    given = ",".join(f"{key}={_encoded(value)}" for key, value in properties.items())
    return f"::{name}{given and ' '}{given}::{inert_line(masked(data)).translate(_DATA)}"


def annotations_of(error: HarvesterError) -> Iterator[str]:
    """Yield the commands that show an error on the page of a run; none without such a runner."""
    if environ.get("GITHUB_ACTIONS") != "true":
        return
    if isinstance(error, ManifestError):
        yield from map(_mistake, error.problems[:MAX_ANNOTATIONS])
    else:
        yield workflow_command("error", error.lines[0], title="harvester")


def _mistake(problem: Problem) -> str:
    place = problem.place
    message = str(problem).removeprefix(f"{place}: ")
    if place.cell:
        # The rows of a CSV file are not its lines.
        return workflow_command("error", f"{place.cell}: {message}", file=str(place.file))
    return workflow_command(
        "error", message, file=str(place.file), line=place.line, col=place.column
    )


def _encoded(value: str | int) -> str:
    return inert_line(masked(str(value))).translate(_PROPERTY)

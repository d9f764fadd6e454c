"""Commands to a GitHub runner, lines like ``::error file=jobs.yaml,line=3::…``, and its files.

This is the only module that writes them: the files are the outputs of a step and its summary on the
job's page. Foreign texts are inert, so they cannot contain one.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from os import environ

from harvester.core.errors import HarvesterError, ManifestError, Mistake
from harvester.core.exit_codes import Exit
from harvester.core.text.inert_text import inert, inert_line
from harvester.core.text.redaction import masked

MAX_ANNOTATIONS = 10
"""Annotations of one kind that GitHub shows for a step."""

_log = logging.getLogger("harvester.run")

_DATA = str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A"})
_PROPERTY = str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A", ":": "%3A", ",": "%2C"})


def workflow_command(name: str, data: str, **properties: str | int) -> str:
    """Return the line of a command, with its data and the values of its properties encoded."""
    given = ",".join(f"{key}={_encoded(value)}" for key, value in properties.items())
    return f"::{name}{given and ' '}{given}::{inert_line(masked(data)).translate(_DATA)}"


def annotations_of(error: BaseException) -> Iterator[str]:
    """Yield the commands that show an error on the page of a run; none without such a runner.

    A bug has none, because its page would name nothing to mend.
    """
    if not _is_runner():
        return
    if isinstance(error, ManifestError):
        yield from map(_mistake, error.mistakes[:MAX_ANNOTATIONS])
    elif isinstance(error, HarvesterError):
        # What passes by itself ends no job for good, and needs no person.
        level = "warning" if error.exit_code is Exit.AGAIN else "error"
        yield workflow_command(level, error.lines[0], title="harvester")


def annotation_commands(found: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Yield the commands that show texts, each with its level, on a runner's page."""
    for level, text in found if _is_runner() else ():
        yield workflow_command(level, text, title="harvester")


def write_outputs(values: Mapping[str, str | int | None]) -> None:
    """Set outputs of the step, None as an empty one, if a runner has given a file for them."""
    text = "".join(_output(name, value) for name, value in values.items())
    data = text.encode(errors="backslashreplace")
    _add("GITHUB_OUTPUT", data, "the outputs of the step are not set")


def write_summary(text: bytes) -> None:
    """Add a summary to the page of the job, if a runner has given a file for it."""
    _add("GITHUB_STEP_SUMMARY", text, "the step has no summary")


def _add(variable: str, text: bytes, lack: str) -> None:
    """Add a text to a file of the runner.

    A file that cannot be written is logged: it changes nothing about what was done.
    """
    file = environ.get(variable, "")
    if not _is_runner() or not file:
        return
    try:
        # Without O_NONBLOCK a pipe that no process reads would be waited for without end.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
        with os.fdopen(os.open(file, flags, 0o600), "ab") as sink:
            sink.write(text)
    except OSError as error:
        _log.warning("%s: %s: %s", lack, variable, error.strerror)


def _output(name: str, value: str | int | None) -> str:
    """Return an output in the form for any text: between two lines that the text cannot contain."""
    mark = f"harvester_{os.urandom(16).hex()}"
    text = "" if value is None else inert_line(inert(masked(str(value))))
    return f"{name}<<{mark}\n{text}\n{mark}\n"


def _is_runner() -> bool:
    return environ.get("GITHUB_ACTIONS") == "true"


def _mistake(problem: Mistake) -> str:
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

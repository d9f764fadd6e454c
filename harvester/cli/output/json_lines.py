"""Lines of JSON on stderr: with ``--log-format json`` nothing else is written there.

Events of a run, errors that end a command and log records become an object each, a line each. Their
texts are masked and inert. Threads may write at the same time.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, get_args

from harvester import signals
from harvester.core.errors import CALLED_FROM, places
from harvester.core.text.inert_text import inert_json
from harvester.core.text.redaction import in_no_run
from harvester.core.text.safe_text import own_text
from harvester.runs.record.events import (
    Event,
    Level,
    Problem,
    Published,
    RunEnded,
    problems_of,
    with_texts,
)

VARIABLE = "HARVESTER_LOG_FORMAT"

_OPTION = "--log-format"
_MAX_TEXT = 2_000
_HEAD = ("time", "level", "event", "version", "run_id", "shard")
_LEVELS: dict[Level, int] = {level: getattr(logging, level.upper()) for level in get_args(Level)}


@dataclass(slots=True)
class _State:
    """The lines of one command: its run, once one has begun, and the errors that were told."""

    is_on: bool = False
    least: int = logging.INFO
    run: str | None = None
    part: str | None = None
    told: set[tuple[object, ...]] = field(default_factory=set)


_state = _State()
# One that a thread can take twice, because a warning may be printed while a line is made.
_lock = threading.RLock()


def is_asked_for(arguments: Sequence[str], environ: Mapping[str, str]) -> bool:
    """Return whether a command line asks for JSON lines, before it is parsed and if it is wrong."""
    given = [
        value or following
        for word, following in pairwise([*arguments, ""])
        for name, _, value in [word.partition("=")]
        if name.replace("_", "-") == _OPTION
    ]
    return "json" in (given or [environ.get(VARIABLE, "")])


def begin(*, on: bool, level: Level = "info") -> None:
    """Begin the lines of a command, or leave stderr to others if they are not ``on``.

    Events below ``level`` are left out, but never the end of a run.
    """
    global _state  # noqa: PLW0603 - a process has one stderr
    _state = _State(on, _LEVELS[level])
    signals.describe_by(_tell_description if on else None)
    # An earlier command of this process may have added it.
    logging.getLogger().removeHandler(_log_lines)
    if on:
        # Libraries log warnings and errors alone.
        logging.basicConfig(level=logging.WARNING, handlers=[_log_lines], force=True)


def is_on() -> bool:
    """Return whether stderr has lines of JSON and nothing else."""
    return _state.is_on


def tell(event: Event) -> None:
    """Write an event of a run; lines after it have the run's id and shard."""
    # In a run of several processes these may be about one of its shards.
    if not _state.run or not isinstance(event, Problem | Published):
        _state.run, _state.part = event.run_id, event.shard
    if isinstance(event, Problem) and event.level == "error":
        _state.told.add(_identity(event))
    if isinstance(event, RunEnded) or _LEVELS[event.level] >= _state.least:
        _write(event.to_dict())


def tell_error(error: BaseException, where: str = "") -> None:
    """Write the problems that an error which ends a command or a thread stands for.

    What the run has told already is not repeated.
    """
    for problem in problems_of(error, time.time(), _state.run or "", _state.part):
        if _identity(problem) not in _state.told:
            _write(replace(problem, message=f"{problem.message}{where}").to_dict())


def text_of(error: BaseException | None) -> str:
    """Name the type and the place of an error, without its text, which may hold a URL."""
    if error is None:
        return "an error"
    return f"{type(error).__name__} at {(places(error) or ['an unknown place'])[-1]}"


class _LogLines(logging.Handler):
    """A handler that writes log records. Their tracebacks are left out but for the place."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001 - logging would print a traceback
            message = "a log record whose arguments do not fit its text"
        if record.exc_info:
            message = f"{message}: {text_of(record.exc_info[1])}"
        _write(_log_line(record, message))


_log_lines = _LogLines()


def _tell_description(text: str) -> None:
    """Write what the work waits for, because a signal asks for it."""
    # Not by a logger, whose level might leave it out.
    record = logging.makeLogRecord({"name": "harvester.signals", "levelno": logging.INFO})
    _write(_log_line(record, text))


def _log_line(record: logging.LogRecord, message: str) -> dict[str, Any]:
    """Return a log line as an object; a warning or an error of harvester's own is a problem.

    A record that another process has logged has its ``shard``.
    """
    shard = getattr(record, "shard", None) or _state.part
    line = Problem(record.created, _state.run or "", shard, "warning", message).to_dict()
    level = [name for name, number in _LEVELS.items() if number <= record.levelno]
    line["level"] = level[-1] if level else "debug"
    if record.name.partition(".")[0] == "harvester" and record.levelno >= logging.WARNING:
        return line
    common = {name: line[name] for name in _HEAD}
    return {**common, "event": "log", "logger": record.name, "message": message}


def _identity(problem: Problem) -> tuple[object, ...]:
    """Return what an error has in common with itself when it has passed more callers."""
    message, *_ = problem.message.partition(CALLED_FROM)
    return problem.cause, message, problem.file, problem.line, problem.column


def _write(line: dict[str, Any]) -> None:
    """Write an object as one line, ignoring write errors."""
    line["run_id"] = line["run_id"] or None
    # Characters outside of a charset would be written as escapes that are not JSON's.
    plain = (sys.stderr.encoding or "").lower() not in {"utf-8", "utf8"}
    text = inert_json(json.dumps(in_no_run(with_texts, _safe, line), ensure_ascii=plain))
    with _lock, suppress(OSError):
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


def _safe(text: str) -> str:
    return own_text(text, _MAX_TEXT)

"""Events of a run, as programs get them and as `--log-format json` writes them.

All are frozen and can be pickled. ``time`` is in seconds since the Unix epoch, ``shard`` is like
``2/8`` or None. ``to_dict`` returns the JSON object of a log line.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, NamedTuple, TypeAlias

from harvester.core import errors
from harvester.core.calendar import utc_text
from harvester.core.plain import plain
from harvester.runs.record.prospects import comes_at, moment_text

Cause: TypeAlias = Literal[
    "manifest",
    "usage",
    "store",
    "locked",
    "lease",
    "unauthorised",
    "unanswered",
    "died",
    "memory",
    "bug",
    "refused",
    "shared_token",
    "failed",
    "deferred",
    "not_ready",
    "quota",
    "minute_limit",
    "quarantined",
    "empty_everywhere",
    "no_rows",
    "clock",
    "unreachable",
    "foreign_page",
    "no_answer",
    "warning",
]
"""Causes of a problem. The first ten end a command or a shard, the last is a warning in a log.
The three before it pass, or end as `deferred`."""

Level: TypeAlias = Literal["debug", "info", "warning", "error"]

_ENDING: dict[type[errors.HarvesterError], Cause] = {
    errors.UsageError: "usage",
    errors.StoreError: "store",
    errors.Busy: "locked",
    errors.LeaseLost: "lease",
    errors.Unauthorised: "unauthorised",
    errors.Unanswered: "unanswered",
    errors.ProcessDied: "died",
    errors.MemoryLimit: "memory",
}
"""Causes of the errors that end a command, and the reasons of a run that such an error ended."""

_ENDS_A_COMMAND: frozenset[Cause] = frozenset({"manifest", "bug", *_ENDING.values()})

VERSION = 1
"""Version of the events. A newer one may have members and events that this one has not."""

MAX_ACCOUNTS = 3
"""Accounts that a problem names; ``count`` has the number of all of them."""

REPEAT_SECONDS = 60.0
"""A problem whose count has grown is told again after so many seconds, and never sooner."""


class Stamp(NamedTuple):
    """The first members of an event: its time, its run, its shard."""

    time: float
    run_id: str
    shard: str | None


@dataclass(frozen=True, slots=True)
class _Event:
    event: ClassVar[str]

    time: float
    run_id: str
    shard: str | None

    @property
    def level(self) -> Level:
        """The weight of the event: `error` for a problem that ends a command."""
        return "info"

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object of the event: its time in RFC 3339, its name, its members."""
        when = utc_text(self.time)
        head = {"time": when, "level": self.level, "event": self.event, "version": VERSION}
        return {**head, **plain(self), "time": when}


@dataclass(frozen=True, slots=True)
class RunStarted(_Event):
    """A planned run. ``windows`` are the requests that it needs if none fails."""

    event: ClassVar[str] = "run_started"

    windows: int
    account_days: int
    bound_seconds: float
    bound_by: str


@dataclass(frozen=True, slots=True)
class Progress(_Event):
    """The state of a run under way, in numbers since its start; every ten seconds.

    ``done`` of the ``windows`` are answered, and ``days_done`` of their account-``days``. Of the
    ``accounts`` with wanted days some are done, wait (for a quota, a limit or a host that is away),
    or were refused; the others are being asked. ``seconds_left`` is what the rest takes at the
    speed so far, None before the first answer; ``least_seconds_left`` is its lower bound by the
    rate limit.
    """

    event: ClassVar[str] = "progress"

    done: int
    windows: int
    days_done: int
    days: int
    requests: int
    retries: int
    files: int
    seconds: float
    rows: int
    accounts: int
    accounts_done: int
    accounts_waiting: int
    accounts_refused: int
    seconds_left: float | None
    least_seconds_left: float

    @property
    def rate(self) -> float:
        """Requests per second so far."""
        return self.requests / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Problem(_Event):
    """A cause of trouble when it first appears, and once more when it is gone (``resolved``).

    It comes again (``repeated``), at most once a minute, while its count grows. ``accounts`` are
    the first three of ``count``, the number so far, and ``names`` their names, empty where there is
    none. ``attempts`` counts those that met a cause for which the run tries again. ``dataset`` is
    None if all of them are concerned, ``errcode`` without an answer of WeChat's. ``file``, ``line``
    and ``column`` are set for a mistake of the manifest. ``run_id`` is empty before a run has
    begun.
    """

    event: ClassVar[str] = "problem"

    cause: Cause
    message: str
    advice: str = ""
    scope: str | None = None
    dataset: str | None = None
    accounts: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    count: int = 0
    attempts: int = 0
    errcode: int | None = None
    retry_at: str | None = None
    repeated: bool = False
    resolved: bool = False
    file: str | None = None
    line: int | None = None
    column: int | None = None

    @property
    def level(self) -> Level:
        """The weight of the event: `error` for a problem that ends a command."""
        return "error" if self.cause in _ENDS_A_COMMAND else "warning"


@dataclass(frozen=True, slots=True)
class Published(_Event):
    """A replaced file: the days (``2024-01-31``) and the number of accounts with news."""

    event: ClassVar[str] = "published"

    dataset: str
    ref_month: str
    path: str
    begin_date: str | None
    end_date: str | None
    accounts: int
    rows_before: int
    rows_after: int


@dataclass(frozen=True, slots=True)
class RunEnded(_Event):
    """The end of a run; ``record`` is its run record without the lists of accounts and days.

    ``attention`` has the first items, new ones first; ``attention_total`` counts all of them.
    """

    event: ClassVar[str] = "run_ended"

    exit_code: int
    outcome: str
    reasons: tuple[str, ...]
    retry_at: str | None
    requests: int
    rows: int
    seconds: float
    record: dict[str, Any] = field(default_factory=dict)
    attention: tuple[dict[str, Any], ...] = ()
    attention_new: int = 0
    attention_total: int = 0


Event: TypeAlias = RunStarted | Progress | Problem | Published | RunEnded
"""Any event of a run."""


def with_texts(change: Callable[[str], str], value: Any) -> Any:
    """Return a value for JSON with each text in it changed, as to one that does not act."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {change(name): with_texts(change, each) for name, each in value.items()}
    return [with_texts(change, x) for x in value] if isinstance(value, list | tuple) else value


def problems_of(
    error: BaseException, time: float, run_id: str = "", shard: str | None = None
) -> Iterator[Problem]:
    """Yield the problems that an error which ends a command stands for.

    They are the mistakes of a manifest, each with its place, or one problem. Of a bug they have the
    type and the place, without the text of foreign errors, which may hold a URL.
    """
    error = own_error(error)
    if isinstance(error, errors.UsageError) and error.mistakes:
        for place, what, hint in error.mistakes:
            text = f"{place.cell}: {what}" if place.cell else what
            mistake = Problem(time, run_id, shard, "manifest", text, hint)
            yield replace(mistake, file=str(place.file), line=place.line, column=place.column)
    else:
        cause = cause_of(error)
        problem = Problem(time, run_id, shard, cause, "; ".join(error.lines), error.advice)
        yield replace(problem, retry_at=moment_text(comes_at(cause, time, error=error)))


def cause_of(error: errors.HarvesterError) -> Cause:
    """Return the word for an error that ends a command."""
    return next((cause for kind, cause in _ENDING.items() if isinstance(error, kind)), "bug")


_REPORT = "Please report it with the message, and with `frames` of the run record if there is one."

_log = logging.getLogger(__name__)


def own_error(error: BaseException) -> errors.HarvesterError:
    """Return an error that ends a command, of a group the first one; the bug that a foreign one is.

    Tasks fail together, and those after the first have the same cause or were cancelled.
    """
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error if isinstance(error, errors.HarvesterError) else bug_of(error)


def bug_of(error: BaseException) -> errors.HarvesterError:
    """Return the error that a foreign one stands for, without its text, which may hold a URL.

    It names the type and the last frames; ``frames`` has all.
    """
    text = f"a bug in harvester: {type(error).__name__} at {errors.last_places(error)}"
    found = errors.HarvesterError(text, _REPORT)
    found.frames = tuple(errors.places(error))
    _log.debug("%s; all frames: %s", text, found.frames)
    return found

"""Events of a run, as programs get them and as `--log-format json` writes them.

All are frozen and can be pickled. ``time`` is in seconds since the Unix epoch, ``shard`` is like
``2/8`` or None. ``to_dict`` returns the JSON object of a log line.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Literal, TypeAlias

from harvester.core.calendar import utc_text

Cause: TypeAlias = Literal[
    "manifest",
    "usage",
    "store",
    "locked",
    "unauthorised",
    "unanswered",
    "bug",
    "refused",
    "failed",
    "deferred",
    "not_ready",
    "quota",
    "minute_limit",
    "quarantined",
    "warning",
]
"""Causes of a problem. The last eight but one are the reasons of a run, as in its record."""

MAX_ACCOUNTS = 3
"""Accounts that a problem names; ``count`` has the number of all of them."""


@dataclass(frozen=True, slots=True)
class _Event:
    event: ClassVar[str]
    level: ClassVar[Literal["info", "warning", "error"]] = "info"

    time: float
    run_id: str
    shard: str | None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object of the event: its time in RFC 3339, its name, its members."""
        members = asdict(self)
        when = utc_text(members.pop("time"))
        return {"time": when, "level": self.level, "event": self.event, **members}


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
    """The state of a run under way, in numbers since its start; every ten seconds."""

    event: ClassVar[str] = "progress"

    done: int
    windows: int
    requests: int
    retries: int
    files: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Problem(_Event):
    """A cause of trouble when it first appears, and once more when it is gone (``resolved``).

    ``accounts`` are the first three of ``count``. ``errcode`` is None without an answer of
    WeChat's. ``file``, ``line`` and ``column`` are set for a mistake of the manifest.
    """

    event: ClassVar[str] = "problem"
    level: ClassVar[Literal["info", "warning", "error"]] = "warning"

    cause: Cause
    message: str
    advice: str = ""
    scope: str | None = None
    dataset: str | None = None
    accounts: tuple[str, ...] = ()
    count: int = 0
    errcode: int | None = None
    retry_at: str | None = None
    resolved: bool = False
    file: str | None = None
    line: int | None = None
    column: int | None = None


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
    """The end of a run; ``record`` is its run record without the lists of days and files."""

    event: ClassVar[str] = "run_ended"

    exit_code: int
    outcome: str
    reasons: tuple[str, ...]
    retry_at: str | None
    requests: int
    rows: int
    seconds: float
    record: dict[str, Any] = field(default_factory=dict)


Event: TypeAlias = RunStarted | Progress | Problem | Published | RunEnded
"""Any event of a run."""

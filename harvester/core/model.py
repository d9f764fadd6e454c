"""Immutable values that the rooms exchange: windows, answers, refusals, quotas and appids."""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass
from datetime import date
from enum import Enum
from typing import Annotated, NamedTuple, TypeAlias

from annotated_types import Interval

from harvester.core.calendar import Day, Month, range_text

_MAX_NUMBER = 1 << 40

Count: TypeAlias = Annotated[int, Interval(ge=0, le=_MAX_NUMBER)]
"""A number of calls, or a day. A file of harvester with a greater or negative one is damaged."""

Difference: TypeAlias = Annotated[int, Interval(ge=-_MAX_NUMBER, le=_MAX_NUMBER)]
"""A number of rows that were added, negative for rows that were removed."""

ExitCode: TypeAlias = Annotated[int, Interval(ge=0, le=255)]
"""The exit code of a process, in a file of harvester."""

Seconds: TypeAlias = Annotated[float, Interval(ge=0, le=_MAX_NUMBER)]
"""A duration, or a time since the Unix epoch, in seconds, within the same bounds."""


class Window(NamedTuple):
    """The days of one request: ``begin`` to ``end`` of an account's dataset, both included."""

    appid: str
    dataset: str
    begin: Day
    end: Day

    def __str__(self) -> str:
        return f"{self.appid} {self.dataset} {range_text(self.begin, self.end)}"


class Partition(NamedTuple):
    """One data file, which is published as a whole: a dataset's month in a bucket."""

    dataset: str
    month: Month
    bucket: int


class RawAnswer(NamedTuple):
    """The unchanged body that answered a window.

    ``asked_at`` is in whole seconds since the Unix epoch. ``refetch`` is a mask of the window's
    days, bit 0 being its first: days that the user wants replaced although they are final.
    """

    window: Window
    asked_at: int
    refetch: int
    body: bytes


class RowlessElement(NamedTuple):
    """An element of an answer that has no row. ``key`` has its own members of the key."""

    appid: str
    dataset: str
    day: Day
    key: str


@dataclass(frozen=True, slots=True)
class Rate:
    """A rate limit: ``count`` requests in any ``period`` seconds."""

    count: int
    period: float


class Reserve(NamedTuple):
    """Daily calls left to other services: a number of ``calls`` or a ``share`` (0 to 1)."""

    calls: int = 0
    share: float = 0.0

    def of(self, quota: int) -> int:
        """Return the number of reserved calls of a quota."""
        return self.calls + math.ceil(self.share * quota)


MAX_ODDITIES = 20
"""Maximum oddities of a dataset that are kept: a member may have another odd value each time."""


class OddityKind(Enum):
    """The kinds of oddities, as in the run record."""

    UNKNOWN_MARK = "unknown_mark"
    """``is_delay`` is neither true nor false. The name is its value."""
    FALLING_TOTAL = "falling_total"
    """A total falls from one day to the next. The name is its column."""
    ABOVE_MAXIMUM = "above_maximum"
    """A value exceeds the documented maximum. The name is its column."""
    BESIDE_LIST = "beside_list"
    """An undeclared member beside the list that contradicts nothing. The name is that member."""
    HINT = "hint"
    """A member beside the list that may mean that rows are missing. The name is that member."""
    MISSING_COUNT = "missing_count"
    """A row has no value of a required count. The name is its column."""
    CACHED = "cached"
    """A cache gave the answer. The name is ``Age``."""
    LONG_EXTRA = "long_extra"
    """A row has more undeclared members than are kept. The name is ``_extra``."""


DOUBTS = (OddityKind.HINT, OddityKind.MISSING_COUNT, OddityKind.CACHED)
"""Kinds of oddities that make an answer doubtful."""


APPID = r"wx[0-9a-f]{16}"
"""Pattern of an account's appid."""

_APPID = re.compile(APPID)


def is_appid(text: str) -> bool:
    """Return whether a text has the form of an account's appid."""
    return _APPID.fullmatch(text) is not None


def bucket_of(appid: str, buckets: int) -> int:
    """Return the bucket of an account's rows.

    It is the first 8 bytes of sha256(appid), big-endian, modulo ``buckets``.
    """
    digest = hashlib.sha256(appid.encode()).digest()
    return int.from_bytes(digest[:8], "big") % buckets


class Refusal(NamedTuple):
    """An error answer of WeChat. ``errmsg`` is safe to print; WeChat's support asks for ``rid``."""

    errcode: Annotated[int, Interval(ge=-_MAX_NUMBER, le=_MAX_NUMBER)]
    errmsg: str
    rid: str

    def __str__(self) -> str:
        rid = f" (rid {self.rid})" if self.rid else ""
        return f"{self.errcode} {self.errmsg}{rid}"


class LearntRefusal(NamedTuple):
    """A refusal for which a run has deferred the rest of a dataset of an account.

    ``since`` is the Beijing day on which that was first so, ``on`` the last one, and ``times``
    counts the runs of that day. ``between_answers`` is True if windows were answered as well.
    """

    refusal: Refusal
    since: Count
    on: Count
    times: Count = 1
    between_answers: bool = False


class ReportedQuota(NamedTuple):
    """The daily quota of one account and dataset as WeChat reports it.

    ``used`` and ``remain`` are of the Beijing day of ``asked_at``, which is in seconds since the
    Unix epoch. They include the calls of the account's other services.
    """

    daily_limit: Count
    used: Count
    remain: Count
    asked_at: Seconds


@dataclass(frozen=True, slots=True)
class DayRange:
    """Consecutive days of one account and dataset, ``begin`` to ``end``, both included."""

    appid: str
    dataset: str
    begin: date
    end: date

    @property
    def days(self) -> int:
        """The number of days."""
        return (self.end - self.begin).days + 1

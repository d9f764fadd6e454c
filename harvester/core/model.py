"""Windows, answers and appids: plain immutable values that every part of a run passes on."""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass
from typing import NamedTuple

from harvester.core.calendar import Day, day_text


class Window(NamedTuple):
    """What one request asks: an account's days from ``begin`` to ``end``, both included."""

    appid: str
    dataset: str
    begin: Day
    end: Day

    def __str__(self) -> str:
        days = day_text(self.begin)
        if self.end != self.begin:
            days = f"{days}..{day_text(self.end)}"
        return f"{self.appid} {self.dataset} {days}"


class Answer(NamedTuple):
    """What came back for a window, as it came.

    ``asked_at`` is in whole seconds since the Unix epoch. ``refetch`` is the mask of the window's
    days, its first being bit 0, that a user asked to have replaced even if they are final.
    """

    window: Window
    asked_at: int
    refetch: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Rate:
    """``count`` requests in any ``period`` seconds."""

    count: int
    period: float


@dataclass(frozen=True, slots=True)
class Reserve:
    """Calls a day that are left to others: so many, or a ``share`` of the quota."""

    calls: int = 0
    share: float = 0.0

    def of(self, quota: int) -> int:
        """How many calls of a quota that is."""
        return self.calls + math.ceil(self.share * quota)


APPID = r"wx[0-9a-f]{16}"
"""What the appid of an account looks like."""

_APPID = re.compile(APPID)


def is_appid(text: str) -> bool:
    """Whether a text could be the appid of an account."""
    return _APPID.fullmatch(text) is not None


def bucket_of(appid: str, buckets: int) -> int:
    """The bucket an account's rows live in.

    The first 8 bytes of sha256(appid), big-endian, modulo ``buckets``.
    """
    digest = hashlib.sha256(appid.encode()).digest()
    return int.from_bytes(digest[:8], "big") % buckets


class Refusal(NamedTuple):
    """WeChat's no. ``errmsg`` is safe to print, ``rid`` is what WeChat's support asks for."""

    errcode: int
    errmsg: str
    rid: str

    def __str__(self) -> str:
        rid = f" (rid {self.rid})" if self.rid else ""
        return f"{self.errcode} {self.errmsg}{rid}"


class ReportedQuota(NamedTuple):
    """What WeChat said that an account may ask of one dataset in a day.

    ``used`` and ``remain`` are of the Beijing day of ``asked_at``, which is in seconds since the
    Unix epoch; calls of other services of the account count as well.
    """

    daily_limit: int
    used: int
    remain: int
    asked_at: float


@dataclass(frozen=True, slots=True)
class DayRange:
    """Days of one account that are alike, ``begin`` to ``end``, both included."""

    appid: str
    dataset: str
    begin: Day
    end: Day

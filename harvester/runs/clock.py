"""Clock of an operation: this machine's, checked against the ``Date`` of WeChat's answers."""

from __future__ import annotations

import datetime as dt
import logging
import time
from bisect import insort
from collections import deque
from email.utils import parsedate_to_datetime
from functools import lru_cache
from pathlib import Path

from harvester.core.calendar import EMULATED, Clock
from harvester.core.text.wording import Message, said
from harvester.planning.ledger import WRONG_SECONDS, Moment
from harvester.storage.backends.elapsed import boot_seconds

WARN_SECONDS = 120.0
"""Offset in seconds above which a clock is reported."""

_MAX_OFFSETS = 61
_MAX_CORRECTIONS = 3
_PLAUSIBLE_YEARS = range(2020, 2100)
_HALF_SECOND = 0.5
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

_log = logging.getLogger("harvester.clock")

# Kept, because all connections tell the same second.
_moment_of = lru_cache(8)(parsedate_to_datetime)


def boot_id() -> str:
    """Return the name of this start of the machine, empty if the system has none."""
    try:
        return _BOOT_ID.read_text("ascii").strip()
    except (OSError, ValueError):
        return ""


class CheckedClock:
    """Clock in seconds since the Unix epoch. It steps in `correct` and `move` alone.

    ``started_at`` is the time at which the operation began. ``offset`` is the median of WeChat's
    time minus ours, None before the first answer. Once ``is_off`` is True, the clock has to be
    corrected. Between two corrections it counts the machine's ``elapsed`` seconds, so that
    differences of its times are durations. One thread at a time may call anything but `__call__`.
    By default it is the clock of this machine.

    ``agrees`` says whether it agrees with what an earlier run heard, None if that is unknown. It is
    evidence and no correction: a machine that was restored from a snapshot repeats an old boot, so
    what that run heard may be wrong by now.
    """

    def __init__(
        self, wall: Clock | None = None, elapsed: Clock | None = None, boot: str | None = None
    ) -> None:
        self.elapsed = elapsed or boot_seconds
        self._boot = boot_id() if boot is None else boot
        self.started_at = (wall or time.time)()
        self._zero = self._machines_zero = self.started_at - self.elapsed()
        self._offsets: deque[float] = deque()
        self._ordered: list[float] = []
        self.agrees: bool | None = None
        self._is_reported = self._is_emulated = False
        self._corrections = 0
        self.offset: float | None = None
        self.is_off = False

    def __call__(self) -> float:
        """Return the time, in seconds since the Unix epoch."""
        return self._zero + self.elapsed()

    @property
    def is_checked(self) -> bool:
        """True if WeChat told the time, or an earlier run that heard it has vouched for ours."""
        return bool(self.agrees) or self.offset is not None

    @property
    def is_doubted(self) -> bool:
        """True if what an earlier run heard contradicts this clock, and WeChat was not heard."""
        return self.agrees is False and self.offset is None

    @property
    def is_apart(self) -> bool:
        """True if the machine's clock and WeChat's differ too much for a run to be complete."""
        three = self._three_clocks()
        return self.is_doubted or max(three) - min(three) > WRONG_SECONDS

    @property
    def behind(self) -> float:
        """Seconds by which the machine's clock or WeChat's, the earlier one, is behind this one."""
        return -min(self._three_clocks())

    def earlier(self, moment: float) -> float:
        """Return a moment of this clock by the earlier one while the clocks are apart.

        It decides what is asked: by a clock that is ahead that would be days to come.
        """
        return moment - self.behind if self.is_apart else moment

    def hear(self, date: str) -> None:
        """Take in the ``Date`` header of an answer of WeChat; any other text is ignored."""
        try:
            told = _moment_of(date)
        except (ValueError, OverflowError):
            return
        # A nonsense year would make the sets of days as long as the time up to it.
        if told.year not in _PLAUSIBLE_YEARS:
            return
        if told.tzinfo is None:
            told = told.replace(tzinfo=dt.UTC)
        self._is_emulated = date.endswith(EMULATED)
        # A header has whole seconds, so on average half a second of the real time is cut off.
        offset = told.timestamp() + _HALF_SECOND - self()
        if len(self._offsets) == _MAX_OFFSETS:
            self._ordered.remove(self._offsets.popleft())
        self._offsets.append(offset)
        insort(self._ordered, offset)
        self._judge()

    def correct(self) -> float:
        """Go by WeChat's time from now on if the clock is off; return the seconds that it moved.

        If later dates outvote the ones so far, it may be moved back.
        """
        if not self.is_off or self.offset is None:
            return 0.0
        self.is_off, self._corrections = False, self._corrections + 1
        # Later votes may say that it was right. A run has dropped answers all the same, so it asks
        # again by the clock that it has.
        moved = self.offset if abs(self.offset) > WRONG_SECONDS else 0.0
        self.move(moved)
        self._offsets = deque(each - moved for each in self._offsets)
        self._ordered = sorted(self._offsets)
        self._judge()
        return moved

    def move(self, seconds: float) -> None:
        """Step by so many seconds, because another process has heard that the clock is off."""
        self._zero += seconds
        self.started_at += seconds
        if self._is_emulated:
            self._machines_zero = self._zero

    def moment(self) -> Moment:
        """Return the present moment as a ledger keeps it."""
        offset = None if self._is_emulated else self.offset
        return Moment(self(), self._boot, self.elapsed(), offset)

    def _three_clocks(self) -> tuple[float, float, float]:
        """Return this clock, the machine's and WeChat's, in seconds after this one."""
        return 0.0, self._machines_zero - self._zero, self.offset or 0.0

    def _judge(self) -> None:
        # Kept, because a run asks after every answer. A mean of two is the time of no clock, and
        # those that are as many as the others do not move it.
        count = len(self._ordered)
        two = self._ordered[(count - 1) // 2], self._ordered[count // 2]
        self.offset = offset = min(two, key=abs)
        far = abs(offset) > WRONG_SECONDS
        self.is_off |= far and self._corrections < _MAX_CORRECTIONS
        if abs(offset) > WARN_SECONDS and not self._is_reported:
            self._is_reported = True
            then = " and this run goes by WeChat's" if far else ""
            _log.warning("%s%s; set it, for example with NTP", apart_text(offset), then)


def apart_text(offset: float) -> Message:
    """Return how far a clock is from WeChat's, which is ``offset`` seconds ahead, as words."""
    time = str(dt.timedelta(seconds=round(abs(offset))))
    if offset > 0:
        return said("this machine's clock is {time} behind WeChat's", time=time)
    return said("this machine's clock is {time} ahead of WeChat's", time=time)

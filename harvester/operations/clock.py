"""Clock of an operation: this machine's, checked against the ``Date`` of WeChat's answers."""

from __future__ import annotations

import datetime as dt
import logging
import time
from collections import deque
from email.utils import parsedate_to_datetime
from pathlib import Path
from statistics import median

from harvester.core.calendar import Clock
from harvester.planning.quota import Moment

WARN_SECONDS = 120.0
"""Offset in seconds above which a clock is reported."""

OFF_SECONDS = 600.0
"""Offset in seconds above which a clock is corrected."""

_MAX_OFFSETS = 61
_PLAUSIBLE_YEARS = range(2020, 2100)
_HALF_SECOND = 0.5
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

_log = logging.getLogger("harvester.clock")


def boot_seconds() -> float:
    """Return the seconds since this machine started, sleep included where the system counts it."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


def boot_id() -> str:
    """Return the name of this start of the machine, empty if the system has none."""
    try:
        return _BOOT_ID.read_text("ascii").strip()
    except (OSError, ValueError):
        return ""


class CheckedClock:
    """Clock in seconds since the Unix epoch that never steps back, and is corrected at most once.

    ``started_at`` is the time at which the operation began. ``hear`` is told each ``Date`` of
    WeChat; `offset` is the median of WeChat's time minus ours, None before the first. Between two
    calls of `correct` the clock counts the machine's elapsed seconds, so that differences of its
    times are durations. Not safe for concurrent threads: all calls but `__call__` and `moment`
    come from one thread at a time.
    """

    def __init__(
        self, wall: Clock = time.time, elapsed: Clock = boot_seconds, boot: str | None = None
    ) -> None:
        self._elapsed = elapsed
        self._boot = boot_id() if boot is None else boot
        self.started_at = wall()
        self._zero = self.started_at - elapsed()
        self._offsets: deque[float] = deque(maxlen=_MAX_OFFSETS)
        self._is_vouched = False
        self._is_reported = False
        self.correction = 0.0

    def __call__(self) -> float:
        """Return the time, in seconds since the Unix epoch."""
        return self._zero + self._elapsed()

    @property
    def offset(self) -> float | None:
        """Seconds by which WeChat's clock is ahead of this one, None if that is unknown."""
        return median(self._offsets) if self._offsets else None

    @property
    def is_checked(self) -> bool:
        """True if WeChat told the time, or an earlier run that heard it has vouched for ours."""
        return self._is_vouched or bool(self._offsets)

    @property
    def is_off(self) -> bool:
        """True if `correct` would change the clock."""
        offset = self.offset
        return not self.correction and offset is not None and abs(offset) > OFF_SECONDS

    def hear(self, date: str) -> None:
        """Take in the ``Date`` header of an answer of WeChat; any other text is ignored."""
        try:
            told = parsedate_to_datetime(date)
        except (ValueError, OverflowError):
            return
        # A nonsense year would make the sets of days as long as the time up to it.
        if told.year not in _PLAUSIBLE_YEARS:
            return
        if told.tzinfo is None:
            told = told.replace(tzinfo=dt.UTC)
        # A header has whole seconds, so on average half a second of the real time is cut off.
        self._offsets.append(told.timestamp() + _HALF_SECOND - self())
        self._report()

    def vouch(self, moment: float | None) -> None:
        """Take in WeChat's time as an earlier run of this boot knows it: evidence, no correction.

        A machine that was restored from a snapshot repeats an old boot, so this time may be wrong.
        """
        self._is_vouched = moment is not None and abs(moment - self()) <= OFF_SECONDS

    def correct(self) -> bool:
        """Go by WeChat's time from now on if the clock is off; return whether that was done."""
        offset = self.offset
        if offset is None or not self.is_off:
            return False
        self.correction = offset
        self._zero += offset
        self.started_at += offset
        corrected = [heard - offset for heard in self._offsets]
        self._offsets.clear()
        self._offsets.extend(corrected)
        return True

    def moment(self) -> Moment:
        """Return the present moment as a ledger keeps it."""
        return Moment(self(), self._boot, self._elapsed(), self.offset)

    def _report(self) -> None:
        offset = self.offset
        if self._is_reported or offset is None or abs(offset) <= WARN_SECONDS:
            return
        self._is_reported = True
        then = " and this run goes by WeChat's" if abs(offset) > OFF_SECONDS else ""
        _log.warning("%s%s; set it, for example with NTP", apart_text(offset), then)


def apart_text(offset: float) -> str:
    """Return how far a clock is from WeChat's, which is ``offset`` seconds ahead, as words."""
    direction = "behind" if offset > 0 else "ahead of"
    return (
        f"this machine's clock is {dt.timedelta(seconds=round(abs(offset)))} {direction} WeChat's"
    )

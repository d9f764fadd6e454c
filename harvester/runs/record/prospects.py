"""Prospects: when a later run could obtain what a run left open, by the reason for which it did."""

from __future__ import annotations

from harvester.core import calendar
from harvester.core.errors import Busy, HarvesterError
from harvester.core.exit_codes import Exit

_MINUTE = 60.0
_HOUR = 3600.0
_DAY = 86_400.0
_READY_MINUTES = 10 * 60
_RENEWAL_MINUTES = 5
"""Minutes after midnight in Beijing. WeChat's day may begin a little later than this machine's."""

_SECONDS = {
    "time_budget": 0.0,
    "stopped": 0.0,
    "incomplete": 0.0,
    "memory": 0.0,
    "minute_limit": _MINUTE,
    # A lock on a disk has no end that is known, because its holder may take any time.
    "locked": _MINUTE,
    # The run that took over may be at work; if there is none, the lease has ended by then.
    "lease": _MINUTE,
    # An object store that was away or refused. A failing disk is a person's, and ends with 1.
    "store": 5 * _MINUTE,
    "deferred": 10 * _MINUTE,
    "unanswered": 10 * _MINUTE,
    "clock": 10 * _MINUTE,
    "died": 10 * _MINUTE,
}


def moment_text(moment: float | None) -> str | None:
    """Return a moment as RFC 3339 in UTC; None for None."""
    return None if moment is None else calendar.utc_text(moment)


def comes_at(
    reason: str, ended: float, asked: float | None = None, error: HarvesterError | None = None
) -> float | None:
    """Return the earliest moment for days that a run left for a reason; None if none comes alone.

    The run ended at ``ended`` and made its last request at ``asked``, by default the same. All
    times are in seconds since the Unix epoch, and the result is not before ``ended``. ``error`` is
    the one that ended the run: another run that holds a bucket says when its lease ends.
    """
    if isinstance(error, Busy) and error.retry_at is not None:
        return max(ended, error.retry_at.timestamp())
    if error is not None and error.exit_code is Exit.BUG:
        return None
    if reason == "quota":
        # A run that ends after midnight may have met the quota of the day before.
        day = calendar.today(ended if asked is None else asked)
        return max(ended, calendar.instant(day + 1, _RENEWAL_MINUTES))
    if reason == "no_rows":
        # When most days of a dataset get ready.
        today = calendar.instant(calendar.today(ended), _READY_MINUTES)
        return today if today > ended else today + _DAY
    if reason == "not_ready":
        return ended - ended % _HOUR + _HOUR
    seconds = _SECONDS.get(reason)
    return None if seconds is None else ended + seconds

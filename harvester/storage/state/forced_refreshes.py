"""Forced token refreshes of each account, counted over all runs: WeChat grants 20 a day.

One file per account, written before each call, so a killed run counts one too many. A damaged file
counts as spent for today. After a lost one a run may make calls that WeChat refuses.
"""

from __future__ import annotations

from dataclasses import dataclass

from harvester.core import calendar
from harvester.core.model import Count, Seconds
from harvester.storage.layout import FORCED_REFRESHES, Tree
from harvester.storage.state.json_file import SideFile

MAX_PER_DAY = 20
MIN_SECONDS_APART = 30.0
"""Seconds between two refreshes: within them WeChat returns the current token."""


@dataclass(frozen=True, slots=True)
class _Spent:
    """The refreshes of a Beijing day, and the time of the last one in seconds since the epoch."""

    day: str
    count: Count
    last: Seconds = 0.0


def spend(tree: Tree, appid: str, now: float) -> bool:
    """Count one more refresh at ``now``, if the account has one left; return whether it has.

    ``now`` is in seconds since the Unix epoch; a day is one of Beijing. Raises StoreError, and
    UsageError for a newer version.
    """
    today = calendar.day_text(calendar.today(now))

    def one_more(spent: _Spent | None) -> _Spent | None:
        spent = spent or _Spent(today, 0)
        count = spent.count if spent.day == today else 0
        # A time in the future is of another machine's clock, and delays the refresh until then.
        if count >= MAX_PER_DAY or now - spent.last < MIN_SECONDS_APART:
            return None
        return _Spent(today, count + 1, now)

    name, full = f"{FORCED_REFRESHES}/{appid}.json", _Spent(today, MAX_PER_DAY)
    return SideFile(tree.store, name, _Spent, damaged=full).update(one_more)

"""Forced token refreshes of each account, counted over all runs: WeChat grants 20 a day.

A file an account, written before the call it is about: a run that is killed in between has counted
one too many. A damaged file counts as spent for today; a lost one may let a run ask for more than
WeChat grants, and WeChat refuses.
"""

from __future__ import annotations

from dataclasses import dataclass

from harvester.core import calendar
from harvester.core.model import bucket_of
from harvester.storage.layout import FORCED_REFRESHES, Tree
from harvester.storage.state import json_file

MAX_PER_DAY = 20
MIN_SECONDS_APART = 30.0
"""Seconds between two: within them WeChat answers with the token as it is."""


@dataclass(frozen=True, slots=True)
class _Spent:
    """The refreshes of a Beijing day, and when the last one was, in seconds since the epoch."""

    day: str
    count: int
    last: float = float("-inf")


def spend(tree: Tree, appid: str, now: float) -> bool:
    """Count one more refresh at ``now``, if the account has one left; return whether it has.

    ``now`` is in seconds since the Unix epoch; a day is one of Beijing. Raises StoreError, and
    UsageError for a newer version.
    """
    name = f"{FORCED_REFRESHES}/{appid}.json"
    today = calendar.day_text(calendar.today(now))
    full, none = _Spent(today, MAX_PER_DAY), _Spent(today, 0)
    spent = json_file.read(tree.store, name, _Spent, damaged=full) or none
    count = spent.count if spent.day == today else 0
    # A last time in the future is another machine's clock: wait for it to be over.
    if count >= MAX_PER_DAY or now - spent.last < MIN_SECONDS_APART:
        return False
    temp = tree.temp(bucket_of(appid, tree.buckets), f"forced.{appid}.json")
    json_file.write(tree.store, name, _Spent(today, count + 1, now), temp)
    return True

"""How often an account's token was replaced by force, over all runs: WeChat grants 20 a day.

A note an account, written before the call it is about: a run that is killed in between has spent
one too many. A note that cannot be read counts as spent for today; one that is lost may let us ask
for more than WeChat grants, and it refuses.
"""

from __future__ import annotations

import json

from harvester import days
from harvester.core.model import bucket_of
from harvester.store.layout import FORCED, Tree

A_DAY = 20
APART = 30.0
"""Seconds between two: within them WeChat answers with the token as it is."""


def spend(tree: Tree, appid: str, now: float) -> bool:
    """Whether the account's token may be replaced by force at ``now``; a yes is written down.

    ``now`` is in seconds since the Unix epoch; a day is one of Beijing. Raises StoreError.
    """
    name = f"{FORCED}/{appid}.json"
    today = days.day_text(days.today(now))
    day, count, last = _read(tree.store.read(name), today)
    if day != today:
        count = 0
    # A last time in the future is another machine's clock: wait for it to be over.
    if count >= A_DAY or now - last < APART:
        return False
    note = {"day": today, "count": count + 1, "last": now}
    temp = tree.temp(bucket_of(appid, tree.buckets), f"forced.{appid}.json")
    tree.store.write(name, json.dumps(note).encode(), temp)
    return True


def _read(data: bytes | None, today: str) -> tuple[str, int, float]:
    """The note: its day, how often on it, and when last."""
    if data is None:
        return today, 0, float("-inf")
    try:
        note = json.loads(data)
        return str(note["day"]), int(note["count"]), float(note["last"])
    except (ValueError, KeyError, TypeError):
        return today, A_DAY, float("-inf")

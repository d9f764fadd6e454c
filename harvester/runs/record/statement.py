"""Statements beside an outcome: what is not ready or wanted, and what the days there rest on.

The summary of a run and `status` have it from here, in the same words.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from harvester.core import calendar
from harvester.core.text.wording import Message, counted, entry, said, share_text, word
from harvester.runs.record.account_report import WITNESSES, DayCounts

_SMALL = 0.01
"""Share below which one significant digit is shown."""


def statement(
    now: float, next_ready_at: float | None, *, is_wanted: bool, paused: int
) -> Message | None:
    """Return which day is over and not ready, or that nothing is wanted; None if neither holds.

    ``next_ready_at`` is when the first day gets ready that is not wanted so far, None if there is
    none. Both times are in seconds since the Unix epoch. ``is_wanted`` is False if no day is
    wanted, and ``paused`` counts the paused accounts.
    """
    if next_ready_at is not None:
        is_today = calendar.today(next_ready_at) == calendar.today(now)
        if not is_wanted:
            return said("nothing is wanted yet: {ready}", ready=_ready_text(next_ready_at, now))
        return _ready_text(next_ready_at, now) if is_today or next_ready_at <= now else None
    if is_wanted:
        return None
    if paused:
        return said("nothing is wanted: {accounts} paused", accounts=counted(paused, "account"))
    return said("nothing is wanted: no account here has a day in the range of its jobs")


def _ready_text(at: float, now: float) -> Message:
    """Return which day gets ready, when, and in how long."""
    # A period gets ready on the day after it.
    today = calendar.today(at)
    day, minutes = calendar.day_text(today - 1), round((at - calendar.instant(today)) / 60)
    time = calendar.clock_text(minutes)
    if at <= now:
        return said("{day} got ready at {time} in Beijing: run again", day=day, time=time)
    if today != calendar.today(now):
        return said("{day} gets ready on {date} in Beijing", day=day, date=calendar.day_text(today))
    wait = counted(math.ceil((at - now) / 60), "minute")
    return said("{day} gets ready at {time} in Beijing, in {wait}", day=day, time=time, wait=wait)


def ground(found: Iterable[DayCounts]) -> Message | None:
    """Return what the final days rest on, in shares of them; None if no day is final."""
    sums = DayCounts(*map(sum, zip(*found, strict=True)))._asdict()
    counts = {name: sums[name] for name in WITNESSES if sums[name]}
    if not counts:
        return None
    shares = [
        said("{share} {witness}", share=_share(count, counts), witness=word("witness", name))
        for name, count in counts.items()
    ]
    return entry(said("final days rest on"), shares)


def _share(count: int, counts: Mapping[str, int]) -> str:
    share = count / sum(counts.values())
    # Rounded down, a small share would be none.
    return share_text(share) if share >= _SMALL else f"{max(100 * share, 0.01):.1g}%"

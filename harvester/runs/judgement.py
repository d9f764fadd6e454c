"""Judgement of what a manifest expects of its datasets, by the files alone.

Nothing is kept from one judgement to the next: the coverage shows which accounts are new.
See docs/decisions/0053-expectations.md.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import reduce

from harvester.core import calendar, readiness
from harvester.core.calendar import FIRST_DAY, NO_DAYS, Day, DaySet
from harvester.core.config.expect import USUAL_TIME, Expect
from harvester.core.config.parsers import begin_day
from harvester.core.config.settings import Manifest
from harvester.core.dataset import Dataset
from harvester.planning.wanted_days import Wanted
from harvester.runs.record.expectations import COMPLETE_BY, WITH_ROWS, Expectation
from harvester.storage.coverage_scan import States

FIRST_DAYS = 14
"""Days after the oldest covered one on which nothing is expected of an account."""


def judge(
    manifest: Manifest,
    want: Wanted,
    states: Mapping[str, Mapping[str, States]],
    lost: Container[tuple[str, str, str]],
    now: float,
) -> tuple[Expectation, ...]:
    """Return the expectations that can be judged at ``now``, in seconds since the Unix epoch.

    ``want`` has the wanted days of the accounts that are not paused, and ``states`` are theirs.
    ``lost`` has datasets and appids of which days do not come by themselves, with the reason.
    """
    found: list[Expectation] = []
    for name, expect in manifest.expect.items():
        of_dataset = want.get(name, {})
        day = _judged_day(manifest.datasets[name], expect, of_dataset.values(), now)
        if day is None:
            continue
        begin = _begin_of_known(manifest, name, day, now)
        judged = {
            appid: states[name][appid]
            for appid, wanted in of_dataset.items()
            if calendar.has_day(wanted, day)
            and (name, appid, "refused") not in lost
            and _is_known(
                wanted, states[name][appid], begin, has_lost=(name, appid, "failed") in lost
            )
        }
        found += _judged(name, expect, day, judged)
    return tuple(found)


def _judged_day(
    dataset: Dataset, expect: Expect, wanted: Iterable[DaySet], now: float
) -> Day | None:
    """Return the newest wanted day or period that is due, None if it is quiet or there is none."""
    time = USUAL_TIME if expect.complete_by is None else expect.complete_by.time
    due = replace(dataset, ready_minutes=max(time, dataset.ready_minutes))
    # Nearly all accounts want the same days.
    every = reduce(int.__or__, {*wanted}, NO_DAYS)
    every &= calendar.day_range(FIRST_DAY, readiness.newest_ready(due, now))
    if not every:
        return None
    day = calendar.newest(every)
    period = calendar.day_range(day, readiness.period_end(dataset.grain, day))
    return day if period & ~expect.quiet_days else None


def _begin_of_known(manifest: Manifest, name: str, day: Day, now: float) -> Day:
    """Return the newest day that may be the oldest covered one of an account that is judged."""
    texts = (job.written[0] for job in manifest.jobs if name in job.datasets)
    today = calendar.today(now)
    begins = (begin_day(text, today) if text.startswith("-") else FIRST_DAY for text in texts)
    # A job with a begin of -7d never wants a day that is older, so that its whole range is enough.
    wanted = readiness.periods(manifest.datasets[name].grain, min(begins, default=FIRST_DAY), day)
    return max(day - FIRST_DAYS, calendar.oldest(wanted) if wanted else FIRST_DAY)


def _is_known(wanted: DaySet, state: States, begin: Day, *, has_lost: bool) -> bool:
    """Return whether an account is beyond its first backfill and its first days."""
    if not state.covered:
        return False
    oldest = calendar.oldest(state.covered)
    # If days failed for good, those may be the ones that are missing before.
    return oldest <= begin and (has_lost or calendar.oldest(wanted) == oldest)


def _judged(
    name: str, expect: Expect, day: Day, states: Mapping[str, States]
) -> Iterator[Expectation]:
    """Yield the expectations of a dataset for the states of the accounts that count."""
    answered = [state for state in states.values() if calendar.has_day(state.answered, day)]
    by, rows, gate = expect.complete_by, expect.min_share_with_rows, expect.gate or "open"
    date = calendar.date_of(day)
    if by is not None and states:
        lacking = sorted(
            appid for appid, state in states.items() if not calendar.has_day(state.answered, day)
        )
        counts = len(states), len(answered)
        yield Expectation(name, COMPLETE_BY, date, by.share, *counts, gate, tuple(lacking))
    # While most answers are missing, those that came first need not be like the rest.
    if rows is not None and answered and 2 * len(answered) >= len(states):
        there = sum(calendar.has_day(state.with_rows, day) for state in answered)
        yield Expectation(name, WITH_ROWS, date, rows, len(answered), there, gate)

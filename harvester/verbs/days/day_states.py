"""State of each wanted day of an account and a dataset, in the words of the output's contract.

A day with an answer is final or provisional, and has rows or none. A quarantined day has a rejected
answer, and a missing one has a reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from harvester.core.calendar import DaySet
from harvester.storage.coverage_scan import States
from harvester.verbs.days.missing_days import NOT_ASKED, ExplainedDays

REASONS = (NOT_ASKED, "not_ready", "quota", "deferred", "refused", "failed", "paused")
"""Reasons of missing days. Any other reason of a run counts as deferred, or as failed for good."""


class DaysInState(NamedTuple):
    """Days of one account and dataset in one state.

    ``state`` is final, provisional, quarantined or missing. ``has_rows`` is None of days without a
    good answer. ``reason`` is one of `REASONS`, and empty unless the days are missing.
    """

    days: DaySet
    state: str
    has_rows: bool | None = None
    reason: str = ""


def day_states(
    wanted: DaySet, states: States, missing: Iterable[ExplainedDays], *, is_paused: bool
) -> Iterator[DaysInState]:
    """Yield the wanted days by their state, each once. ``missing`` explains those that lack.

    Of paused accounts no run says why days are missing.
    """
    bad, rows = states.quarantined, states.with_rows
    provisional = states.provisional & ~bad
    answered = {
        "final": states.answered & ~provisional & ~bad,
        "provisional": provisional,
        "quarantined": states.answered & bad,
    }
    for state, days in answered.items():
        yield DaysInState(days & rows, state, has_rows=True)
        yield DaysInState(days & ~rows, state, has_rows=False)
    yield DaysInState(states.unanswered, "quarantined")
    if is_paused:
        yield DaysInState(wanted & ~states.covered, "missing", reason="paused")
    for item in missing:
        yield DaysInState(item.days, "missing", reason=reason_of(item))


def reason_of(item: ExplainedDays) -> str:
    """Return the word of `REASONS` for missing days."""
    if item.reason in REASONS:
        return item.reason
    return "failed" if item.at is None else "deferred"

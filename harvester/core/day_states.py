"""States of days, in the words of the output's contract: of the report, `status` and the tables.

A day with an answer is final or provisional, and has rows or none. A quarantined day has a rejected
answer, and a missing one has a reason. Sets of days are integers: day sets, or masks of a month.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from harvester.core.calendar import NO_DAYS, DaySet

NOT_ASKED = "not_asked"
"""Reason of days that no record explains: the next run asks for them."""

REASONS = (NOT_ASKED, "not_ready", "quota", "deferred", "refused", "failed", "paused")
"""Reasons of missing days. Any other reason of a run counts as deferred, or as failed for good."""


class ExplainedDays(NamedTuple):
    """Missing days of one account and dataset with the same cause.

    ``at`` is the moment from which a run may obtain them, in seconds since the Unix epoch; it is
    None for lost days. ``reason`` is one of a run, or `NOT_ASKED`. ``errcode`` is None without an
    answer of WeChat's, and ``run_id`` names the run that asked.
    """

    dataset: str
    appid: str
    days: DaySet
    at: float | None
    reason: str = NOT_ASKED
    errcode: int | None = None
    run_id: str = ""

    @property
    def word(self) -> str:
        """The reason as one of `REASONS`."""
        if self.reason in REASONS:
            return self.reason
        return "failed" if self.at is None else "deferred"


class Cause(NamedTuple):
    """Cause of missing days. ``retry_at`` is in microseconds since the Unix epoch."""

    days: DaySet
    reason: str
    errcode: int | None = None
    retry_at: int | None = None


class DaysBeside(NamedTuple):
    """Days of an account as a run knows them beside the files.

    Empty days of a ``stretch``, and ``silent`` ones by a guide, are final by what other files show.
    """

    wanted: DaySet = NO_DAYS
    stretch: DaySet = NO_DAYS
    silent: DaySet = NO_DAYS
    causes: tuple[Cause, ...] = ()


class DaysInState(NamedTuple):
    """Days of one account and dataset in one state.

    ``state`` is final, provisional, quarantined or missing. ``has_rows`` is None of days without a
    good answer. ``reason`` is one of `REASONS`, and empty unless the days are missing.
    """

    days: DaySet
    state: str
    has_rows: bool | None = None
    reason: str = ""


def answered_states(
    answered: DaySet, provisional: DaySet, quarantined: DaySet, with_rows: DaySet
) -> Iterator[DaysInState]:
    """Yield the days of one account and dataset with an answer by their state, each day once.

    ``answered`` days have a good answer, and the last answer of ``quarantined`` days was rejected.
    """
    provisional &= ~quarantined
    found = {
        "final": answered & ~provisional & ~quarantined,
        "provisional": provisional,
        "quarantined": answered & quarantined,
    }
    for state, days in found.items():
        yield DaysInState(days & with_rows, state, has_rows=True)
        yield DaysInState(days & ~with_rows, state, has_rows=False)
    yield DaysInState(quarantined & ~answered, "quarantined")

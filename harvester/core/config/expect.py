"""Expectations: what the manifest counts as fine for a dataset."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from typing import Annotated, Self

from pydantic.dataclasses import dataclass

from harvester.core.calendar import NO_DAYS, DaySet
from harvester.core.config import field_types as types

USUAL_TIME = 12 * 60
"""Minutes after midnight at which a day is judged if no time is named."""


@dataclass(frozen=True, config=types.CLOSED)
class CompleteBy:
    """The time by which a day is to be there."""

    time: types.Clock
    """The time of the day after, in Beijing: 12:00."""
    share: types.Percentage = types.written("95%")
    """The share of the accounts that are to have the day by then."""


_TIME_OR_MORE = "must be a time of day, or a mapping of time and share"


@dataclass(frozen=True, config=types.CLOSED)
class Expect:
    """Expectations of a dataset."""

    complete_by: Annotated[CompleteBy, types.or_text(types.Clock, _TIME_OR_MORE)] | None = None
    """The time by which a day is to be there: "12:00", or {time: "12:00", share: 95%}."""
    min_share_with_rows: types.PercentageOrNone | None = None
    """The least share of the accounts with an answer that have rows of a day: 50%. 0%: it is fine
    if no account ever has any."""
    quiet: tuple[types.QuietDays, ...] = ()
    """Days of which nothing is expected: ["2026-02-15..2026-02-23", 2026-05-01]."""
    gate: types.Gate | None = None
    """open, the default: an unmet expectation needs a person and closes no gate. closed: status
    --require answers 3 for it."""

    @property
    def quiet_days(self) -> DaySet:
        """Days of which nothing is expected."""
        return reduce(int.__or__, self.quiet, NO_DAYS)

    def under(self, own: Self) -> Self:
        """Return these expectations under those of one dataset, key by key; quiet days add up."""
        given = {name: value for name, value in vars(own).items() if value is not None}
        return replace(self, **{**given, "quiet": self.quiet + own.quiet})

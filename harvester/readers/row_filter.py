"""The rows of a dataset that a program asks for: days and accounts."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial, reduce
from operator import and_
from typing import NamedTuple

import pyarrow as pa
import pyarrow.dataset as ds

from harvester.core import calendar
from harvester.core.calendar import Day, Month
from harvester.core.config import parsers
from harvester.core.errors import UsageError
from harvester.core.model import bucket_of
from harvester.storage.layout import Partition


class RowFilter(NamedTuple):
    """The rows that are read: days from ``begin`` to ``end`` of some accounts; None is all."""

    begin: Day | None = None
    end: Day | None = None
    appids: tuple[str, ...] | None = None

    def files(self, found: Iterable[Partition], buckets: int) -> list[Partition]:
        """Return the files that may hold such rows."""
        own: Collection[int] = range(buckets)
        if self.appids is not None:
            # Once for all files, because there may be thousands of both.
            own = {bucket_of(appid, buckets) for appid in self.appids}
        return [each for each in found if each.bucket in own and self._has_days_of(each.month)]

    def _has_days_of(self, month: Month) -> bool:
        return (self.begin is None or calendar.month_end(month) >= self.begin) and (
            self.end is None or calendar.month_begin(month) <= self.end
        )

    def expression(self) -> ds.Expression | None:
        """Return the condition of a row, None for all rows."""
        day, conditions = ds.field("ref_date"), []
        if self.begin is not None:
            conditions.append(day >= pa.scalar(calendar.date_of(self.begin)))
        if self.end is not None:
            conditions.append(day <= pa.scalar(calendar.date_of(self.end)))
        if self.appids is not None:
            # Of no account at all the type would be unknown.
            conditions.append(ds.field("appid").isin(pa.array(self.appids, pa.string())))
        return reduce(and_, conditions) if conditions else None


def filter_of(
    begin: str | dt.date | None,
    end: str | dt.date | None,
    accounts: Sequence[str] | None,
    now: float,
) -> RowFilter:
    """Return the filter of a call: Beijing days as in a job, and appids. Raises UsageError.

    ``now`` is in seconds since the Unix epoch, and decides what ``-30d`` means.
    """
    today = calendar.today(now)
    first = _day("begin_date", begin, lambda text: parsers.begin_day(text, today))
    last = _day("end_date", end, lambda text: parsers.end_day(text, today))
    if first is not None and last is not None and first > last:
        raise UsageError("begin_date is after end_date", "swap them")
    if accounts is None:
        return RowFilter(first, last)
    check = partial(parsers.option_value, "accounts", parse=parsers.appid)
    return RowFilter(first, last, tuple(map(check, accounts)))


def _day(what: str, day: str | dt.date | None, parse: Callable[[str], Day | None]) -> Day | None:
    if isinstance(day, dt.datetime):
        raise UsageError(f"{what} is a moment and not a day", "give a date, a Beijing day")
    if isinstance(day, dt.date):
        return calendar.day_of(day)
    # Parsed without a limit to the past days: an output may be ahead of this machine's clock.
    if day is not None and re.fullmatch(parsers.DAY, day):
        return parsers.option_value(what, day, parsers.day)
    return None if day is None else parsers.option_value(what, day, parse)

"""Causes of missing days: the run records tell why the last run that asked for a day got no answer.

A day that the last finished run which asked for it was refused, or failed to obtain, does not come
by itself; any other may still come.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple, TypeAlias

from harvester.core import calendar, readiness
from harvester.core.calendar import Day, DaySet
from harvester.core.config.settings import Manifest
from harvester.core.day_states import NOT_ASKED, ExplainedDays
from harvester.core.rule import Action, Scope
from harvester.runs.record.account_report import reason_for
from harvester.runs.record.prospects import comes_at
from harvester.storage.account_scan import States
from harvester.storage.layout import Tree
from harvester.storage.state import run_records
from harvester.storage.state.run_records import GivenUp, RunResult

MAX_RECORDS = 500
"""Maximum run records that are searched. A refusal that is in none of them counts as unknown: the
next run asks again, and its record has the result."""

Missing: TypeAlias = dict[tuple[str, str], DaySet]
"""Days by dataset and appid."""


class RunHistory(NamedTuple):
    """The run records of a tree, read for the causes of missing days.

    ``now`` is in seconds since the Unix epoch, and ``states`` are those of the wanted days.
    ``own`` is the record of a run that ends, which may not be in the tree yet.
    """

    manifest: Manifest
    tree: Tree
    now: float
    states: dict[str, dict[str, States]]
    own: RunResult | None = None

    def explain(self, missing: Missing, length: int) -> Iterator[ExplainedDays]:
        """Yield the missing days, each once, with the cause that the last run met.

        Of the runs that asked for a day the last finished one tells. Older ones are read, up to
        ``length`` records, while one of them may have asked for a day that is not explained yet.
        Raises StoreError.
        """
        missing = dict(missing)
        yield from self._given_up(missing, length)
        tomorrow = calendar.instant(calendar.today(self.now) + 1)
        for (dataset, appid), days in missing.items():
            # A provisional day that was asked today is asked again tomorrow.
            asked = days & self.states[dataset][appid].no_ask_today
            for found, at in ((days & ~asked, self.now), (asked, tomorrow)):
                if found:
                    yield ExplainedDays(dataset, appid, found, at)

    def _given_up(self, missing: Missing, length: int) -> Iterator[ExplainedDays]:
        """Yield the days that a run gave up, and remove them from ``missing``."""
        oldest = _oldest(missing)
        for record in islice(self._records(), length):
            # Clipped, because a planted time must end in no error and in no date without a name.
            ended = min(max(0.0, record.ended_at.timestamp()), self.now)
            # No older run can have asked for a day that was not ready when this one ended.
            if not any(
                day <= readiness.newest_ready(self.manifest.datasets[dataset], ended)
                for dataset, day in oldest.items()
            ):
                return
            # A run that was killed or goes on may not have come to a day that it gives up.
            if record.state == "finished":
                found = list(self._given_up_by(record, ended, missing))
                yield from found
                oldest = _oldest(missing) if found else oldest

    def _records(self) -> Iterator[RunResult]:
        if self.own is not None:
            yield self.own
        for record in run_records.newest(self.tree, RunResult):
            if self.own is None or record.run_id != self.own.run_id:
                yield record

    def _given_up_by(
        self, record: RunResult, ended: float, missing: Missing
    ) -> Iterator[ExplainedDays]:
        is_of_today = calendar.today(ended) == calendar.today(self.now)
        # The ranges of two entries may overlap, if days between those of one are in the other: a
        # single window within the rest of its dataset. The narrower one is exact.
        for item in sorted(record.exceptions, key=lambda item: item.end_date - item.begin_date):
            key = item.dataset, item.appid
            begin, end = map(calendar.day_of, (item.begin_date, item.end_date))
            days = missing.get(key, calendar.NO_DAYS) & calendar.day_range(begin, end)
            if days and not is_of_today:
                # A provisional day was answered since, or would have been asked again today.
                days &= ~self.states[item.dataset][item.appid].provisional
            if days:
                missing[key] &= ~days
                at, reason = _prospect(item, ended)
                yield ExplainedDays(*key, days, at, reason, item.errcode, record.run_id)


def _oldest(missing: Missing) -> dict[str, Day]:
    """Return the oldest day of each dataset that is not explained yet."""
    oldest: dict[str, Day] = {}
    for (dataset, _), days in missing.items():
        if days:
            day = calendar.oldest(days)
            oldest[dataset] = min(day, oldest.get(dataset, day))
    return oldest


def _prospect(item: GivenUp, ended: float) -> tuple[float | None, str]:
    """Return when a run may obtain given up days, None if none does by itself, and the reason."""
    try:
        reason, _ = reason_for(Action(item.action), Scope(item.scope))
    except ValueError:
        # A word of another version does not tell, and the record of the next run does.
        return ended, NOT_ASKED
    return comes_at(reason, ended), reason

"""A lane: what one account still owes, and where its requests stand."""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from harvester.catalogue.error_codes import Rule
from harvester.core import calendar
from harvester.core.calendar import Day, DaySet, Month
from harvester.core.dataset import Dataset
from harvester.core.model import Refusal, Window
from harvester.planning.windows import count_windows, newest_window

UNLIMITED = 1 << 62
"""More calls than anybody can make: nobody counts them."""

FAILURE_BUDGET = 30
"""So many more failures than answers, of one dataset of one account, and it is left for a later
run. One attempt in five may fail for ever without coming near it."""


class MonthOfBucket(NamedTuple):
    """What is published in one go: a month of a dataset in one bucket."""

    dataset: str
    month: Month
    bucket: int


@dataclass(frozen=True, slots=True)
class AbandonedDays:
    """Days that this run gives up: which, under which rule, and what WeChat or the network said.

    ``begin`` and ``end`` bound the days; ``count`` is how many of them are given up.
    """

    appid: str
    dataset: str
    begin: Day
    end: Day
    count: int
    rule: Rule
    why: Refusal | str


@dataclass(slots=True)
class DatasetBacklog:
    """What one account owes of one dataset, as three sets that a day passes through.

    ``missing`` was not handed out yet; ``asked`` is in flight or waits for another try; ``held``
    was answered and is not durable yet. A day in none of them is done or given up. ``refetch``
    holds the days of which a user wants the answer to replace even final rows, ``parked`` those
    that are given up until midnight in Beijing. ``calls`` were made for it, ``retries`` of them
    after a refusal.

    ``room`` is how many calls may be spent before more of them are noted; at ``low`` it is
    ``thirsty`` for more, without any it is ``dry``. ``limit`` tells, once no more can be had today,
    why that is. ``waits`` counts the attempts that wait for another try: the last calls of a day
    are theirs.
    """

    dataset: Dataset
    missing: DaySet
    boundary: Day = calendar.FIRST_DAY
    span: int = 0
    in_progress: DaySet = calendar.NO_DAYS
    buffered: DaySet = calendar.NO_DAYS
    refetch: DaySet = calendar.NO_DAYS
    quota_exhausted: DaySet = calendar.NO_DAYS
    windows_left: int = 0
    abandoned_by: Rule | None = None
    allocated: int = UNLIMITED
    low_watermark: int = -1
    exhausted_reason: str = ""
    needs_refill: bool = False
    blocked_on_quota: bool = False
    pending_retries: int = 0
    failure_budget: int = FAILURE_BUDGET
    calls: int = 0
    retries: int = 0

    @property
    def open(self) -> DaySet:
        """All days that are neither durable nor given up."""
        return self.missing | self.in_progress | self.buffered

    def set_span(self, span: int) -> None:
        """From now on ask so many days at once."""
        self.span = span
        self.windows_left = count_windows(self.missing, span, self.boundary)

    def take_window(self) -> tuple[Day, Day, DaySet]:
        """The newest window, now asked: its ends, and the set of the days between them."""
        begin, end = newest_window(self.missing, self.span, self.boundary)
        inside = calendar.day_range(begin, end)
        self.in_progress |= self.missing & inside
        self.missing &= ~inside
        self.windows_left -= 1
        return begin, end, inside


@dataclass(slots=True)
class Attempt:
    """One window on its way: handed out by the schedule, handed back with a verdict.

    ``days`` is the set of the days between the window's ends. ``since`` is when it was refused
    last, and ``cause`` what was done about that; it is empty for a first attempt. ``halved`` is how
    many days the half has that it is, or is a part of, and ``midnights`` on which day of the run it
    was handed out.
    """

    queue: AccountQueue
    backlog: DatasetBacklog
    window: Window
    days: DaySet
    tries: int = 0
    token_refreshes: int = 0
    split_span: int = 0
    day_number: int = 0
    refused_at: float = 0.0
    retry_reason: str = ""

    @property
    def refetch(self) -> int:
        """The mask of the window's days that a user wants to have replaced even if final."""
        return (self.backlog.refetch & self.days) >> (self.window.begin - calendar.FIRST_DAY)

    def __lt__(self, other: Attempt) -> bool:
        """Newest days first, among retries that come up at the same moment."""
        return self.window.end > other.window.end

    def part(self, begin: Day, end: Day) -> Attempt:
        """The same for a part of the window."""
        window = self.window._replace(begin=begin, end=end)
        return replace(self, window=window, days=calendar.day_range(begin, end))


@dataclass(slots=True)
class AccountQueue:
    """One account under way.

    ``width`` is how many requests may be in flight, ``not_before`` the end of a pause, ``waiting``
    a heap of (time, attempt), ``slots`` the times at which used slots of the counting window fall
    free, ``period`` seconds after their answer. ``pause`` lies between two starts, ``failures``
    counts those in a row, and ``refused_until`` ends the pause of a minute limit. ``dry`` counts
    the datasets that may spend no call before more are noted, and ``belated`` the answers that came
    after the day had ended.
    """

    appid: str
    bucket: int
    backlogs: list[DatasetBacklog]
    concurrency: int = 1
    in_flight: int = 0
    not_before: float = 0.0
    retries: list[tuple[float, Attempt]] = field(default_factory=list)
    reserved_until: deque[float] = field(default_factory=deque)
    window_seconds: float = 0.0
    interval: float = 0.0
    minute_limits: int = 0
    refused_until: float = 0.0
    is_slowed: bool = False
    failures: int = 0
    blocked_backlogs: int = 0
    answers_after_midnight: int = 0
    queued: bool = False

    def windows_left(self) -> int:
        """How many windows were never handed out."""
        count = 0
        for work in self.backlogs:  # a generator would cost more than all the rest
            count += work.windows_left
        return count

    def has_missing(self) -> bool:
        """Whether there is a window that was never handed out and may be."""
        for work in self.backlogs:  # noqa: SIM110 - a generator costs more than all the rest
            if work.missing and work.allocated > work.pending_retries:
                return True
        return False

    def has_work(self) -> bool:
        """Whether there is anything to hand out, now or later."""
        return bool(self.retries) or self.has_missing()

    def take_attempt(self, now: float) -> Attempt:
        """The retry whose time has come, or else the newest window."""
        work = self._newest_backlog()
        if work is None or (self.retries and self.retries[0][0] <= now):
            attempt = heapq.heappop(self.retries)[1]
            attempt.backlog.pending_retries -= 1
            return attempt
        begin, end, inside = work.take_window()
        window = Window(self.appid, work.dataset.name, begin, end)
        return Attempt(self, work, window, inside)

    def _newest_backlog(self) -> DatasetBacklog | None:
        """The dataset whose next window ends in the newest month; the first of them in a tie."""
        best: DatasetBacklog | None = None
        best_month = -1
        for work in self.backlogs:
            if work.missing and work.allocated > work.pending_retries:
                if best is None:
                    best = work
                    continue
                # Most lanes have one dataset left: its month matters to nobody.
                if best_month < 0:
                    best_month = calendar.month_of(calendar.newest(best.missing))
                month = calendar.month_of(calendar.newest(work.missing))
                if month > best_month:
                    best, best_month = work, month
        return best


def make_queue(appid: str, bucket: int, work: list[DatasetBacklog]) -> AccountQueue:
    """A lane with its windows counted."""
    for item in work:
        item.set_span(item.dataset.span)
    return AccountQueue(appid, bucket, work)


class MonthTracker:
    """How many lanes still owe something of each month, so that a month is published once.

    Whoever publishes asks `take_complete` which months nobody owes any more.
    """

    def __init__(self, lanes: Iterable[AccountQueue]) -> None:
        self._lanes: Counter[MonthOfBucket] = Counter()
        self._complete: list[MonthOfBucket] = []
        alike = Counter(
            (work.dataset.name, lane.bucket, work.missing)
            for lane in lanes
            for work in lane.backlogs
        )
        for (dataset, bucket, missing), count in alike.items():
            for month in calendar.each_month(missing):
                self._lanes[MonthOfBucket(dataset, month, bucket)] += count

    def close_days(self, lane: AccountQueue, work: DatasetBacklog, gone: DaySet) -> None:
        """Some days of a lane are durable or given up: see which months that completes."""
        still_open = work.open
        for month in calendar.each_month(gone):
            if not still_open & calendar.month_days(month):
                key = MonthOfBucket(work.dataset.name, month, lane.bucket)
                self._lanes[key] -= 1
                if not self._lanes[key]:
                    self._complete.append(key)

    def reopen_days(self, lane: AccountQueue, work: DatasetBacklog, again: DaySet) -> None:
        """Some days that were given up are owed after all; call it before the lane has them."""
        owed_already = work.open
        for month in calendar.each_month(again):
            if not owed_already & calendar.month_days(month):
                self._lanes[MonthOfBucket(work.dataset.name, month, lane.bucket)] += 1

    def take_complete(self) -> list[MonthOfBucket]:
        """The months completed since the last call."""
        complete, self._complete = self._complete, []
        return complete

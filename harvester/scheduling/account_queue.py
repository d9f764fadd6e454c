"""A queue: what one account still owes, and where its requests stand."""

from __future__ import annotations

import functools
import heapq
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from harvester.core import calendar
from harvester.core.calendar import Day, DaySet
from harvester.core.dataset import Dataset
from harvester.core.model import Partition, Window
from harvester.core.rule import Rule
from harvester.core.windows import count_windows, newest_window
from harvester.scheduling.quota_state import AllocatedCalls
from harvester.scheduling.rate_state import RateState
from harvester.scheduling.refusal_state import RefusalState

FAILURE_BUDGET = 30
"""So many more failures than answers, of one dataset of one account, and it is left for a later
run. One attempt in five may fail for ever without coming near it."""


@dataclass(slots=True)
class Backlog:
    """Days that one account owes of one dataset. Only this module changes it.

    A day passes through three sets: ``missing`` was not handed out yet, ``in_progress`` is in
    flight or waits for another attempt, ``buffered`` was answered and is not durable yet. A day in
    none of them is durable or abandoned. A window takes days of ``along`` with it, which are no
    debt. ``refetch`` holds the days of which a user wants the answer to replace even final rows,
    ``quota_exhausted`` those that are abandoned until midnight in Beijing. ``abandoned_by`` is the
    rule that stopped the dataset. Days that ``may_have_rows`` were not answered yet or had rows,
    ``doubtful`` ones had none and should have, and of these ``asked_twice`` those that were asked
    once more: their months wait for it, and they are owed no more. While it ``is_aside``, no new
    window is handed out, because the dataset fails for all accounts. ``pending_retries`` attempts
    wait for another try, the ``blocked_retries`` until calls are allocated. ``failing_since`` is
    the time of the first failure since the last answer, 0 without one. ``calls`` were made,
    ``retries`` of them after a refusal.
    """

    dataset: Dataset
    missing: DaySet
    along: DaySet = calendar.NO_DAYS
    span: int = field(init=False)
    in_progress: DaySet = calendar.NO_DAYS
    buffered: DaySet = calendar.NO_DAYS
    refetch: DaySet = calendar.NO_DAYS
    quota_exhausted: DaySet = calendar.NO_DAYS
    windows_left: int = field(init=False)
    may_have_rows: DaySet = field(init=False)
    doubtful: DaySet = calendar.NO_DAYS
    asked_twice: DaySet = calendar.NO_DAYS
    abandoned_by: Rule | None = None
    is_aside: bool = False
    pending_retries: int = 0
    blocked_retries: list[tuple[float, Attempt]] = field(default_factory=list)
    failure_budget: int = FAILURE_BUDGET
    failing_since: float = 0.0
    calls: int = 0
    retries: int = 0
    quota: AllocatedCalls = field(default_factory=AllocatedCalls)
    refusals: RefusalState = field(default_factory=RefusalState)

    def __post_init__(self) -> None:
        """Count the windows; any of them may bring rows."""
        self.may_have_rows = self.missing
        self.set_span(self.dataset.span)

    @property
    def open(self) -> DaySet:
        """All days that are neither durable nor abandoned."""
        return self.missing | self.in_progress | self.buffered

    @property
    def may_be_asked(self) -> bool:
        """True if a window may be handed out for the first time."""
        if not self.missing or self.refusals.held or self.is_aside:
            return False
        return self.quota.allocated > self.pending_retries

    def set_span(self, span: int) -> None:
        """Ask so many days at once from now on."""
        self.span = span
        self.windows_left = count_windows(self.missing, span)

    def take_window(self, among: DaySet = -1) -> tuple[Day, Day, DaySet]:
        """Move the newest window of some days to ``in_progress``.

        Returns its ends, and the days that were missing.
        """
        begin, end = newest_window(self.missing & among, self.span, self.along)
        due = self.missing & calendar.day_range(begin, end)
        self.in_progress |= due
        self.missing &= ~due
        self.windows_left -= 1
        return begin, end, due

    def put_back(self, days: DaySet) -> None:
        """Owe days again that were to be asked together."""
        self.missing |= self.in_progress & days
        self.in_progress &= ~days
        self.set_span(self.span)

    def buffer(self, days: DaySet) -> None:
        """Move days that were answered to ``buffered``, and restore a part of the budget."""
        answered = self.in_progress & days
        self.in_progress &= ~answered
        self.buffered |= answered
        self.failing_since = 0.0
        if self.failure_budget < FAILURE_BUDGET:
            self.failure_budget += 1

    def make_durable(self, days: DaySet) -> DaySet:
        """Take days out of ``buffered``. Returns those that were in it."""
        durable = self.buffered & days
        self.buffered &= ~durable
        return durable

    def spend_failure(self) -> bool:
        """Count a failure that is the pair's own. Returns whether its failure budget is spent."""
        self.failure_budget -= 1
        return self.failure_budget <= 0

    def abandon(self, rule: Rule) -> None:
        """Hand out nothing more, because of a rule."""
        self.abandoned_by = rule
        self.windows_left = 0

    def drop(self, days: DaySet, *, until_midnight: bool) -> None:
        """Take days out of what is owed, for good or until midnight in Beijing."""
        self.missing &= ~days
        self.in_progress &= ~days
        self.may_have_rows &= ~days
        if until_midnight:
            self.quota_exhausted |= days

    def reopen(self) -> None:
        """Owe again what was dropped until midnight."""
        self.missing |= self.quota_exhausted
        self.may_have_rows |= self.quota_exhausted
        self.quota_exhausted = calendar.NO_DAYS
        self.set_span(self.span)

    def resume(self) -> None:
        """Hand out windows again."""
        self.abandoned_by = None
        self.refusals.held = False

    def count_call(self, count: int = 1, *, is_retry: bool) -> None:
        """Count a call that is made; -1 takes back one that was not."""
        self.calls += count
        self.retries += count * is_retry


@dataclass(slots=True)
class Attempt:
    """One window on its way: handed out by the schedule, handed back with a verdict.

    ``days`` are those that it owes; the window may take others along. ``tries`` counts failures;
    in an outage it starts anew, ``returns`` counts the outages, and ``returned_at`` is when it last
    did. ``failing_since`` is the time of the first failure. ``repeats`` counts refusals after which
    the window was repeated instead of a stop. ``refused_at`` is the time of the last refusal, and
    ``retry_reason`` its action; empty for a first attempt. It ``is_sent`` unless a token did not
    come. ``day_number`` is the day of the run on which it was handed out. A window that is asked
    once more ``is_second``, and owes nothing.
    """

    queue: AccountQueue
    backlog: Backlog
    window: Window
    days: DaySet
    tries: int = 0
    returns: int = 0
    returned_at: float = 0.0
    failing_since: float = 0.0
    repeats: int = 0
    day_number: int = 0
    refused_at: float = 0.0
    retry_reason: str = ""
    is_sent: bool = True
    is_second: bool = False

    @property
    def refetch(self) -> int:
        """The mask of the window's days that a user wants to have replaced even if final."""
        return (self.backlog.refetch & self.days) >> (self.window.begin - calendar.FIRST_DAY)

    @property
    def reaches_back(self) -> bool:
        """True if the window takes along days that are older than those it owes."""
        return self.window.begin < calendar.oldest(self.days)

    def __lt__(self, other: Attempt) -> bool:
        """Newest days first, among retries that come up at the same moment."""
        return self.window.end > other.window.end


@dataclass(slots=True, repr=False)
class AccountQueue:
    """Backlogs, waiting retries and rate state of one account.

    ``retries`` is a heap of (time, attempt).
    """

    appid: str
    bucket: int
    backlogs: list[Backlog]
    retries: list[tuple[float, Attempt]] = field(default_factory=list)
    rate: RateState = field(default_factory=RateState)

    def __repr__(self) -> str:
        """Describe what the account waits for; times are seconds of the caller's clock."""
        blocked = sum(backlog.quota.blocked_on_quota for backlog in self.backlogs)
        return (
            f"AccountQueue({self.appid}, windows_left={self.windows_left()}, "
            f"retries={len(self.retries)}, in_flight={self.rate.in_flight}, "
            f"not_before={self.rate.not_before or None}, blocked_on_quota={blocked})"
        )

    def windows_left(self) -> int:
        """Count the windows that were never handed out."""
        count = 0
        for backlog in self.backlogs:  # a generator would cost more than all the rest
            count += backlog.windows_left
        return count

    def has_missing(self) -> bool:
        """Return whether a window was never handed out and may be."""
        for backlog in self.backlogs:  # noqa: SIM110 - a generator costs more than all the rest
            if backlog.may_be_asked:
                return True
        return False

    def has_work(self) -> bool:
        """Return whether there is anything to hand out, now or later."""
        if self.retries:
            return True
        for backlog in self.backlogs:  # a generator would cost more than all the rest
            if backlog.missing and (
                # What waits for the outcome of a probe is handed out later.
                backlog.refusals.held
                or backlog.is_aside
                or backlog.quota.allocated > backlog.pending_retries
            ):
                return True
        return False

    def take_attempt(self, now: float) -> Attempt:
        """Return the retry whose time has come, or else the newest window."""
        backlog = self._newest_backlog()
        if backlog is None or (self.retries and self.retries[0][0] <= now):
            attempt = heapq.heappop(self.retries)[1]
            attempt.backlog.pending_retries -= 1
            return attempt
        begin, end, due = backlog.take_window()
        if not backlog.refusals.opened:
            # Without an answer so far it is the only one in flight.
            backlog.refusals.held = not backlog.refusals.released
        window = Window(self.appid, backlog.dataset.name, begin, end)
        return Attempt(self, backlog, window, due)

    def put_sample(self, backlog: Backlog, share: float, at: float) -> None:
        """Ask the window at a share of the missing time, 0 for the newest, next, at a moment."""
        newest, oldest = calendar.newest(backlog.missing), calendar.oldest(backlog.missing)
        last = round(newest - share * (newest - oldest)) + backlog.span - 1
        begin, end, due = backlog.take_window(calendar.day_range(calendar.FIRST_DAY, last))
        # A hole in the middle may cost a window more.
        backlog.set_span(backlog.span)
        window = Window(self.appid, backlog.dataset.name, begin, end)
        self.put_retry(Attempt(self, backlog, window, due), at)

    def take_second(self, backlog: Backlog) -> Attempt:
        """Return the newest doubtful window that was not asked twice."""
        left = backlog.doubtful & ~backlog.asked_twice
        begin, end = newest_window(left, backlog.span, backlog.along)
        days = left & calendar.day_range(begin, end)
        backlog.asked_twice |= days
        window = Window(self.appid, backlog.dataset.name, begin, end)
        return Attempt(self, backlog, window, days, is_second=True)

    def put_retry(self, attempt: Attempt, until: float) -> None:
        """Let an attempt be made again at a moment."""
        attempt.backlog.pending_retries += 1
        if attempt.backlog.quota.blocked_on_quota:
            attempt.backlog.blocked_retries.append((until, attempt))
        else:
            heapq.heappush(self.retries, (until, attempt))

    def drop_retries(self, backlog: Backlog) -> DaySet:
        """Drop the retries of a dataset. Returns the days that they were to ask."""
        self.block(backlog)
        days = (attempt.days for _, attempt in backlog.blocked_retries)
        dropped = functools.reduce(int.__or__, days, calendar.NO_DAYS)
        backlog.blocked_retries.clear()
        backlog.pending_retries = 0
        return dropped

    def block(self, backlog: Backlog) -> None:
        """Start nothing of a dataset until calls are allocated to it; the others go on."""
        backlog.blocked_retries += [each for each in self.retries if each[1].backlog is backlog]
        self.retries = [each for each in self.retries if each[1].backlog is not backlog]
        heapq.heapify(self.retries)

    def unblock(self, backlog: Backlog) -> None:
        """Let a dataset go on that waited for calls."""
        for entry in backlog.blocked_retries:
            heapq.heappush(self.retries, entry)
        backlog.blocked_retries.clear()

    def _newest_backlog(self) -> Backlog | None:
        """Return the backlog whose next window ends in the newest month; the first in a tie."""
        askable = [backlog for backlog in self.backlogs if backlog.may_be_asked]
        # Most queues have one dataset left: its month does not matter.
        if len(askable) > 1:
            return max(askable, key=lambda each: calendar.month_of(calendar.newest(each.missing)))
        return askable[0] if askable else None


def pairs(queues: Iterable[AccountQueue]) -> Iterator[tuple[AccountQueue, Backlog]]:
    """Yield each pair, a dataset of an account, as its queue and its backlog."""
    return ((queue, backlog) for queue in queues for backlog in queue.backlogs)


class MonthTracker:
    """Counters of the queues that owe days of each month, so that a month is published once.

    `take_complete` returns the months of which no queue owes days any more.
    """

    def __init__(self, queues: Iterable[AccountQueue]) -> None:
        self._open_queues: Counter[Partition] = Counter()
        self._complete: list[Partition] = []
        # Grouped, because most accounts of a run lack the same days.
        alike = Counter(
            (backlog.dataset.name, queue.bucket, backlog.missing)
            for queue, backlog in pairs(queues)
        )
        for (dataset, bucket, missing), count in alike.items():
            for month in calendar.each_month(missing):
                self._open_queues[Partition(dataset, month, bucket)] += count

    def close_days(self, queue: AccountQueue, backlog: Backlog, gone: DaySet) -> None:
        """Take in that days of a queue are durable or abandoned; months may become complete."""
        still_open = backlog.open | backlog.doubtful
        for month in calendar.each_month(gone):
            if not still_open & calendar.month_days(month):
                key = Partition(backlog.dataset.name, month, queue.bucket)
                self._open_queues[key] -= 1
                if not self._open_queues[key]:
                    self._complete.append(key)

    def reopen_days(self, queue: AccountQueue, backlog: Backlog, again: DaySet) -> None:
        """Take in that abandoned days are owed again. Call it before the backlog has them."""
        owed_already = backlog.open | backlog.doubtful
        for month in calendar.each_month(again):
            if not owed_already & calendar.month_days(month):
                self._open_queues[Partition(backlog.dataset.name, month, queue.bucket)] += 1

    def take_complete(self) -> list[Partition]:
        """Return the months completed since the last call."""
        complete, self._complete = self._complete, []
        return complete

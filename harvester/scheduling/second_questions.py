"""Second questions: an answer without rows where rows were to be expected is asked for once more.

They come after all first questions, `BRAKE` of each dataset first, spread over the accounts. If
none of these brings a row, the rest of the dataset is not asked. Nothing is owed for them: a stop,
a spent quota or a refusal drops them. See `harvester.tables.evidence`.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator
from itertools import islice
from typing import TypeAlias

from harvester.core import calendar
from harvester.core.calendar import DaySet
from harvester.core.model import Window
from harvester.core.windows import windows
from harvester.scheduling.account_queue import AccountQueue, Attempt, Backlog, MonthTracker

BRAKE = 10
"""Second questions of a dataset without a row after which no more are asked."""

MOST = 10_000
"""Second questions that are handed out at a time: each takes some memory."""

Expects: TypeAlias = Callable[[Window, DaySet], bool]
"""Function that returns whether rows were to be expected of a window, given the days of its account
and dataset that had rows in this run or may still have some."""

_Pair: TypeAlias = tuple[AccountQueue, Backlog]


class SecondQuestions:
    """The windows of a run that are asked once more. Their months stay open until the end."""

    def __init__(self, months: MonthTracker, expects: Expects) -> None:
        self._months = months
        self._expects = expects
        self._doubtful: dict[tuple[str, str], _Pair] = {}
        self._turns: defaultdict[str, deque[_Pair]] = defaultdict(deque)
        self._asked = Counter[str]()
        self._with_rows: set[str] = set()
        self._dropped: set[str] = set()

    def answered(self, attempt: Attempt, *, is_empty: bool) -> None:
        """Take in an answer to a first question, or to a second one."""
        queue, backlog = attempt.queue, attempt.backlog
        if attempt.is_second:
            if not is_empty:
                # All of its dataset are worth asking.
                self._with_rows.add(backlog.dataset.name)
            return
        if is_empty:
            backlog.may_have_rows &= ~attempt.days
            if self._expects(attempt.window, backlog.may_have_rows):
                backlog.doubtful |= attempt.days
                self._doubtful[queue.appid, backlog.dataset.name] = queue, backlog
        if backlog.doubtful and not (backlog.missing or backlog.in_progress):
            self._review(queue, backlog)

    def _review(self, queue: AccountQueue, backlog: Backlog) -> None:
        """Doubt what is still unexpected, once it is known which of the other days have rows."""
        left = calendar.NO_DAYS
        for begin, end in windows(backlog.doubtful, backlog.span, backlog.along):
            window = Window(queue.appid, backlog.dataset.name, begin, end)
            if self._expects(window, backlog.may_have_rows):
                left |= calendar.day_range(begin, end)
        gone = backlog.doubtful & ~left
        backlog.doubtful &= left
        self._months.close_days(queue, backlog, gone)

    def drop(self, queue: AccountQueue) -> None:
        """Ask an account nothing once more from now on."""
        self._dropped.add(queue.appid)
        for backlog in queue.backlogs:
            # After midnight there may be first questions again.
            if not (backlog.missing | backlog.in_progress):
                queue.drop_retries(backlog)

    def take(self) -> list[Attempt]:
        """Return what is to be asked once more, now that nothing else is left to ask."""
        for queue, backlog in self._doubtful.values():
            self._review(queue, backlog)
            self._turns[backlog.dataset.name].append((queue, backlog))
        self._doubtful.clear()
        return [*islice((each for name in self._turns for each in self._of(name)), MOST)]

    def _of(self, name: str) -> Iterator[Attempt]:
        """Yield the second questions of a dataset that may be asked, of each account in turn."""
        turns = self._turns[name]
        while turns and (name in self._with_rows or self._asked[name] < BRAKE):
            queue, backlog = turns.popleft()
            is_open = queue.appid not in self._dropped and backlog.abandoned_by is None
            if is_open and backlog.doubtful & ~backlog.asked_twice:
                self._asked[name] += 1
                turns.append((queue, backlog))
                yield queue.take_second(backlog)

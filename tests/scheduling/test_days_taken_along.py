"""Windows reach back over their span; the days that they take along are no debt."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from harvester.catalogue import CATALOGUE
from harvester.core import calendar
from harvester.core.calendar import NO_DAYS, DaySet, day_range
from harvester.core.config.settings import Pace
from harvester.core.dataset import Dataset
from harvester.core.model import Partition, Rate, Refusal
from harvester.core.rule import Action
from harvester.core.windows import count_windows
from harvester.scheduling.account_queue import AccountQueue, Attempt, Backlog
from harvester.scheduling.refusal_policy import NARROWERS
from harvester.scheduling.scheduler import Scheduler
from harvester.scheduling.standing import pending
from tests.scheduling.test_scheduler import BEGIN, DAILY, START, rule, schedule_of

WEEKLY = CATALOGUE["user_summary"]
TOO_LONG = Refusal(61501, "date range", "")
WIDE = Pace(Rate(1000, 1.0), 100, concurrency=4)
LAST = BEGIN + 60
WANTED = day_range(BEGIN, LAST)
DUE = calendar.one_day(LAST)

day_sets = st.sets(st.integers(0, 120), max_size=60).map(
    lambda offsets: sum(calendar.one_day(BEGIN + offset) for offset in offsets)
)


def morning(number: int, missing: DaySet = DUE) -> AccountQueue:
    """An account that owes a few of the days that are wanted."""
    return AccountQueue(f"wx{number:016x}", 0, [Backlog(DAILY, missing, WANTED)])


def handed_out(schedule: Scheduler, now: float = START) -> list[Attempt]:
    """Hand out all that may be asked now."""
    found = []
    while attempt := schedule.next(now):
        found.append(attempt)
    return found


def asked_in(attempt: Attempt) -> tuple[int, int]:
    """Return the first and the last day of a window, counted from the last wanted day."""
    return attempt.window.begin - LAST, attempt.window.end - LAST


@given(st.lists(day_sets, min_size=1, max_size=4), day_sets, st.sampled_from([DAILY, WEEKLY]))
@example([calendar.one_day(BEGIN + 35)], day_range(BEGIN, BEGIN + 35), DAILY)
def test_each_missing_day_is_asked_once_by_the_fewest_windows(
    owed: list[DaySet], others: DaySet, dataset: Dataset
) -> None:
    """Whatever is wanted besides: no month waits for it, and nothing is pending at the end."""
    queues = [
        AccountQueue(f"wx{number:016x}", 0, [Backlog(dataset, missing, missing | others)])
        for number, missing in enumerate(owed)
    ]
    schedule, now = schedule_of(queues, WIDE), START
    asked = {queue.appid: NO_DAYS for queue in queues}
    windows = 0
    while not schedule.is_finished(now):
        now += 0.01
        for attempt in handed_out(schedule, now):
            windows += 1
            assert not asked[attempt.queue.appid] & attempt.days
            asked[attempt.queue.appid] |= attempt.days
            inside = day_range(attempt.window.begin, attempt.window.end)
            assert attempt.days == attempt.days & inside
            schedule.answered(attempt, now)
            schedule.durable(attempt)
    assert [*asked.values()] == owed
    assert windows == sum(count_windows(missing, dataset.span) for missing in owed)
    months = {month for missing in owed for month in calendar.each_month(missing)}
    complete = schedule.abandoned.months.take_complete()
    assert sorted(complete) == sorted(Partition(dataset.name, month, 0) for month in months)
    assert pending(queues) == []


def test_a_window_that_is_refused_with_what_it_took_along_is_asked_without_it() -> None:
    """The refusal neither shortens the span nor counts as one of the pair."""
    queue = morning(1)
    schedule = schedule_of([queue], WIDE)
    [first] = handed_out(schedule)
    assert asked_in(first) == (-29, 0)
    assert first.days == DUE
    schedule.refused(first, rule(Action.SPLIT), START, TOO_LONG)
    [again] = handed_out(schedule, START + 1)
    assert asked_in(again) == (0, 0)
    backlog = queue.backlogs[0]
    assert (backlog.span, backlog.refusals.in_a_row) == (DAILY.span, 0)
    schedule.answered(again, START + 1)
    schedule.durable(again)
    assert schedule.is_finished(START + 1)
    assert schedule.abandoned.days == []
    assert schedule.refusals.shortened_spans == {}


def test_the_days_alone_are_split_as_ever() -> None:
    """If the days that are owed are too many as well, fewer are asked at once."""
    queue = morning(1, day_range(LAST - 9, LAST))
    schedule = schedule_of([queue], WIDE)
    seen = []
    for second in range(3):
        [attempt] = handed_out(schedule, START + second)
        seen.append(asked_in(attempt))
        schedule.refused(attempt, rule(Action.SPLIT), START + second, TOO_LONG)
    assert seen == [(-29, 0), (-9, 0), (-6, 0)]


def test_three_accounts_show_that_no_window_takes_days_along() -> None:
    """The other accounts pay nothing for the surprise, and other datasets go on as before."""
    weekly = AccountQueue("wx00000000000000ff", 0, [Backlog(WEEKLY, DUE, WANTED)])
    queues = [morning(number) for number in range(1, 9)]
    schedule = schedule_of([*queues, weekly], WIDE)
    attempts = [each for each in handed_out(schedule) if each.queue is not weekly]
    for attempt in attempts[: NARROWERS - 1]:
        schedule.refused(attempt, rule(Action.SPLIT), START, TOO_LONG)
    assert attempts[-1].backlog.along == WANTED
    schedule.refused(attempts[NARROWERS - 1], rule(Action.SPLIT), START, TOO_LONG)
    assert {queue.backlogs[0].along for queue in queues} == {NO_DAYS}
    assert weekly.backlogs[0].along == WANTED
    assert [asked_in(each) for each in handed_out(schedule, START + 1)] == [(0, 0)] * NARROWERS
    assert schedule.abandoned.days == []

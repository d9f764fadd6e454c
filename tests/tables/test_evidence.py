"""Evidence for empty days: what confirms them, when they are final, and who is asked again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import hypothesis.strategies as st
import pytest
from hypothesis import given

from harvester.catalogue import CATALOGUE
from harvester.core import calendar
from harvester.core.calendar import Day, day_range, instant, month_of, one_day
from harvester.core.dataset import Dataset
from harvester.tables.coverage import AccountDays, AskTimes
from harvester.tables.evidence import Evidence, History, _newest, old_days_to_ask
from harvester.tables.merge import EmptyAnswer
from tests.support.answers import MARCH, appid

HOURLY = CATALOGUE["interface_summary_hour"]
CUMULATE = CATALOGUE["user_cumulate"]
ARTICLES = CATALOGUE["article_read"]
MONTH = month_of(MARCH)
TODAY = MARCH + 25
BEFORE = day_range(MARCH - 40, MARCH - 1)
MARCH_DAYS = day_range(MARCH, MARCH + 24)


def days_of(*found: int) -> calendar.DaySet:
    """Days of March, counted from 0."""
    return sum(one_day(MARCH + day) for day in found)


def at(day: int, minute: int = 720) -> int:
    """A moment of a Beijing day, counted from the first of March."""
    return int(instant(MARCH + day, minute))


def history(empty: Iterable[int] = (), last: int = 24) -> History:
    """Rows of each day until a day of March, except of the empty ones."""
    answered = BEFORE | day_range(MARCH, MARCH + last)
    return History(answered, answered & ~days_of(*empty))


def evidence(*histories: History, dataset: Dataset = HOURLY, today: Day = TODAY) -> Evidence:
    """The evidence of accounts 1, 2, … at noon of a day."""
    found = {appid(number): each for number, each in enumerate(histories, 1)}
    return Evidence(dataset, instant(today, 720), found, found, dict.fromkeys(found, MARCH_DAYS))


def settled(
    known: Evidence, day: int, asked: int, first: int | None = None, *, followed: bool = False
) -> AccountDays:
    """The state of a day of account 1 that is answered empty on a day, counted from 0."""
    times = {day: AskTimes(at(asked if first is None else first), at(asked))}
    days = AccountDays(provisional=1 << day, asked=times)
    answer = EmptyAnswer(at(asked), MARCH + asked, followed)
    known.settle(MONTH, {appid(1): {day: answer}}, {appid(1): days}, {})
    return days


def waits(known: Evidence, day: int, first: int, last: int, *, confirmed: bool = False) -> bool:
    """Return whether a day of account 1 that was asked on these days needs no request."""
    return known.waits(appid(1), MARCH + day, AskTimes(at(first), at(last)), confirmed=confirmed)


def test_a_later_day_with_rows_confirms_an_empty_one() -> None:
    """It is final three days after the day, and not before."""
    alone = evidence(history([20]))
    assert settled(alone, 20, 24).final == settled(alone, 20, 24).confirmed == 1 << 20
    young = settled(alone, 20, 23)
    assert (young.final, young.confirmed, young.provisional) == (0, 1 << 20, 1 << 20)
    newest = settled(evidence(history([24])), 24, 25)
    assert (newest.final, newest.confirmed) == (0, 0)


def test_without_evidence_the_last_age_settles() -> None:
    """The day is final and stays unconfirmed."""
    newest = evidence(history([20], last=20))
    assert settled(newest, 20, 48, first=21).final == 0
    done = settled(newest, 20, 49, first=21)
    assert (done.final, done.confirmed, done.asked) == (1 << 20, 0, {})


def test_half_of_the_usual_accounts_confirm_a_day() -> None:
    """Also the newest, which no later day can confirm; four accounts are too few."""
    newest, others = history([24]), history()
    assert settled(evidence(newest, *[others] * 5), 24, 25).confirmed
    assert not settled(evidence(newest, *[others] * 3), 24, 25).confirmed
    half = evidence(newest, newest, newest, others, others, others)
    assert settled(half, 24, 25).confirmed
    less = evidence(newest, newest, newest, newest, others, others, others)
    assert not settled(less, 24, 25).confirmed


def test_rows_that_come_later_are_no_evidence() -> None:
    """Of answers of one run those count that were asked for no later than the empty one."""
    before = {appid(number): history(last=23) for number in range(1, 7)}
    now = {
        **before,
        **{appid(number): history() for number in range(2, 7)},
        appid(1): history([24]),
    }
    known = Evidence(HOURLY, instant(TODAY, 720), now, before, {})
    for others, is_confirmed in ((at(25, 719), True), (at(25, 721), False)):
        times = {MARCH + 24: {appid(number): others for number in range(2, 7)}}
        days = AccountDays(provisional=1 << 24, asked={24: AskTimes(at(25), at(25))})
        answer = EmptyAnswer(at(25), MARCH + 25, is_followed=False)
        known.settle(MONTH, {appid(1): {24: answer}}, {appid(1): days}, times)
        assert bool(days.confirmed) is is_confirmed


def test_a_day_that_is_empty_everywhere_is_confirmed_by_no_later_day() -> None:
    """WeChat may fill it after newer days. Five sentinels ask at each age, all at the last."""
    known = evidence(*[history([20])] * 20)
    assert known.empty_everywhere == days_of(20)
    assert settled(known, 20, 25, first=21).confirmed == 0
    sentinels = known.sentinels(MARCH + 20)
    assert len(sentinels) == 5
    later = evidence(*[history([20])] * 20, today=MARCH + 28)
    assert {name for name in later.histories if not _waits(later, name, 20, 21, 24)} == sentinels
    last = evidence(*[history([20])] * 20, today=MARCH + 49)
    assert not any(_waits(last, name, 20, 21, 42) for name in last.histories)


def _waits(known: Evidence, name: str, day: int, first: int, last: int) -> bool:
    times = AskTimes(at(first), at(last))
    return known.waits(name, MARCH + day, times, confirmed=False)


def test_a_day_is_judged_once_for_all_accounts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of ten thousand accounts each judgement looks at all."""
    judged: list[Day] = []
    judge = Evidence._judge

    def counted(known: Evidence, day: Day) -> bool:
        judged.append(day)
        return judge(known, day)

    monkeypatch.setattr(Evidence, "_judge", counted)
    known = evidence(*[history([20])] * 50, today=MARCH + 28)
    assert sum(_waits(known, name, 20, 21, 24) for name in known.histories) == 45
    assert judged == [MARCH + 20]


def test_one_account_with_rows_reopens_the_day_for_all() -> None:
    """It is still empty for 90%, and every account is asked at the ages that have passed."""
    known = evidence(history(), *[history([20])] * 19, today=MARCH + 28)
    assert known.is_empty_everywhere(MARCH + 20)
    assert not any(_waits(known, appid(number), 20, 21, 21) for number in range(2, 21))


def test_a_long_hole_does_not_make_its_accounts_unusual() -> None:
    """Its days do not count among the last fourteen, unless it is longer than five weeks."""
    hole = range(3, 25)
    known = evidence(*[history(hole)] * 6)
    assert known.empty_everywhere == days_of(*hole)
    quiet = History(BEFORE | day_range(MARCH, TODAY - 1), day_range(MARCH - 40, MARCH - 30))
    assert not evidence(*[quiet] * 6).is_empty_everywhere(MARCH + 24)


def test_a_stretch_is_asked_once_more_a_week_after_its_rows_resumed() -> None:
    """Of one account; a single empty day is final earlier."""
    known = evidence(history([10, 11]), *[history()] * 5)
    assert settled(known, 10, 18, first=11).final == 0
    assert settled(known, 10, 19, first=11).final == 1 << 10
    for today, is_asked in ((18, False), (19, True)):
        now = evidence(history([10, 11]), *[history()] * 5, today=MARCH + today)
        assert waits(now, 10, 11, 12, confirmed=True) is not is_asked
    single = evidence(history([10]), *[history()] * 5, today=MARCH + 14)
    assert not waits(single, 10, 11, 12, confirmed=True)


def test_a_day_is_asked_by_the_first_run_at_or_after_an_age() -> None:
    """Ages count from the first answer; on one day it is asked once."""
    asked = [
        day
        for day in range(21, 60)
        if not waits(evidence(history([20], last=20), today=MARCH + day), 20, 21, 21)
    ]
    assert asked[0] == 22
    for last, due in ((22, 23), (23, 24), (24, 28), (25, 28), (28, 35), (35, 49)):
        for day in range(last, due + 1):
            now = evidence(history([20], last=20), today=MARCH + day)
            assert waits(now, 20, 21, last) is (day < due)


def test_a_gap_in_a_dataset_without_gaps_is_never_confirmed() -> None:
    """Behind its first row an account has one for every day; before it a day may be empty."""
    known = evidence(history([20]), *[history()] * 5, dataset=CUMULATE)
    assert settled(known, 20, 30).confirmed == 0
    young = History(day_range(MARCH, MARCH + 24), day_range(MARCH + 10, MARCH + 24))
    assert settled(evidence(young, *[history()] * 5, dataset=CUMULATE), 5, 30).confirmed


def test_an_answer_before_most_accounts_were_asked_is_not_confirmed_by_a_later_day() -> None:
    """Until then it is not known whether the day is empty everywhere."""
    unasked = [History()] * 9
    assert settled(evidence(history([20]), *unasked), 20, 25).confirmed == 0
    assert settled(evidence(history([20]), *[history()] * 9), 20, 25).confirmed
    # On a later day those without an answer are refused or gone.
    assert settled(evidence(history([20]), *unasked), 20, 25, first=24).confirmed


def left_on(day: int, *accounts: str) -> Evidence:
    """The evidence of twelve accounts, of which those left before a day; it is empty for all."""
    found = {appid(number): history([20]) for number in range(1, 13)}
    found |= dict.fromkeys(accounts, history([20], last=day - 1))
    stay = dict.fromkeys(found.keys() - {*accounts}, MARCH_DAYS)
    return Evidence(HOURLY, instant(TODAY, 720), found, found, stay)


def test_accounts_that_left_the_manifest_are_no_sentinels() -> None:
    """They are not asked any more, and the accounts that are asked tell when the day is filled."""
    sentinels = left_on(25).sentinels(MARCH + 20)
    gone = left_on(15, *sentinels)
    assert gone.is_empty_everywhere(MARCH + 20)
    assert len(gone.sentinels(MARCH + 20)) == 5
    assert not gone.sentinels(MARCH + 20) & sentinels
    assert not {*gone.usual(MARCH + 20)} & sentinels


def test_accounts_that_left_the_manifest_are_not_waited_for() -> None:
    """Half of those that stay confirm a day; an account that is wanted and refused counts."""
    newest, others = history([24]), history()
    of = newest, *[others] * 5, *[history(last=15)] * 9
    assert not settled(evidence(*of), 24, 25).confirmed
    stay = dict.fromkeys([appid(number) for number in range(1, 7)], MARCH_DAYS)
    assert settled(replace(evidence(*of), wanted=stay), 24, 25).confirmed


def test_new_accounts_are_usual_once_they_have_rows() -> None:
    """Three accounts are too few for a verdict. With the others the day is empty everywhere."""
    old = {appid(number): history([20]) for number in range(1, 4)}
    new = {appid(number): AccountDays(final=(1 << 25) - 1) for number in range(4, 11)}
    for days in new.values():
        days.with_rows = days.final & ~(1 << 20)
    joined = dict.fromkeys(old.keys() | new.keys(), MARCH_DAYS)
    known = Evidence(HOURLY, instant(TODAY, 720), old, old, joined)
    assert not known.is_empty_everywhere(MARCH + 20)
    assert known.with_month(MONTH, new).is_empty_everywhere(MARCH + 20)


def test_days_that_are_still_owed_may_be_empty_or_have_rows() -> None:
    """Newer months are published first, so the days before may be in no file yet."""
    whole = history([0])
    late = History(MARCH_DAYS, whole.with_rows & MARCH_DAYS)
    for dataset in (HOURLY, CUMULATE):
        known = evidence(late, *[history()] * 5, dataset=dataset)
        owed = replace(known, wanted={appid(1): MARCH_DAYS | BEFORE})
        begins = replace(known, wanted={appid(1): MARCH_DAYS})
        assert settled(begins, 0, 5, followed=True).final == 1
        assert settled(owed, 0, 5, followed=True).final == 0
        assert bool(settled(owed, 0, 5, followed=True).confirmed) is (dataset is HOURLY)


def test_rows_are_asked_again_at_their_ages_until_they_are_settled() -> None:
    """Then once more, because only an answer of that age is final."""
    dataset = replace(HOURLY, settle=30)
    due = []
    last = 21
    for day in range(21, 60):
        if not waits(evidence(history(), dataset=dataset, today=MARCH + day), 20, 21, last):
            due.append(day - 21)
            last = day
    assert due[:5] == [1, 2, 3, 7, 30]


FIRST_OF_OLD = MARCH - 1000


@pytest.mark.parametrize(
    ("begin", "end", "asked"),
    [(0, 0, [0]), (0, 3, [0, 1, 2, 3]), (10, 210, [10, 60, 110, 160, 210])],
)
def test_of_an_old_stretch_five_days_are_asked_again(
    begin: int, end: int, asked: list[int]
) -> None:
    """The newest, the oldest and three between; behind the first row alone."""
    whole = day_range(FIRST_OF_OLD - 50, FIRST_OF_OLD + 400)
    once = day_range(FIRST_OF_OLD + begin, FIRST_OF_OLD + end)
    known = History(whole, whole & ~once)
    due = old_days_to_ask(known, once, calendar.NO_DAYS)
    assert [day - FIRST_OF_OLD for day in calendar.each_day(due)] == asked
    assert not old_days_to_ask(known, once & ~due, due)
    # One that has rows by now opens the whole stretch.
    filled = one_day(calendar.newest(due))
    late = History(whole, known.with_rows | filled)
    assert old_days_to_ask(late, once & ~due, due) == once & ~due
    # Before the first row one empty answer is enough.
    young = History(whole, whole & ~day_range(FIRST_OF_OLD - 50, FIRST_OF_OLD + end))
    assert not old_days_to_ask(young, once, calendar.NO_DAYS)
    assert not old_days_to_ask(History(whole), once, calendar.NO_DAYS)


@given(st.integers(0, 2**300 - 1))
def test_the_newest_fourteen(days: int) -> None:
    """They are the highest bits, however far apart they are."""
    highest = [bit for bit in range(300) if days >> bit & 1][-14:]
    assert _newest(days) == sum(1 << bit for bit in highest)


SETS = st.lists(st.integers(0, 2**25 - 1), min_size=1, max_size=9)


@given(SETS)
def test_the_counters_count(found: list[int]) -> None:
    """A day is empty everywhere exactly if the accounts one by one say so."""
    histories = [history([day for day in range(25) if mask >> day & 1]) for mask in found]
    known = evidence(*histories)
    for day in range(25):
        usual = known.usual(MARCH + day)
        asked = [known.histories[name] for name in usual]
        empty = sum(not each.with_rows >> (MARCH + day - calendar.FIRST_DAY) & 1 for each in asked)
        alike = [
            mask >> day & 1 for mask, each in zip(found, histories, strict=True) if each.with_rows
        ]
        is_void = len(asked) >= 5 and empty >= 0.9 * len(asked) and sum(alike) >= 0.9 * len(alike)
        assert known.is_empty_everywhere(MARCH + day) is is_void


@pytest.mark.parametrize(
    ("first", "last", "now", "is_asked"),
    [
        ((10, 5), (10, 5), (10, 59), False),
        ((10, 5), (10, 5), (11, 0), True),
        ((10, 5), (11, 0), (12, 0), True),
        # Two full hours are enough: the next run is that of the next day.
        ((10, 5), (12, 0), (13, 0), False),
        ((10, 5), (10, 5), (13, 0), False),
    ],
)
def test_sentinels_ask_twice_more_on_the_first_day(
    first: tuple[int, int], last: tuple[int, int], now: tuple[int, int], *, is_asked: bool
) -> None:
    """At full hours, as the run says by which the day is found to be empty everywhere."""
    minutes = [60 * hour + minute for hour, minute in (first, last, now)]
    found = {appid(number): history([24]) for number in range(1, 21)}
    known = Evidence(HOURLY, instant(TODAY, minutes[2]), found, found, {})
    times = AskTimes(at(25, minutes[0]), at(25, minutes[1]))
    asked = {name for name in found if not known.waits(name, MARCH + 24, times, confirmed=False)}
    assert asked == (known.sentinels(MARCH + 24) if is_asked else set())


def test_a_final_day_that_is_asked_again_is_confirmed() -> None:
    """A user asks again for empty days: evidence by then confirms what age alone has settled."""
    known = evidence(history([20]), *[history()] * 5)
    days = AccountDays(final=1 << 20)
    answer = EmptyAnswer(at(25), MARCH + 25, is_followed=False)
    known.settle(MONTH, {appid(1): {20: answer}}, {appid(1): days}, {})
    assert days == AccountDays(final=1 << 20, confirmed=1 << 20)


def test_sparse_datasets_are_asked_less_often() -> None:
    """Most days of most accounts have no article."""
    assert ARTICLES.refresh.empty == (1, 4, 14, 28)

"""Evidence for empty days: when they are asked again, by whom, and what a guide says of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import hypothesis.strategies as st
import pytest
from hypothesis import given

from harvester.catalogue import CATALOGUE
from harvester.core import calendar
from harvester.core.calendar import NO_DAYS, Day, DaySet, day_range, has_day, instant, one_day
from harvester.core.dataset import Dataset
from harvester.tables import evidence as evidence_module
from harvester.tables.coverage import AccountEvidence, AskTimes
from harvester.tables.evidence import (
    Evidence,
    GuideDays,
    History,
    _newest,
    guided_days,
    old_days_to_ask,
)
from tests.support.answers import MARCH, appid

HOURLY = CATALOGUE["interface_summary_hour"]
DAILY = CATALOGUE["interface_summary"]
WEEKLY = CATALOGUE["upstream_msg_week"]
ARTICLES = CATALOGUE["article_read"]
DETAIL = CATALOGUE["article_total_detail"]
TODAY = MARCH + 25
BEFORE = day_range(MARCH - 40, MARCH - 1)
MARCH_DAYS = day_range(MARCH, MARCH + 24)


def days_of(*found: int) -> DaySet:
    """Days of March, counted from 0."""
    return sum(one_day(MARCH + day) for day in found)


def at(day: int, minute: int = 720) -> int:
    """A moment of a Beijing day, counted from the first of March."""
    return int(instant(MARCH + day, minute))


def history(empty: Iterable[int] = (), last: int = 24, late: Iterable[int] = ()) -> History:
    """Rows of each day until a day of March, except of the empty ones; some of them just came."""
    answered = BEFORE | day_range(MARCH, MARCH + last)
    filled = days_of(*late)
    return History(answered, answered & ~days_of(*empty), filled, filled)


def evidence(*histories: History, dataset: Dataset = HOURLY, today: Day = TODAY) -> Evidence:
    """The evidence of accounts 1, 2, … at noon of a day."""
    found = {appid(number): each for number, each in enumerate(histories, 1)}
    known = Evidence(dataset, instant(today, 720), found, dict.fromkeys(found, MARCH_DAYS))
    known.accounts.update(dict.fromkeys(found, AccountEvidence()))
    return known


def due_days(dataset: Dataset, of: History, first: int, own: AccountEvidence) -> list[int]:
    """Return the ages at which the empty 20th is asked by daily runs, from its first answer on."""
    found, last = [], first
    for day in range(first, first + 60):
        known = evidence(of, dataset=dataset, today=MARCH + day)
        known.accounts[appid(1)] = own
        if known.is_due(appid(1), MARCH + 20, AskTimes(at(first), at(last))):
            found.append(day - first)
            last = day
    return found


ALONE = history([20], last=20)
"""Of an account without a row of a later day."""


@pytest.mark.parametrize(
    ("dataset", "of", "own", "ages"),
    [
        pytest.param(HOURLY, ALONE, AccountEvidence(), [1, 3, 7, 14, 28], id="alone"),
        pytest.param(HOURLY, history([20]), AccountEvidence(), [1, 7, 28], id="later rows"),
        pytest.param(ARTICLES, ALONE, AccountEvidence(), [1, 4, 14, 28], id="articles"),
        pytest.param(ARTICLES, history([20]), AccountEvidence(), [1, 14, 28], id="thin articles"),
        pytest.param(
            HOURLY,
            history([20]),
            AccountEvidence(contradicted=days_of(20)),
            [1, 2, 3, 7, 14, 28],
            id="contradicted",
        ),
        pytest.param(
            HOURLY, ALONE, AccountEvidence(waiting=days_of(20)), [2, 3, 7, 14, 28], id="waiting"
        ),
        pytest.param(ARTICLES, ALONE, AccountEvidence(thinned=days_of(20)), [28], id="thinned"),
    ],
)
@pytest.mark.parametrize("first", [21, 29])
def test_an_empty_day_is_asked_at_its_ages(
    dataset: Dataset, of: History, first: int, own: AccountEvidence, ages: list[int]
) -> None:
    """They count from the first answer; the last one is the same for all, and nothing follows."""
    assert due_days(dataset, of, first, own) == ages


def test_a_day_is_asked_by_the_first_run_at_or_after_an_age() -> None:
    """Runs that were skipped are not made up for; on one Beijing day it is asked once."""
    for last, due in ((21, 22), (22, 24), (23, 24), (24, 28), (27, 28), (28, 35), (35, 49)):
        for day in range(last, due + 1):
            known = evidence(ALONE, today=MARCH + day)
            times = AskTimes(at(21), at(last))
            assert known.is_due(appid(1), MARCH + 20, times) is (day >= due)
    assert not evidence(ALONE, today=MARCH + 90).is_due(
        appid(1), MARCH + 20, AskTimes(at(21), at(49))
    )


@pytest.mark.parametrize("times", [AskTimes(0, 0), AskTimes(0, at(24)), AskTimes(at(30), at(30))])
def test_a_day_of_an_unknown_time_is_asked_now(times: AskTimes) -> None:
    """A wrong clock told it, or a guide took the first answer away."""
    assert evidence(ALONE).is_due(appid(1), MARCH + 20, times)


def test_a_day_that_is_empty_everywhere_is_asked_by_five() -> None:
    """WeChat may fill it after newer days. They ask at each age, the others at three."""
    twenty = [history([20])] * 20
    known = evidence(*twenty)
    assert known.empty_everywhere == days_of(20)
    sentinels = known.sentinels(MARCH + 20)
    assert len(sentinels) == 5
    for age, asking in ((1, 20), (2, 5), (3, 5), (7, 20), (14, 5), (28, 20)):
        later = evidence(*twenty, today=MARCH + 21 + age)
        times = AskTimes(at(21), at(20 + age) if age > 1 else at(21))
        asked = {name for name in later.histories if later.is_due(name, MARCH + 20, times)}
        assert len(asked) == asking
        assert asked >= sentinels


def test_a_day_is_judged_once_for_all_accounts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of ten thousand accounts each judgement looks at all."""
    judged: list[Day] = []
    judge = evidence_module._is_usual

    def counted(of_account: History, quiet: DaySet, day: Day) -> bool:
        judged.append(day)
        return judge(of_account, quiet, day)

    monkeypatch.setattr(evidence_module, "_is_usual", counted)
    known = evidence(*[history([20])] * 50, today=MARCH + 28)
    times = AskTimes(at(21), at(27))
    assert sum(known.is_due(name, MARCH + 20, times) for name in known.histories) == 50
    assert judged == [MARCH + 20] * 50


def test_late_rows_reopen_the_whole_stretch() -> None:
    """Also the days beside it, for the usual accounts, once a Beijing day and whatever the ages."""
    others = [history([20, 21, 22])] * 19
    known = evidence(history([21, 22], late=[20]), *others, today=MARCH + 31)
    assert known.reopened == days_of(*range(19, 24))
    yesterday, now = AskTimes(at(23), at(30)), AskTimes(at(23), at(31, 600))
    for day in (20, 21, 22):
        asked = [x for x in known.histories if known.is_due(x, MARCH + day, yesterday)]
        assert len(asked) == 20
        assert not any(known.is_due(name, MARCH + day, now) for name in known.histories)
    rare = History(BEFORE | MARCH_DAYS, days_of(3))
    known = evidence(history([21, 22], late=[20]), rare, *others, today=MARCH + 31)
    assert not known.is_due(appid(2), MARCH + 21, yesterday)
    known.accounts[appid(2)] = AccountEvidence(contradicted=days_of(21))
    assert known.is_due(appid(2), MARCH + 21, yesterday)


def test_rows_in_time_reopen_nothing() -> None:
    """Nor do late ones of long ago: all had their say since."""
    others = [history([20, 21])] * 19
    in_time = evidence(history([21]), *others)
    assert (in_time.reopened, in_time.empty_everywhere) == (NO_DAYS, days_of(20, 21))
    settled = history([21], late=[20])._replace(filled=NO_DAYS)
    assert evidence(settled, *others).reopened == NO_DAYS


def test_late_rows_of_a_tenth_end_a_silence() -> None:
    """Those that still wait for the day ask at their own ages."""
    filled, empty = history(late=[20]), history([20])
    assert evidence(filled, *[empty] * 19).empty_everywhere == days_of(20)
    assert evidence(*[filled] * 3, *[empty] * 17).empty_everywhere == NO_DAYS


def test_a_long_hole_does_not_make_its_accounts_unusual() -> None:
    """Its days do not count among the last fourteen, unless it is longer than five weeks."""
    hole = range(3, 25)
    known = evidence(*[history(hole)] * 6)
    assert known.empty_everywhere == days_of(*hole)
    quiet = History(BEFORE | day_range(MARCH, TODAY - 1), day_range(MARCH - 40, MARCH - 30))
    assert not has_day(evidence(*[quiet] * 6).empty_everywhere, MARCH + 24)


def left_on(day: int, *accounts: str) -> Evidence:
    """The evidence of twelve accounts, of which those left before a day; it is empty for all."""
    found = {appid(number): history([20]) for number in range(1, 13)}
    found |= dict.fromkeys(accounts, history([20], last=day - 1))
    stay = dict.fromkeys(found.keys() - {*accounts}, MARCH_DAYS)
    return Evidence(HOURLY, instant(TODAY, 720), found, stay)


def test_accounts_that_left_the_manifest_are_no_sentinels() -> None:
    """They are not asked any more, and the accounts that are asked tell when the day is filled."""
    sentinels = left_on(25).sentinels(MARCH + 20)
    gone = left_on(15, *sentinels)
    assert has_day(gone.empty_everywhere, MARCH + 20)
    assert len(gone.sentinels(MARCH + 20)) == 5
    assert not gone.sentinels(MARCH + 20) & sentinels
    assert not {*gone.usual(MARCH + 20)} & sentinels


def test_five_usual_accounts_are_needed_for_a_verdict() -> None:
    """Those that are new count once they have rows."""
    four, new = [history([20])] * 4, History(MARCH_DAYS, MARCH_DAYS & ~days_of(20))
    assert evidence(*four).empty_everywhere == NO_DAYS
    assert evidence(*four, History(MARCH_DAYS)).empty_everywhere == NO_DAYS
    assert evidence(*four, new).empty_everywhere == days_of(20)


def due_with_rows(dataset: Dataset, times: AskTimes, *, is_late: bool = False) -> list[int]:
    """Return the days of March on which daily runs ask again for the 20th, which has rows."""
    found = []
    for day in range(calendar.today(times.last) - MARCH, 120):
        known = evidence(history(), dataset=dataset, today=MARCH + day)
        if known.is_due_with_rows(MARCH + 20, times, is_late=is_late):
            found.append(day)
            times = times._replace(last=at(day))
    return found


def test_rows_are_asked_again_at_their_ages_until_they_are_settled() -> None:
    """They count from the day; then once more, because only an answer of that age is final."""
    first = AskTimes(at(21), at(21), at(21))
    assert due_with_rows(replace(DAILY, settle=3), first)[:3] == [22, 24, 27]
    ages = [day - 20 for day in due_with_rows(replace(DAILY, settle=30), first)]
    assert ages[:6] == [2, 3, 7, 14, 28, 31]
    # A month of articles at once: their ages were over before they were asked.
    backfilled = AskTimes(at(45), at(45), at(45))
    assert due_with_rows(replace(DAILY, settle=30), backfilled)[0] == 48


def test_late_rows_are_asked_at_ages_from_their_answer() -> None:
    """Whatever the age of the day was."""
    late = AskTimes(at(21), at(40), at(40))
    assert [day - 40 for day in due_with_rows(DAILY, late, is_late=True)][:4] == [1, 2, 3, 7]


def test_rows_of_an_old_day_that_are_not_complete_are_asked_at_ages_from_the_first_answer() -> None:
    """And not for ever."""
    doubted = AskTimes(at(60), at(60), at(60))
    ages = [day - 60 for day in due_with_rows(DAILY, doubted)]
    assert ages[:6] == [1, 2, 3, 7, 14, 28]


@pytest.mark.parametrize(
    ("dataset", "ages"),
    [(DAILY, [29, 30, 31, 35]), (DETAIL, [31, *range(32, 38), 40, 44, 51, 60])],
)
def test_rows_without_an_answer_at_their_last_age_are_asked_at_all_ages_once_more(
    dataset: Dataset, ages: list[int]
) -> None:
    """An answer without rows settled nothing, as it may have been empty by chance."""
    times = AskTimes(at(21), at(48), at(40))
    assert [day - 20 for day in due_with_rows(dataset, times)] == ages


@pytest.mark.parametrize(
    ("first", "last", "is_twice"),
    [
        (at(20), at(21), True),
        (at(20, 1), at(20, 1439), False),
        (at(20, 1439), at(21, 1), False),
        (at(20, 1080), at(21, 0), True),
        (0, at(21), False),
    ],
)
def test_two_answers_are_of_two_beijing_days_and_six_hours_apart(
    first: int, last: int, *, is_twice: bool
) -> None:
    """A first one of an unknown time is none."""
    assert AskTimes(first, last).are_two is is_twice


GUIDED = {MARCH + day: AskTimes(at(21), at(21)) for day in (18, 19, 20)}
"""Three empty days of a table, asked once on the 21st."""


def guide(active: DaySet = NO_DAYS, sure: DaySet = NO_DAYS, asked: int = 22) -> GuideDays:
    """A guide that was asked for all days of March, last on a day."""
    times = {day: AskTimes(at(21), at(asked)) for day in range(MARCH, MARCH + 25)}
    return GuideDays(MARCH_DAYS, active, sure, times)


def test_a_guide_is_silent_on_a_later_beijing_day() -> None:
    """Until then the table waits for it; its rows deny that the day is empty."""
    three = days_of(18, 19, 20)
    assert guided_days(HOURLY, NO_DAYS, GUIDED, guide(asked=21)).waiting == three
    assert guided_days(HOURLY, NO_DAYS, GUIDED, guide()).silent == three
    assert guided_days(HOURLY, NO_DAYS, GUIDED, guide(sure=three, asked=21)).silent == three
    found = guided_days(HOURLY, NO_DAYS, GUIDED, guide(active=days_of(19)))
    assert found == (days_of(18, 20), NO_DAYS, days_of(19))
    unknown = dict.fromkeys(GUIDED, AskTimes(0, at(21)))
    assert guided_days(HOURLY, NO_DAYS, unknown, guide()) == (NO_DAYS,) * 3


def test_a_guide_that_was_not_asked_says_nothing() -> None:
    """No day waits for it."""
    some = guide()._replace(answered=MARCH_DAYS & ~days_of(19))
    assert guided_days(HOURLY, NO_DAYS, GUIDED, some) == (days_of(18, 20), NO_DAYS, NO_DAYS)


@pytest.mark.parametrize(("missed", "is_believed"), [(0, True), (1, True), (2, False)])
def test_a_guide_that_lies_does_not_count(missed: int, *, is_believed: bool) -> None:
    """Silent about more than a twentieth of the days with rows, it settles none; its rows count."""
    with_rows = days_of(*range(18), 21, 22)
    active = with_rows & ~days_of(*range(missed))
    found = guided_days(HOURLY, with_rows, GUIDED, guide(active))
    assert found.silent == (days_of(18, 19, 20) if is_believed else NO_DAYS)
    assert guided_days(HOURLY, with_rows, GUIDED, guide(active | days_of(19))).denied == days_of(19)


def test_a_guide_of_weeks_is_silent_about_all_of_its_days() -> None:
    """One day with a count denies the week, and one that was not asked leaves it open."""
    monday = next(day for day in range(18) if (MARCH + day + 3) % 7 == 0)
    assert calendar.date_of(MARCH + monday).weekday() == 0
    week = {MARCH + monday: AskTimes(at(21), at(21))}
    mondays, sunday = days_of(monday), days_of(monday + 6)
    assert guided_days(WEEKLY, NO_DAYS, week, guide()).silent == mondays
    assert guided_days(WEEKLY, NO_DAYS, week, guide(active=sunday)).denied == mondays
    part = guide()._replace(answered=MARCH_DAYS & ~sunday)
    assert guided_days(WEEKLY, NO_DAYS, week, part) == (NO_DAYS,) * 3


FIRST_OF_OLD = MARCH - 1000


@pytest.mark.parametrize(
    ("begin", "end", "asked"),
    [(0, 0, [0]), (0, 3, [0, 1, 2, 3]), (10, 210, [10, 60, 110, 160, 210])],
)
@pytest.mark.parametrize("first_row", [-50, 300, None])
def test_of_an_old_stretch_five_days_are_asked_again(
    begin: int, end: int, asked: list[int], first_row: int | None
) -> None:
    """The newest, the oldest and three between; behind the first row, before it, and without."""
    whole = day_range(FIRST_OF_OLD - 50, FIRST_OF_OLD + 400)
    once = day_range(FIRST_OF_OLD + begin, FIRST_OF_OLD + end)
    rows = day_range(FIRST_OF_OLD + (first_row or 0), FIRST_OF_OLD + 400) & ~once
    known = History(whole, NO_DAYS if first_row is None else rows)
    due = old_days_to_ask(known, once, NO_DAYS)
    assert [day - FIRST_OF_OLD for day in calendar.each_day(due)] == asked
    assert not old_days_to_ask(known, once & ~due, due)
    # One that has rows by now opens the whole stretch.
    filled = one_day(calendar.newest(due))
    late = History(whole, known.with_rows | filled)
    assert old_days_to_ask(late, once & ~due, due) == once & ~due


@given(st.integers(0, 2**300 - 1))
def test_the_newest_fourteen(days: int) -> None:
    """They are the highest bits, however far apart they are."""
    highest = [bit for bit in range(300) if days >> bit & 1][-14:]
    assert _newest(days) == sum(1 << bit for bit in highest)


MASKS = st.integers(0, 2**25 - 1)
SETS = st.lists(st.tuples(MASKS, MASKS), min_size=1, max_size=9)


@given(SETS)
def test_the_counters_count(found: list[tuple[int, int]]) -> None:
    """A day is empty everywhere exactly if the accounts one by one say so."""
    bits = [
        ([day for day in range(25) if mask >> day & 1] for mask in (empty, late & ~empty))
        for empty, late in found
    ]
    histories = [history(empty, late=late) for empty, late in bits]
    known = evidence(*histories)
    for day in range(25):
        in_time = {
            name: has_day(each.with_rows & ~each.late, MARCH + day)
            for name, each in known.histories.items()
        }
        usual = [in_time[name] for name in known.usual(MARCH + day)]
        alive = [in_time[name] for name, each in known.histories.items() if each.with_rows]
        late = sum(has_day(each.late, MARCH + day) for each in histories)
        is_void = (
            len(usual) >= 5
            and usual.count(False) >= 0.9 * len(usual)
            and alive.count(False) >= 0.9 * len(alive)
            and late <= 0.1 * len(histories)
        )
        assert has_day(known.empty_everywhere, MARCH + day) is is_void


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
    known = evidence(*[history([24])] * 20)
    known = replace(known, now=instant(TODAY, minutes[2]))
    times = AskTimes(at(25, minutes[0]), at(25, minutes[1]))
    asked = {name for name in known.histories if known.is_due(name, MARCH + 24, times)}
    assert asked == (known.sentinels(MARCH + 24) if is_asked else set())

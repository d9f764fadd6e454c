"""Delayed answers, weeks and months: which days become final in the files."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest

from harvester.catalogue import CATALOGUE
from harvester.core.calendar import date_of, day_text, instant, month_of, one_day, parse_day
from harvester.core.dataset import Dataset
from harvester.core.model import MAX_ODDITIES, Partition, RawAnswer, Window
from harvester.storage.layout import Tree
from harvester.storage.publication import Published
from harvester.storage.publish import publish
from harvester.storage.raw_log import write_group
from harvester.tables.coverage import AccountDays, AskTimes
from tests.support.answers import appid, times
from tests.support.output_helpers import ANY_TIME, coverage_of, rows_of

SHARE = CATALOGUE["article_share"]
BIZ = CATALOGUE["biz_summary"]
DETAIL = CATALOGUE["article_total_detail"]
WEEK = CATALOGUE["upstream_msg_dist_week"]
MONTH = CATALOGUE["upstream_msg_month"]

MAY = parse_day("2026-05-01")
MONDAYS = [parse_day(f"2026-05-{day:02d}") for day in (4, 11, 18)]


def at(day: int, minute: int = 720) -> int:
    """A time on a Beijing day, counted from the first of May, in seconds since the Unix epoch."""
    return int(instant(MAY + day, minute))


def answer(
    dataset: Dataset, days: tuple[int, int], rows: Iterable[Any], asked_at: int, **more: Any
) -> RawAnswer:
    """An answer about days of May, counted from 0; ``more`` are top-level members."""
    window = Window(appid(1), dataset.name, MAY + days[0], MAY + days[1])
    refetch = more.pop("refetch", 0) & ((1 << (days[1] - days[0] + 1)) - 1)
    return RawAnswer(window, asked_at, refetch, json.dumps({"list": list(rows), **more}).encode())


def shares(day: int, number: int = 1) -> dict[str, Any]:
    """A row of article_share."""
    return {
        "ref_date": day_text(MAY + day),
        "msgid": "1_1",
        "detail": {"share_user": number},
    }


def put(tree: Tree, dataset: Dataset, *answers: RawAnswer) -> Published:
    """Publish answers about May."""
    group = write_group(tree, 0, "run", answers)
    return publish(tree, dataset, in_may(dataset), [group], ANY_TIME)


def rows(tree: Tree, dataset: Dataset) -> list[dict[str, Any]]:
    """The rows of the file of May."""
    found: list[dict[str, Any]] = rows_of(tree, in_may(dataset)).to_pylist()
    return found


def in_may(dataset: Dataset) -> Partition:
    """The file of May."""
    return Partition(dataset.name, month_of(MAY), 0)


def known(tree: Tree, dataset: Dataset) -> AccountDays:
    """The coverage of the account in the file of May."""
    return coverage_of(tree, in_may(dataset)).account(appid(1))


@pytest.mark.parametrize("mark", [True, "true"])
def test_a_delayed_answer_settles_nothing(tree: Tree, mark: Any) -> None:
    """Its rows are published, and its day stays provisional, however old it is."""
    late = answer(SHARE, (0, 0), [shares(0)], at(300), is_delay=mark)
    done = put(tree, SHARE, late)
    assert known(tree, SHARE) == AccountDays(provisional=1, with_rows=1, asked={0: times(at(300))})
    assert done.rows_after == 1
    assert done.delayed == {late.window}


def test_an_empty_delayed_answer_settles_nothing(tree: Tree) -> None:
    """An account without rows yet is asked again too, for as long as WeChat is computing."""
    late = answer(BIZ, (3, 20), [], at(300), is_delay=True)
    assert put(tree, BIZ, late).delayed == {late.window}
    state = known(tree, BIZ)
    assert (state.final, state.with_rows) == (0, 0)
    assert state.provisional == (1 << 21) - (1 << 3)
    assert state.again == 0


def test_a_complete_answer_replaces_a_delayed_one(tree: Tree) -> None:
    """After a later complete answer, the delayed one is not reported any more."""
    late = answer(SHARE, (0, 0), [shares(0, 1)], at(2), is_delay=True)
    whole = answer(SHARE, (0, 0), [shares(0, 2)], at(3), is_delay=False)
    assert put(tree, SHARE, whole, late).delayed == set()
    assert known(tree, SHARE) == AccountDays(final=1, with_rows=1)
    assert [each["share_user"] for each in rows(tree, SHARE)] == [2]
    again = answer(SHARE, (0, 0), [shares(0, 3)], at(4), is_delay=True)
    assert put(tree, SHARE, again).delayed == set()
    assert known(tree, SHARE) == AccountDays(final=1, with_rows=1)


def test_a_delayed_answer_to_a_refetch(tree: Tree) -> None:
    """Rows that a user asked for again are provisional again, if they come from a delayed one."""
    put(tree, SHARE, answer(SHARE, (0, 0), [shares(0)], at(3)))
    late = answer(SHARE, (0, 0), [shares(0, 9)], at(5), is_delay=True, refetch=-1)
    assert put(tree, SHARE, late).delayed == {late.window}
    assert known(tree, SHARE) == AccountDays(provisional=1, with_rows=1, asked={0: times(at(5))})
    nothing = answer(SHARE, (0, 0), [], at(6), is_delay=True, refetch=-1)
    put(tree, SHARE, nothing)
    assert [each["share_user"] for each in rows(tree, SHARE)] == [9]


def test_a_day_without_a_count_is_final_at_its_last_age(tree: Tree) -> None:
    """WeChat may still add the count; a whole answer or a later age settles it."""

    def first_day(age: int, *, whole: bool = False) -> RawAnswer:
        first = shares(0) if whole else {**shares(0), "detail": {}}
        return answer(SHARE, (0, 0), [first], at(age), refetch=-1)

    put(tree, SHARE, answer(SHARE, (1, 1), [shares(1)], at(3)))
    assert put(tree, SHARE, first_day(2), first_day(29)).missing == {"detail.share_user"}
    asked = {0: AskTimes(at(2), at(29), at(29))}
    assert known(tree, SHARE) == AccountDays(2, 1, with_rows=3, asked=asked)
    assert [each["share_user"] for each in rows(tree, SHARE)] == [None, 1]
    put(tree, SHARE, first_day(30))
    assert known(tree, SHARE) == AccountDays(3, with_rows=3)
    put(tree, SHARE, first_day(31))
    assert known(tree, SHARE) == AccountDays(2, 1, with_rows=3, asked={0: times(at(31))})
    put(tree, SHARE, first_day(31, whole=True))
    assert known(tree, SHARE) == AccountDays(3, with_rows=3)


def test_a_day_rests_on_the_last_answer_with_other_rows(tree: Tree) -> None:
    """One without news is the last answer, and no more than that."""
    for day, number, rests_on in ((2, 1, 2), (3, 1, 2), (4, 7, 4), (5, 7, 4)):
        late = answer(SHARE, (0, 0), [shares(0, number)], at(day), is_delay=True)
        put(tree, SHARE, late)
        assert known(tree, SHARE).asked == {0: AskTimes(at(2), at(day), at(rests_on))}
    put(tree, SHARE, answer(SHARE, (0, 0), [], at(6), is_delay=True))
    assert known(tree, SHARE).asked == {0: AskTimes(at(2), at(6), at(4))}


def test_a_mark_that_is_not_known_settles_nothing(tree: Tree) -> None:
    """Rows are kept, the day stays provisional, and nothing says that WeChat is computing."""
    odd = answer(SHARE, (0, 0), [shares(0)], at(300), is_delay=0)
    empty = answer(BIZ, (3, 4), [], at(300), is_delay="soon")
    done = put(tree, SHARE, odd)
    assert (done.rows_after, done.quarantined, done.delayed) == (1, [], set())
    assert [(seen.name, seen.window) for seen in done.oddities.values()] == [("0", odd.window)]
    assert known(tree, SHARE) == AccountDays(provisional=1, with_rows=1, asked={0: times(at(300))})
    assert put(tree, BIZ, empty).delayed == set()
    assert known(tree, BIZ).provisional == 0b11000
    put(tree, SHARE, answer(SHARE, (0, 0), [shares(0)], at(301), is_delay=False))
    assert known(tree, SHARE) == AccountDays(final=1, with_rows=1)


def test_the_last_answer_to_a_window_decides_what_is_said_of_it(tree: Tree) -> None:
    """A later answer with another mark takes back what was noted of an earlier."""
    early = answer(DETAIL, (0, 0), [], at(10), is_delay=True)
    late = answer(DETAIL, (0, 0), [], at(11), is_delay="soon")
    done = put(tree, DETAIL, late, early)
    assert done.delayed == set()
    assert [seen.name for seen in done.oddities.values()] == ['"soon"']


def test_marks_without_number_are_kept_up_to_a_limit(tree: Tree) -> None:
    """A mark that has another value in each answer does not fill the memory or the record."""
    answers = [
        answer(SHARE, (day, day), [], at(300), is_delay=1000 + day)
        for day in range(MAX_ODDITIES + 5)
    ]
    done = put(tree, SHARE, *answers)
    # Of one second the newest days were asked for first.
    assert [seen.name for seen in done.oddities.values()] == [
        str(1000 + day) for day in range(MAX_ODDITIES + 4, 4, -1)
    ]


def test_an_article_without_readers_has_no_row(tree: Tree) -> None:
    """An article without any reader gives no row, and its day counts as answered."""
    bare = {"ref_date": day_text(MAY), "msgid": "1_1", "publish_type": 0, "detail_list": []}
    done = put(tree, DETAIL, answer(DETAIL, (0, 0), [bare], at(10)))
    assert (done.rows_after, done.quarantined, done.days) == (0, [], one_day(MAY))
    assert known(tree, DETAIL) == AccountDays(provisional=1, asked={0: times(at(10))})
    [rowless] = done.without_rows
    assert rowless == (appid(1), DETAIL.name, MAY, "1_1")


def test_weeks_settle_by_their_last_day(tree: Tree) -> None:
    """Monday's row is final once its Sunday is over."""
    rows = [
        {"ref_date": day_text(monday), "count_interval": 1, "msg_user": 5} for monday in MONDAYS
    ]
    sunday = MONDAYS[1] + 6 - MAY
    put(tree, WEEK, answer(WEEK, (3, 17), rows, at(sunday + 1)))
    bits = [1 << (monday - MAY) for monday in MONDAYS]
    # A week is its Monday: the other days of the window have no state.
    asked = {MONDAYS[2] - MAY: times(at(sunday + 1))}
    assert known(tree, WEEK) == AccountDays(
        bits[0] | bits[1], bits[2], with_rows=sum(bits), asked=asked
    )


def test_an_unusable_row_of_a_tuesday_is_no_silence(tree: Tree) -> None:
    """A week is its Monday, but what WeChat says of another day is kept and told."""
    tuesday = MONDAYS[0] + 1
    row = {"ref_date": day_text(tuesday), "count_interval": 1, "msg_user": "many"}
    done = put(tree, WEEK, answer(WEEK, (3, 17), [row], at(300)))
    assert [entry.day for entry in done.quarantined] == [date_of(tuesday)]
    assert known(tree, WEEK).quarantined == 1 << (tuesday - MAY)


def test_months_settle_by_their_last_day(tree: Tree) -> None:
    """The row of the first is final once the month is over."""
    row = {"ref_date": day_text(MAY), "msg_type": 1, "msg_user": 5, "msg_count": 6}
    put(tree, MONTH, answer(MONTH, (0, 0), [row], at(30)))
    assert known(tree, MONTH).final == 0
    put(tree, MONTH, answer(MONTH, (0, 0), [row], at(31)))
    assert known(tree, MONTH) == AccountDays(final=1, with_rows=1)


def detail(day: int, days: int) -> dict[str, Any]:
    """An article of a day of May with the numbers of so many days, some of its members alone."""
    counts = [{"stat_date": day_text(MAY + day + age), "read_user": 5} for age in range(days)]
    return {"ref_date": day_text(MAY + day), "msgid": "1_1", "detail_list": counts}


def is_final(tree: Tree, dataset: Dataset) -> bool:
    """Return whether the first of May is final; it has rows."""
    state = known(tree, dataset)
    assert state.with_rows == 1
    return state.final == 1


@pytest.mark.parametrize(
    ("dataset", "last"), [pytest.param(BIZ, 28, id="of a week"), pytest.param(DETAIL, 30, id="all")]
)
def test_answers_without_rows_settle_a_day_with_rows_once_all_ages_came_twice(
    tree: Tree, dataset: Dataset, last: int
) -> None:
    """An article may be gone for good; one answer that is empty by chance costs no row."""
    row = {BIZ: {"ref_date": day_text(MAY), "detail": {}}, DETAIL: detail(0, 3)}[dataset]
    put(tree, dataset, answer(dataset, (0, 0), [row], at(3)))
    end = last + dataset.refresh.rows[-1]
    for day in (last, last + 1, end - 1):
        put(tree, dataset, answer(dataset, (0, 0), [], at(day)))
        assert not is_final(tree, dataset)
    put(tree, dataset, answer(dataset, (0, 0), [], at(end)))
    assert is_final(tree, dataset)
    assert len(rows(tree, dataset)) == (3 if dataset is DETAIL else 1)


def test_late_rows_stay_open_for_their_ages_if_answers_lack_them(tree: Tree) -> None:
    """The ages count from the rows, whenever the day was asked first."""
    put(tree, SHARE, answer(SHARE, (0, 0), [], at(1)))
    put(tree, SHARE, answer(SHARE, (0, 0), [shares(0)], at(28)))
    for day in (35, 36, 62):
        put(tree, SHARE, answer(SHARE, (0, 0), [], at(day)))
        assert not is_final(tree, SHARE)
    put(tree, SHARE, answer(SHARE, (0, 0), [], at(63)))
    assert is_final(tree, SHARE)


def test_the_last_rows_of_an_article_come_after_an_answer_without_them(tree: Tree) -> None:
    """It was empty by chance on the morning that was to settle the day."""
    for day, entries in ((3, [detail(0, 3)]), (31, []), (32, [detail(0, 30)])):
        put(tree, DETAIL, answer(DETAIL, (0, 0), entries, at(day)))
    assert len(rows(tree, DETAIL)) == 30
    assert is_final(tree, DETAIL)

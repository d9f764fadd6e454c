"""Corrections of final days: only what answers of two Beijing days agree on replaces their rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import pytest

from harvester.catalogue import CATALOGUE
from harvester.core.calendar import day_range, instant, month_of, one_day
from harvester.core.dataset import Dataset
from harvester.core.model import Partition, RawAnswer, Window
from harvester.storage import coverage_scan
from harvester.storage.layout import Tree
from harvester.storage.publication import Published
from harvester.storage.publish import publish
from harvester.storage.raw_log import write_group
from harvester.tables.coverage import Difference
from harvester.tables.evidence import Evidence
from tests.support.answers import DAILY, HOURLY, MARCH, answer, appid, row
from tests.support.output_helpers import ANY_TIME, coverage_of, rows_of

Rows: TypeAlias = list[dict[str, Any]]

DELAYED = CATALOGUE["article_share"]


def at(day: int, minute: int = 720) -> int:
    """A moment of a Beijing day, counted from the first of March."""
    return int(instant(MARCH + day, minute))


def put(
    tree: Tree,
    rows: Rows,
    asked_at: int,
    dataset: Dataset = DAILY,
    *,
    day: int = 0,
    is_recovered: bool = False,
    **more: Any,
) -> Published:
    """Publish an answer about a day of March, as a run or as the recovery of a killed one."""
    window = Window(appid(1), dataset.name, MARCH + day, MARCH + day)
    found = answer(window, rows, asked_at, refetch=more.pop("refetch", 0))
    if more.pop("is_delay", False):
        found = found._replace(body=found.body[:-1] + b',"is_delay":true}')
    return publish_of(tree, [found], dataset, is_recovered=is_recovered)


def publish_of(
    tree: Tree,
    answers: Sequence[RawAnswer],
    dataset: Dataset = DAILY,
    *,
    is_recovered: bool = False,
) -> Published:
    """Publish answers about March."""
    group = write_group(tree, 0, "run", answers)
    evidence = None if is_recovered else {dataset.name: Evidence(dataset, 0, {}, {})}
    trusted = ANY_TIME._replace(evidence=evidence)
    return publish(tree, dataset, Partition(dataset.name, month_of(MARCH), 0), [group], trusted)


def numbers(tree: Tree, dataset: Dataset = DAILY, column: str = "callback_count") -> list[Any]:
    """The counts in the file of March."""
    place = Partition(dataset.name, month_of(MARCH), 0)
    found: list[Any] = rows_of(tree, place)[column].to_pylist()
    return found


def differs(tree: Tree, dataset: Dataset = DAILY) -> dict[int, Difference]:
    """The differences that the coverage of the account has."""
    account = coverage_of(tree, Partition(dataset.name, month_of(MARCH), 0)).account(appid(1))
    return account.differs


def daily(number: int, **more: Any) -> Rows:
    """The row of the first of March."""
    return [row(MARCH, number=number, **more)]


def test_one_bad_answer_changes_nothing(tree: Tree) -> None:
    """It leaves a digest with its day, and no change for readers."""
    put(tree, daily(1), at(10))
    done = put(tree, daily(2), at(40))
    assert numbers(tree) == [1]
    assert (done.corrected, done.changed_days, done.changed_appids) == (set(), 0, set())
    assert [(day, each.day) for day, each in differs(tree).items()] == [(0, MARCH + 40)]


def test_the_same_rows_on_two_beijing_days_replace(tree: Tree) -> None:
    """Midnight may lie between them, and the same day says nothing more."""
    put(tree, daily(1), at(10))
    put(tree, daily(2), at(40, 1))
    assert put(tree, daily(2), at(40, 1439)).corrected == set()
    assert numbers(tree) == [1]
    done = put(tree, daily(2), at(41, 1))
    assert numbers(tree) == [2]
    assert done.corrected == {(appid(1), MARCH)}
    assert (done.changed_days, done.changed_appids) == (one_day(MARCH), {appid(1)})
    assert differs(tree) == {}
    again = put(tree, daily(1), at(42))
    assert (numbers(tree), again.corrected) == ([2], set())


def test_a_second_answer_that_differs_in_another_way_leaves_nothing(tree: Tree) -> None:
    """Neither of them is known to be right, so two more have to agree."""
    for day, number in ((10, 1), (40, 2), (41, 3)):
        put(tree, daily(number), at(day))
    assert (numbers(tree), differs(tree)) == ([1], {})
    put(tree, daily(3), at(42))
    assert numbers(tree) == [1]
    put(tree, daily(3), at(43))
    assert numbers(tree) == [3]


def test_an_answer_that_agrees_with_the_rows_drops_the_digest(tree: Tree) -> None:
    """Two answers with another one between them do not agree."""
    for day, number in ((10, 1), (40, 2), (41, 1)):
        put(tree, daily(number), at(day))
    assert differs(tree) == {}
    put(tree, daily(2), at(42))
    assert numbers(tree) == [1]


def test_a_further_key_is_a_correction(tree: Tree) -> None:
    """Hours that an answer has besides those of the file."""
    hours = [row(MARCH, hour) for hour in range(23)]
    for day in (1, 40, 41):
        put(tree, hours if day == 1 else [*hours, row(MARCH, 23)], at(day), HOURLY)
    assert len(numbers(tree, HOURLY)) == 24


def share(number: int) -> Rows:
    """A row of an article's shares."""
    text = row(MARCH)["ref_date"]
    return [{"ref_date": text, "msgid": "1_1", "detail": {"share_user": number}}]


@pytest.mark.parametrize(
    ("dataset", "rows", "more"),
    [
        pytest.param(HOURLY, [row(MARCH, hour, 2) for hour in range(1, 24)], {}, id="fewer keys"),
        pytest.param(DAILY, daily(1, news=1), {}, id="_extra alone"),
        pytest.param(DELAYED, share(2), {"is_delay": True}, id="delayed"),
        pytest.param(DAILY, daily(2), {"is_recovered": True}, id="recovered"),
        pytest.param(DAILY, daily(2, fail_count=None), {}, id="a count is missing"),
        pytest.param(DAILY, daily(-2), {}, id="not usable"),
        pytest.param(DAILY, [], {}, id="no rows"),
    ],
)
def test_what_touches_no_final_day(
    tree: Tree, dataset: Dataset, rows: Rows, more: dict[str, Any]
) -> None:
    """Not on two days either, and neither its state nor its rows."""
    first = {HOURLY: [row(MARCH, hour) for hour in range(24)], DELAYED: share(1)}
    put(tree, first.get(dataset, daily(1)), at(10), dataset)
    place = Partition(dataset.name, month_of(MARCH), 0)
    before = rows_of(tree, place), coverage_of(tree, place)
    assert before[1].account(appid(1)).final == 1
    for day in (40, 41, 42):
        done = put(tree, rows, at(day), dataset, **more)
        assert (done.corrected, done.quarantined) == (set(), [])
    assert (rows_of(tree, place), coverage_of(tree, place)) == before


def test_what_a_user_asks_again_is_replaced_at_once(tree: Tree) -> None:
    """That is no correction of harvester's, and a digest of other rows is void."""
    put(tree, daily(1), at(10))
    put(tree, daily(2), at(40))
    done = put(tree, daily(3), at(41), refetch=-1)
    assert (numbers(tree), done.corrected, differs(tree)) == ([3], set(), {})


def test_a_window_corrects_each_of_its_days_by_itself(tree: Tree) -> None:
    """Of three final days one differs on two days, one on the first alone."""
    window = Window(appid(1), DAILY.name, MARCH, MARCH + 2)

    def three(*found: int) -> list[dict[str, Any]]:
        return [row(MARCH + day, number=number) for day, number in enumerate(found)]

    dones = [
        publish_of(tree, [answer(window, three(*found), at(day))])
        for day, found in ((10, (1, 1, 1)), (20, (1, 2, 2)), (21, (1, 2, 1)))
    ]
    assert (numbers(tree), differs(tree)) == ([1, 2, 1], {})
    assert [done.corrected for done in dones] == [set(), set(), {(appid(1), MARCH + 1)}]


@pytest.mark.parametrize("age", [DAILY.span, DAILY.span + 1])
def test_a_day_that_differs_is_asked_on_the_morning_after(tree: Tree, age: int) -> None:
    """It is asked once, also where the windows of the newest day still reach it."""
    number = 41 - age
    put(tree, [row(MARCH + number)], at(number + 5), day=number)
    put(tree, [row(MARCH + number, number=2)], at(40), day=number)

    def asked(today: int) -> bool:
        want = {DAILY.name: {appid(1): day_range(MARCH, MARCH + 30)}}
        scan = coverage_scan.read(tree, want, at(today), {DAILY.name: DAILY})
        due = coverage_scan.to_ask(scan.states, want, None).days[DAILY.name][appid(1)]
        return bool(due & one_day(MARCH + number))

    assert [asked(today) for today in (40, 41, 42)] == [False, True, False]

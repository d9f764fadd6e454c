"""Followers and messages: the numbers of different datasets are about the same people."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.core.calendar import FIRST_DAY, day_text, month_end, month_of
from harvester.sandbox.data import expected_rows
from harvester.sandbox.data.message import _intervals
from tests.support.sandboxes import BUSY, MONDAY_THE_FIRST, QUIET

appids = st.integers(0, 2**64 - 1).map(lambda number: f"wx{number:016x}")
days = st.integers(FIRST_DAY + 1, FIRST_DAY + 5_000)


def followers(appid: str, day: int) -> int:
    """Return the number of followers of an account at the end of a day."""
    (row,) = expected_rows("user_cumulate", appid, day)
    return int(row["cumulate_user"])


def by_kind(dataset: str, appid: str, days: Iterable[int]) -> dict[int, list[tuple[int, int]]]:
    """People and messages of each row, by kind of message."""
    found: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for day in days:
        for row in expected_rows(dataset, appid, day):
            found[row["msg_type"]].append((row["msg_user"], row["msg_count"]))
    return dict(found)


def assert_sums_up(
    whole: dict[int, list[tuple[int, int]]], parts: dict[int, list[tuple[int, int]]]
) -> None:
    """Messages add up; people are at least the most of one part and at most those of all."""
    assert set(whole) == set(parts)
    for kind, ((users, messages),) in whole.items():
        people = [part for part, _ in parts[kind]]
        assert messages == sum(count for _, count in parts[kind])
        assert max(people) <= users <= sum(people)


@given(appids, days)
def test_new_minus_lost_followers_is_the_change(appid: str, day: int) -> None:
    """New followers minus lost ones, over all channels, are the change of the number of them."""
    rows = expected_rows("user_summary", appid, day)
    net = sum(row["new_user"] - row["cancel_user"] for row in rows)
    assert net == followers(appid, day) - followers(appid, day - 1)


@given(appids, days)
def test_no_count_of_followers_is_negative(appid: str, day: int) -> None:
    """An account has followers every day, and new and lost ones are never below zero."""
    assert followers(appid, day) > 0
    for row in expected_rows("user_summary", appid, day):
        assert min(row["new_user"], row["cancel_user"]) >= 0


def test_idle_days_have_a_row_of_zeros_or_none() -> None:
    """A day without new or lost followers mostly has one row, of source 0, and sometimes none."""
    some = range(FIRST_DAY, FIRST_DAY + 400)
    idle = [expected_rows("user_summary", QUIET, day) for day in some]
    zeros = [
        [{"ref_date": day_text(day), "user_source": 0, "new_user": 0, "cancel_user": 0}]
        for day in some
    ]
    equal = [rows == zero for rows, zero in zip(idle, zeros, strict=True)]
    assert sum(equal) > idle.count([]) > 0


@given(appids, days)
def test_hours_add_up_to_the_day(appid: str, day: int) -> None:
    """The messages of a day are those of its hours, of every kind."""
    hours = by_kind("upstream_msg_hour", appid, [day])
    assert_sums_up(by_kind("upstream_msg", appid, [day]), hours)


@pytest.mark.parametrize("appid", [BUSY, QUIET])
@pytest.mark.parametrize("period", ["week", "month"])
def test_days_add_up_to_weeks_and_months(appid: str, period: str) -> None:
    """The messages of a week and of a month are those of its days, of every kind."""
    begin = MONDAY_THE_FIRST
    end = begin + 6 if period == "week" else month_end(month_of(begin))
    parts = by_kind("upstream_msg", appid, range(begin, end + 1))
    assert_sums_up(by_kind(f"upstream_msg_{period}", appid, [begin]), parts)


@given(appids, days)
def test_messages_are_answered(appid: str, day: int) -> None:
    """In every hour the account's server was asked at least as often as messages came."""
    asked = {
        row["ref_hour"]: row["callback_count"]
        for row in expected_rows("interface_summary_hour", appid, day)
    }
    wrote: dict[int, int] = defaultdict(int)
    for row in expected_rows("upstream_msg_hour", appid, day):
        wrote[row["ref_hour"]] += row["msg_count"]
        assert 0 < row["msg_user"] <= row["msg_count"]
    assert all(count <= asked[hour] for hour, count in wrote.items())


@given(st.integers(1, 10_000), st.integers(0, 100_000))
def test_intervals_fit_people_and_messages(users: int, more: int) -> None:
    """Each writer is in one interval, and the intervals allow the number of messages."""
    few, some, many = _intervals(users, users + more)
    assert few + some + many == users
    assert min(few, some, many) >= 0
    assert few + 6 * some + 10 * many <= users + more
    assert many or users + more <= 5 * few + 10 * some


@given(appids, days)
def test_distributions_are_of_the_same_people(appid: str, day: int) -> None:
    """As many people as wrote are distributed: those of all kinds, each counted once."""
    people = [users for ((users, _),) in by_kind("upstream_msg", appid, [day]).values()]
    rows = expected_rows("upstream_msg_dist", appid, day)
    assert [row["count_interval"] for row in rows] == sorted({r["count_interval"] for r in rows})
    assert max(people, default=0) <= sum(row["msg_user"] for row in rows) <= sum(people)


def test_rows_look_as_in_live_answers() -> None:
    """The undocumented user_source 0 comes along where it was seen."""
    date = day_text(MONDAY_THE_FIRST)
    (row,) = expected_rows("user_cumulate", QUIET, MONDAY_THE_FIRST)
    assert list(row.items())[:2] == [("ref_date", date), ("user_source", 0)]
    assert all(
        row["user_source"] == 0 for row in expected_rows("upstream_msg", BUSY, MONDAY_THE_FIRST)
    )

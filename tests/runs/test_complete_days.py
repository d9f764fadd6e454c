"""The newest complete day of a dataset: exact however the accounts are cut into shards."""

from __future__ import annotations

import operator
import pickle
from functools import reduce
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.core import calendar
from harvester.core.calendar import FIRST_DAY, DaySet
from harvester.runs.record.account_report import (
    DatasetSummary,
    added,
    summarise_states,
)
from harvester.runs.record.complete_days import CompleteDays
from harvester.runs.record.run_record import plain_row
from harvester.storage.account_scan import States
from tests.support.run_harness import DAILY, HOURLY, appid

DAYS = 12
_sets = st.integers(0, (1 << DAYS) - 1)


class Part(NamedTuple):
    """Accounts that want and lack the same days: a few, or nearly all."""

    wanted: DaySet
    lacking: DaySet
    number: int


_parts = st.tuples(_sets, _sets, st.integers(1, 70)).map(
    lambda drawn: Part(drawn[0], drawn[0] & drawn[1], drawn[2])
)


def newest_by_counting(accounts: list[tuple[DaySet, DaySet]]) -> int | None:
    """Return what the definition says, a day and an account at a time."""
    for day in reversed(range(FIRST_DAY, FIRST_DAY + DAYS)):
        judged = [lacking for wanted, lacking in accounts if calendar.has_day(wanted, day)]
        there = sum(not calendar.has_day(lacking, day) for lacking in judged)
        if judged and there * 100 >= len(judged) * 95:
            return day
    return None


@given(st.lists(_parts, max_size=8), st.data())
def test_any_cut_into_shards_gives_the_same_day(parts: list[Part], data: st.DataObject) -> None:
    """It is the day that a naive count finds, and crosses a process as it is."""
    accounts = [part[:2] for part in parts for _ in range(part.number)]
    shards: list[list[tuple[DaySet, DaySet]]] = [[], [], []]
    for account in accounts:
        data.draw(st.sampled_from(shards)).append(account)
    whole = CompleteDays.of(accounts)
    of_shards = reduce(operator.add, map(CompleteDays.of, shards))
    assert of_shards == whole
    assert pickle.loads(pickle.dumps(of_shards)).newest == newest_by_counting(accounts)


@pytest.mark.parametrize(("number", "newest"), [(20, FIRST_DAY), (19, None)])
def test_one_account_of_twenty_may_lack_a_complete_day(number: int, newest: int | None) -> None:
    """Of nineteen none may."""
    assert CompleteDays.of([(1, 1)] + [(1, 0)] * (number - 1)).newest == newest


def test_a_day_that_no_account_wants_is_not_complete() -> None:
    """Nor is any day without an account."""
    assert CompleteDays.of([]).newest is None
    assert CompleteDays.of([(0b011, 0b001), (0b011, 0)]).newest == FIRST_DAY + 1


def states_of(wanted: DaySet, lacking: DaySet, rejected: DaySet = 0) -> States:
    """Return the states of an account that lacks some days and got no good answer for others."""
    return States(
        no_ask_today=wanted & ~lacking, answered=wanted & ~lacking & ~rejected, quarantined=rejected
    )


def summary_of(states: dict[str, States], *lost: tuple[str, str, str]) -> DatasetSummary:
    """Return the summary of accounts that want three days."""
    want = {DAILY: dict.fromkeys(states, 0b111)}
    [row] = summarise_states(want, {DAILY: states}, lost)
    return row


def test_refused_accounts_are_not_judged() -> None:
    """They lack all days from now on, and would hold the day for ever."""
    sick = appid(1)
    states = {sick: states_of(0b111, 0b110), appid(2): states_of(0b111, 0)}
    found = {
        reason: summary_of(states, (DAILY, sick, reason)).complete_days.newest
        for reason in ("refused", "failed", "quota", "not_ready")
    }
    # A later run may obtain what failed or came too late.
    assert found.pop("refused") == FIRST_DAY + 2
    assert {*found.values()} == {FIRST_DAY}
    assert summary_of(states, (HOURLY, sick, "refused")).complete_days.newest == FIRST_DAY


def test_a_rejected_answer_is_none() -> None:
    """A dataset whose answers change their form stands still, whatever was asked."""
    row = summary_of({appid(1): states_of(0b111, 0, rejected=0b100)})
    assert (row.days.missing, row.complete_days.newest) == (0, FIRST_DAY + 1)
    kept = States(no_ask_today=0b111, answered=0b111, quarantined=0b100)
    assert summary_of({appid(1): kept}).complete_days.newest == FIRST_DAY + 2


def test_the_day_is_a_text_in_json() -> None:
    """The counts by day are not part of the record."""
    row = summary_of({appid(1): states_of(0b111, 0b100)})
    found = plain_row(row)
    assert str(row.newest_complete_day) == "2014-12-02"
    assert found["newest_complete_day"] == "2014-12-02"
    assert "complete_days" not in found
    assert "complete_days" not in repr(row)
    assert plain_row(DatasetSummary(DAILY, 0, row.days))["newest_complete_day"] is None


def test_old_missing_days_are_backfill() -> None:
    """The newest seven days that an account wants are not; a client with old ones is no alarm."""
    newcomer, wanted = appid(3), (1 << 30) - 1
    states = {newcomer: states_of(wanted, (1 << 25) - 1), appid(4): states_of(wanted, 1 << 29)}
    [row] = summarise_states({DAILY: dict.fromkeys(states, wanted)}, {DAILY: states}, ())
    assert (row.days.missing, row.days.backfill) == (26, 23)
    assert added(row, row).days.backfill == 46

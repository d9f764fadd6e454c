"""The quota as pure arithmetic: what may be spent, and when a question is due."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.core.calendar import instant, parse_day
from harvester.core.config.settings import ASSUMED_QUOTA, Limits
from harvester.core.model import Refusal, ReportedQuota, Reserve
from harvester.planning.daily_quota import (
    MAX_QUESTIONS,
    UNASKED_CALLS,
    Block,
    KnownQuota,
    Need,
    Quota,
)
from harvester.planning.quota import DayLedger
from tests.support.run_harness import HOURLY, appid

TODAY = parse_day("2026-05-20")
NOON = instant(TODAY, 12 * 60)
ONE = appid(1)
PAIR = (ONE, HOURLY)
WHOLE = Limits(daily_reserve=Reserve())
COUNTS = st.integers(0, 3_000)


def ledger_of(spent: int) -> DayLedger:
    """Return a ledger of today with so many calls."""
    ledger = DayLedger(TODAY)
    ledger.add(HOURLY, ONE, spent)
    return ledger


def told(limit: int, remain: int, counted: int | None = 0, at: float = NOON) -> KnownQuota:
    """Return a quota as WeChat told it at noon, of which so many calls were the ledger's own."""
    return KnownQuota(ReportedQuota(limit, limit - remain, remain, at), counted)


@given(COUNTS, COUNTS, COUNTS, COUNTS, st.sampled_from([0.0, 0.1, 0.5]))
def test_what_is_left_is_the_smaller_of_limit_and_remain_less_the_reserve(
    limit: int, remain: int, counted: int, since: int, share: float
) -> None:
    """Calls made since the answer count against both; the reserve is one of the limit."""
    remain = min(remain, limit + 1)
    known = told(limit + 1, remain, counted)
    quota = Quota(Limits(daily_reserve=Reserve(share=share)), {PAIR: known})
    left = quota.left(ledger_of(counted + since), HOURLY, ONE)
    reserve = Reserve(share=share).of(limit + 1)
    assert left == max(0, min(limit + 1 - counted, remain) - since - reserve)


def test_what_remained_on_another_day_is_no_bound() -> None:
    """The limit stays, and the day begins anew."""
    quota = Quota(WHOLE, {PAIR: told(1_000, 10, at=NOON - 86_400)})
    assert quota.left(ledger_of(0), HOURLY, ONE) == 1_000


def test_a_number_of_the_manifest_is_the_limit_and_what_remained_still_binds() -> None:
    """The smaller of the two, less the reserve."""
    for number, left in ((2_000, 1_800), (4_000, 2_100)):
        quota = Quota(Limits(daily_quota=number), {PAIR: told(5_000, 2_500)})
        assert quota.limit(HOURLY, ONE) == (number, "set")
        assert quota.left(ledger_of(0), HOURLY, ONE) == left


@st.composite
def days(draw: st.DrawFn) -> tuple[int, list[tuple[int, int]]]:
    """Draw a limit, and steps: the size of a block, and the calls of others meanwhile."""
    steps = st.tuples(st.integers(1, 300), st.integers(0, 60))
    return draw(st.integers(1, 3_000)), draw(st.lists(steps))


@given(days())
def test_no_day_spends_more_than_was_left_by_the_last_answer(
    day: tuple[int, list[tuple[int, int]]],
) -> None:
    """Blocks and questions in any order, while others spend: at most four questions."""
    limit, steps = day
    quota, ledger = Quota(Limits(daily_quota=None)), DayLedger(TODAY)
    reserve, others, questions, bound = Reserve(share=0.1), 0, 0, UNASKED_CALLS
    for size, foreign in steps:
        others += foreign
        spent = ledger.spent(HOURLY, ONE)
        if quota.next_block(ledger, HOURLY, ONE, Need(size, 10_000, 0)) is None:
            quota.asking(ledger, HOURLY, ONE)
            questions += 1
            remain = max(0, limit - spent - others)
            quota.answered(PAIR, ReportedQuota(limit, limit - remain, remain, NOON), spent)
            bound = spent + max(0, min(limit - spent, remain) - reserve.of(limit))
        assert ledger.spent(HOURLY, ONE) <= max(bound, spent)
        assert questions <= MAX_QUESTIONS
    if questions:
        assert ledger.spent(HOURLY, ONE) <= max(UNASKED_CALLS, limit - reserve.of(limit))


def test_a_pair_that_needs_no_more_is_given_what_its_failures_may_need() -> None:
    """The last calls in flight of two hundred may fail, and that is worth no question."""
    ledger = ledger_of(UNASKED_CALLS)
    assert Quota(WHOLE).next_block(ledger, HOURLY, ONE, Need(3, 0, 0)) == Block(3)
    assert Quota(WHOLE).next_block(ledger, HOURLY, ONE, Need(20, 1, 0)) is None


def test_a_question_is_due_at_a_quarter_of_what_remained() -> None:
    """Counted from the answer, and for a limit of an earlier day from midnight."""
    ledger = ledger_of(0)
    known = told(4_000, 4_000, at=NOON - 86_400)
    quota = Quota(WHOLE, {PAIR: known})
    assert quota.next_block(ledger, HOURLY, ONE, Need(2_000, 3_000, 0)) == Block(1_000)
    assert quota.next_block(ledger, HOURLY, ONE, Need(2_000, 2_000, 0)) is None
    quota.asking(ledger, HOURLY, ONE)
    quota.answered(PAIR, ReportedQuota(4_000, 1_200, 2_800, NOON), 1_000)
    assert quota.next_block(ledger, HOURLY, ONE, Need(2_000, 2_000, 0)) == Block(700)


def test_a_refused_question_is_not_repeated_on_the_same_day() -> None:
    """A thousand calls are assumed, less the reserve."""
    ledger, quota = ledger_of(UNASKED_CALLS), Quota(Limits())
    need = Need(5_000, 5_000, 0)
    assert quota.next_block(ledger, HOURLY, ONE, need) is None
    quota.asking(ledger, HOURLY, ONE)
    quota.refused(PAIR)
    block = quota.next_block(ledger, HOURLY, ONE, need)
    text = "1,000 calls a day (assumed), 100 of them reserved"
    assert block == Block(ASSUMED_QUOTA - 100 - UNASKED_CALLS, text)
    tomorrow = DayLedger(TODAY + 1)
    tomorrow.add(HOURLY, ONE, UNASKED_CALLS)
    assert quota.next_block(tomorrow, HOURLY, ONE, need) is None


def test_unanswered_questions_let_a_pair_go_on_until_the_next_one() -> None:
    """Four of them, and then what is known decides for the rest of the day."""
    ledger, quota, spent = ledger_of(0), Quota(Limits()), []
    for _ in range(50):
        block = quota.next_block(ledger, HOURLY, ONE, Need(100, 5_000, 0))
        if block is None:
            quota.asking(ledger, HOURLY, ONE)
            quota.unanswered(ledger, HOURLY, ONE)
            spent.append(ledger.spent(HOURLY, ONE))
    assert spent == [200, 250, 300, 350]
    assert ledger.spent(HOURLY, ONE) == 900


def test_the_questions_of_a_plan_are_those_of_a_run_without_other_users() -> None:
    """By what is known when it is made."""
    for calls in (0, 200, 201, 500, 600, 3_000):
        planned = Quota(WHOLE, {PAIR: told(1_000, 1_000)})
        expected = planned.questions(ledger_of(0), HOURLY, ONE, calls)
        ledger, asked = ledger_of(0), 0
        for _ in range(100):
            spent = ledger.spent(HOURLY, ONE)
            need = Need(min(50, calls - spent), calls - spent, 0)
            if planned.next_block(ledger, HOURLY, ONE, need) is None:
                planned.asking(ledger, HOURLY, ONE)
                remain = 1_000 - spent
                planned.answered(PAIR, ReportedQuota(1_000, spent, remain, NOON), spent)
                asked += 1
        assert asked == expected


def test_what_a_45009_taught_is_what_a_further_day_is_expected_to_allow() -> None:
    """No reserve of it; the next answer of WeChat's on a later day replaces it."""
    quota, ledger = Quota(Limits()), ledger_of(9)
    ledger.exhaust(HOURLY, ONE, Refusal(45009, "reach max api daily quota limit", ""))
    quota.teach(ledger, HOURLY, ONE, 5)
    assert (quota.budget(HOURLY, ONE), quota.left(ledger, HOURLY, ONE)) == (5, 0)
    quota.answered(PAIR, ReportedQuota(400, 0, 400, NOON), 0)
    assert quota.budget(HOURLY, ONE) == 5
    quota.answered(PAIR, ReportedQuota(400, 0, 400, NOON + 86_400), 0)
    assert quota.budget(HOURLY, ONE) == 360


def test_nothing_allowed_teaches_nothing_of_other_days() -> None:
    """Others had spent it all: a day without any call cannot be expected for ever."""
    quota, ledger = Quota(Limits()), ledger_of(1)
    quota.teach(ledger, HOURLY, ONE, 0)
    assert quota.budget(HOURLY, ONE) == 900


def test_a_check_beside_earlier_calls_is_settled_once() -> None:
    """Calls of the ledger when a run first looks are in WeChat's number, later ones are not."""
    known = told(400, 300, counted=None)
    quota, ledger = Quota(WHOLE, {PAIR: known}), ledger_of(60)
    assert quota.left(ledger, HOURLY, ONE) == 300
    assert quota.settle(ledger, HOURLY, ONE)
    assert known.counted == 60
    ledger.add(HOURLY, ONE, 100)
    assert not quota.settle(ledger, HOURLY, ONE)
    assert quota.left(ledger, HOURLY, ONE) == 200


@pytest.mark.parametrize("wrong", [{"asked_on": -1}, {"taught": -1}, {"questions": 1 << 50}])
def test_numbers_that_no_run_enters_are_refused(wrong: dict[str, Any]) -> None:
    """A file with them counts as damaged."""
    with pytest.raises(ValueError, match="numbers"):
        KnownQuota(**wrong)

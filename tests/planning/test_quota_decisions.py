"""The quota as pure arithmetic: what may be spent, and when a question is due."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from harvester.core.calendar import Day, instant, parse_day
from harvester.core.config.settings import ASSUMED_QUOTA, Limits
from harvester.core.model import Refusal, ReportedQuota, Reserve
from harvester.planning.ledger import KnownQuota, Ledger
from harvester.planning.quota import MAX_QUESTIONS, UNASKED_CALLS, Block, DailyQuota
from tests.support.run_harness import HOURLY, appid

TODAY = parse_day("2026-05-20")
NOON = instant(TODAY, 12 * 60)
ONE = appid(1)
WHOLE = Limits(daily_reserve=Reserve())
COUNTS = st.integers(0, 3_000)


def ledger_of(spent: int, known: KnownQuota | None = None, day: Day = TODAY) -> Ledger:
    """Return a ledger with so many calls of a day, and what is known of the quota."""
    ledger = Ledger(day)
    ledger.add(HOURLY, ONE, spent)
    if known is not None:
        ledger.known = {HOURLY: {ONE: known}}
    return ledger


def quota(ledger: Ledger, limits: Limits | None = None) -> DailyQuota:
    """Return the quota as it is now."""
    return DailyQuota(limits or Limits(), ledger, HOURLY, ONE)


def told(limit: int, remain: int, counted: int = 0, at: float = NOON) -> KnownQuota:
    """Return a quota as WeChat told it at noon, of which so many calls were the ledger's own."""
    return KnownQuota(ReportedQuota(limit, limit - remain, remain, at), counted)


@given(COUNTS, COUNTS, COUNTS, COUNTS, st.sampled_from([0.0, 0.1, 0.5]))
def test_what_is_left_is_the_smaller_of_limit_and_remain_less_the_reserve(
    limit: int, remain: int, counted: int, since: int, share: float
) -> None:
    """Calls made since the answer count against both; the reserve is one of the limit."""
    remain = min(remain, limit + 1)
    known = told(limit + 1, remain, counted)
    limits = Limits(daily_reserve=Reserve(share=share))
    left = quota(ledger_of(counted + since, known), limits).left()
    reserve = Reserve(share=share).of(limit + 1)
    assert left == max(0, min(limit + 1 - counted, remain) - since - reserve)


def test_what_remained_on_another_day_is_no_bound() -> None:
    """The limit stays, and the day begins anew."""
    assert quota(ledger_of(0, told(1_000, 10, at=NOON - 86_400)), WHOLE).left() == 1_000


def test_a_number_of_the_manifest_is_the_limit_and_what_remained_still_binds() -> None:
    """The smaller of the two, less the reserve."""
    for number, left in ((2_000, 1_800), (4_000, 2_100)):
        found = quota(ledger_of(0, told(5_000, 2_500)), Limits(daily_quota=number))
        assert (found.quota, found.origin, found.left()) == (number, "set", left)


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
    ledger = Ledger(TODAY)
    reserve, others, questions, bound = Reserve(share=0.1), 0, 0, UNASKED_CALLS
    for size, foreign in steps:
        others += foreign
        spent = ledger.spent(HOURLY, ONE)
        if quota(ledger).next_block(size, owed=10_000, unused=0) is None:
            quota(ledger).asking()
            questions += 1
            remain = max(0, limit - spent - others)
            quota(ledger).answered(ReportedQuota(limit, limit - remain, remain, NOON), spent)
            bound = spent + max(0, min(limit - spent, remain) - reserve.of(limit))
        assert ledger.spent(HOURLY, ONE) <= max(bound, spent)
        assert questions <= MAX_QUESTIONS
    if questions:
        assert ledger.spent(HOURLY, ONE) <= max(UNASKED_CALLS, limit - reserve.of(limit))


def test_a_pair_that_needs_no_more_is_given_what_its_failures_may_need() -> None:
    """The last calls in flight of two hundred may fail, and that is worth no question."""
    ledger = ledger_of(UNASKED_CALLS)
    assert quota(ledger, WHOLE).next_block(3, owed=0, unused=0) == Block(3)
    assert quota(ledger, WHOLE).next_block(20, owed=1, unused=0) is None


def test_a_question_is_due_at_a_quarter_of_what_remained() -> None:
    """Counted from the answer, and for a limit of an earlier day from midnight."""
    ledger = ledger_of(0, told(4_000, 4_000, at=NOON - 86_400))
    assert quota(ledger, WHOLE).next_block(2_000, owed=3_000, unused=0) == Block(1_000)
    assert quota(ledger, WHOLE).next_block(2_000, owed=2_000, unused=0) is None
    quota(ledger).asking()
    quota(ledger).answered(ReportedQuota(4_000, 1_200, 2_800, NOON), 1_000)
    assert quota(ledger, WHOLE).next_block(2_000, owed=2_000, unused=0) == Block(700)


def test_a_refused_question_is_not_repeated_on_the_same_day() -> None:
    """A thousand calls are assumed, less the reserve."""
    ledger = ledger_of(UNASKED_CALLS)
    assert quota(ledger).next_block(5_000, owed=5_000, unused=0) is None
    quota(ledger).asking()
    quota(ledger).answered("76022 no quota")
    block = quota(ledger).next_block(5_000, owed=5_000, unused=0)
    text = "1,000 calls a day (assumed), 100 of them reserved"
    assert block == Block(ASSUMED_QUOTA - 100 - UNASKED_CALLS, text)
    ledger.day = TODAY + 1
    ledger.add(HOURLY, ONE, UNASKED_CALLS)
    assert quota(ledger).next_block(5_000, owed=5_000, unused=0) is None


def test_unanswered_questions_let_a_pair_go_on_until_the_next_one() -> None:
    """Four of them, and then what is known decides for the rest of the day."""
    ledger = ledger_of(0)
    spent: list[int] = []
    for _ in range(50):
        block = quota(ledger).next_block(100, owed=5_000, unused=0)
        if block is None:
            quota(ledger).asking()
            quota(ledger).answered(None)
            spent.append(ledger.spent(HOURLY, ONE))
    assert spent == [200, 250, 300, 350]
    assert ledger.spent(HOURLY, ONE) == 900


def test_the_questions_of_a_plan_are_those_of_a_run_without_other_users() -> None:
    """By what is known when it is made."""
    for calls in (0, 200, 201, 500, 600, 3_000):
        ledger, asked = ledger_of(0, told(1_000, 1_000)), 0
        expected = quota(ledger, WHOLE).questions(calls)
        for _ in range(100):
            spent = ledger.spent(HOURLY, ONE)
            size = min(50, calls - spent)
            if quota(ledger, WHOLE).next_block(size, owed=calls - spent, unused=0) is None:
                quota(ledger, WHOLE).asking()
                remain = 1_000 - spent
                quota(ledger).answered(ReportedQuota(1_000, spent, remain, NOON), spent)
                asked += 1
        assert asked == expected


def test_what_a_45009_taught_is_what_a_further_day_is_expected_to_allow() -> None:
    """No reserve of it; the next answer of WeChat's on a later day replaces it."""
    ledger = ledger_of(9)
    ledger.exhaust(HOURLY, ONE, Refusal(45009, "reach max api daily quota limit", ""))
    quota(ledger).teach(5)
    assert (quota(ledger).budget, quota(ledger).left()) == (5, 0)
    quota(ledger).answered(ReportedQuota(400, 0, 400, NOON), 0)
    assert quota(ledger).budget == 5
    quota(ledger).answered(ReportedQuota(400, 0, 400, NOON + 86_400), 0)
    assert quota(ledger).budget == 360


def test_nothing_allowed_teaches_nothing_of_other_days() -> None:
    """Others had spent it all: a day without any call cannot be expected for ever."""
    ledger = ledger_of(1)
    quota(ledger).teach(0)
    assert quota(ledger).budget == 900


def test_the_newer_of_two_answers_counts() -> None:
    """A check after a run; what a run learnt else is kept."""
    known = KnownQuota(told(10, 9).reported, 1, TODAY, 2, 3, taught=5, taught_on=TODAY)
    ledger, new = ledger_of(1, known), ReportedQuota(20, 4, 16, NOON + 60)
    quota(ledger).answered(new, 1)
    assert ledger.quota(HOURLY, ONE) == known._replace(reported=new, counted=1, ask_beyond=5)


def test_a_user_who_knows_better_leaves_limit_and_questions_known() -> None:
    """Calls, refusal and what a day taught are forgotten."""
    known = KnownQuota(told(400, 0).reported, 9, TODAY, 2, 50, taught=5, taught_on=TODAY - 1)
    ledger = ledger_of(400, known)
    ledger.exhaust(HOURLY, ONE, Refusal(45009, "spent", ""))
    quota(ledger).forget_spent()
    assert (quota(ledger, WHOLE).left(), quota(ledger, WHOLE).budget) == (400, 400)
    assert ledger.quota(HOURLY, ONE).questions == 2

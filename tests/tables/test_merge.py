from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import hypothesis.strategies as st
import pyarrow as pa
import pytest
from hypothesis import given

from harvester.core import calendar
from harvester.core.calendar import day_range, instant, month_of, parse_day
from harvester.core.dataset import Dataset, Refresh
from harvester.core.errors import StoreError
from harvester.core.model import RawAnswer, Window
from harvester.storage.publish import answered_on
from harvester.tables import merge, row_groups
from harvester.tables.columns import Slice, arrow_schema
from harvester.tables.coverage import OLD_DAYS, AccountDays, AskTimes
from harvester.tables.decode_batch import batch_decoder
from harvester.tables.merge import (
    APART_SECONDS,
    OLD_AGE,
    AccountChange,
    AccountEvidence,
    DecodedAnswer,
)
from harvester.tables.row_groups import Provenance
from tests.support.answers import (
    DAILY,
    LONG_AFTER,
    MARCH,
    answer,
    appid,
    row,
    times,
)

MONTH = month_of(MARCH)
SCHEMA = arrow_schema(DAILY)
OLD, NEW = Provenance(1_000_000, "old"), Provenance(2_000_000, "new")


def at(day: int, minute: int = 720) -> int:
    """A moment of that Beijing day, counted from the first of the month."""
    return int(instant(MARCH + day, minute))


def window(begin: int, end: int) -> Window:
    """Days of the month, counted from 0."""
    return Window(appid(1), DAILY.name, MARCH + begin, MARCH + end)


NOTHING_BESIDE = AccountEvidence()
"""What a run knows that found nothing in other tables, other days and other accounts."""


def given_answers(
    *answers: RawAnswer,
    known: AccountDays | None = None,
    evidence: AccountEvidence | None = NOTHING_BESIDE,
    dataset: Dataset = DAILY,
) -> AccountChange:
    """The change that these answers make, in this order."""
    change = AccountChange(appid(1), MONTH, known or AccountDays(), evidence=evidence)
    change.settle_by_guide()
    for each in answers:
        give(change, each, dataset)
    return change


def give(change: AccountChange, found: RawAnswer, dataset: Dataset) -> None:
    """Let an answer change what it may, as a publish does."""
    on = answered_on(dataset, MONTH, calendar.today(found.asked_at))
    [decoded] = batch_decoder(dataset)([(found, NEW)])
    if accepted := change.accepted_days(found):
        change.apply(accepted, DecodedAnswer(found, decoded, NEW, on))


def run_by_run(*answers: RawAnswer, known: AccountDays | None = None) -> AccountDays:
    """The coverage after these answers, each of a run of its own."""
    for each in answers:
        known = given_answers(each, known=known).known
    return known or AccountDays()


def numbers(change: AccountChange) -> dict[int, int]:
    """The first metric of each replaced day, counted from 0."""
    return {
        day - MARCH: new.batch.column("callback_count")[new.offset].as_py()
        for day, new in change.rows.items()
    }


def test_settled_days_become_final() -> None:
    """An answer with rows settles days older than the settling time; newer ones wait."""
    change = given_answers(answer(window(0, 5), [row(MARCH + d) for d in range(6)], at(6)))
    assert change.known == AccountDays(
        final=0b000111,
        provisional=0b111000,
        with_rows=0b111111,
        count_1=0b111111,
        asked=dict.fromkeys((3, 4, 5), times(at(6))),
    )


def test_one_empty_answer_settles_no_day() -> None:
    """Nor do two before the last age; what a day rests on is asked in 28 days."""
    change = given_answers(answer(window(0, 5), [], at(6)), answer(window(0, 5), [], at(9)))
    assert (change.known.final, change.known.provisional) == (0, 0b111111)
    assert change.known.asked == dict.fromkeys(range(6), AskTimes(at(6), at(9), at(6)))
    assert change.known.with_rows == 0
    assert not change.rows
    first, last = answer(window(0, 5), [], at(6)), answer(window(0, 5), [], at(34))
    assert run_by_run(first, answer(window(0, 5), [], at(33))).final == 0
    assert run_by_run(first, last) == AccountDays(final=0b111111)


def test_two_answers_of_one_night_are_one() -> None:
    """They must be of different Beijing days, and six hours apart, whatever the ages are."""
    hasty = replace(DAILY, refresh=Refresh(empty=(1,)))
    first = answer(window(0, 0), [], at(6, 23 * 60))
    for minutes, is_final in ((1, False), (5 * 60 - 1, False), (5 * 60, True)):
        second = answer(window(0, 0), [], at(7, minutes))
        known = given_answers(first, second, dataset=hasty).known
        assert (known.final, known.provisional) == ((1, 0) if is_final else (0, 1))
    same_day = answer(window(0, 0), [], at(6, 1)), answer(window(0, 0), [], at(6, 23 * 60))
    assert given_answers(*same_day, dataset=hasty).known.final == 0


def test_a_recovered_answer_settles_no_empty_day() -> None:
    """It is the first of two answers at best: nothing is known beside it."""
    first, last = (answer(window(0, 5), [], at(age)) for age in (6, 34))
    known = given_answers(last, known=given_answers(first).known, evidence=None).known
    assert (known.final, known.provisional) == (0, 0b111111)
    assert known.asked == dict.fromkeys(range(6), AskTimes(at(6), at(34), at(6)))


def test_an_unknown_first_time_is_that_of_the_next_answer() -> None:
    """A wrong clock told it, and as a time long ago it would settle an empty day at once."""
    known = AccountDays(provisional=1, asked={0: AskTimes(0, 0)})
    change = given_answers(answer(window(0, 0), [], at(3)), known=known)
    assert change.known.asked == {0: times(at(3))}


def test_rows_of_a_later_day_settle_no_empty_one() -> None:
    """Nor did they before: WeChat fills days after newer ones."""
    rows = answer(window(2, 4), [row(MARCH + 4)], at(10))
    known = run_by_run(rows, rows._replace(asked_at=at(20)))
    assert (known.final, known.provisional) == (0b10000, 0b01100)


OLD_TWO = AccountDays(provisional=0b111, asked={OLD_DAYS: AskTimes(at(40), at(40, 730))})
"""Three old days that were asked twice on one Beijing day."""


def test_old_days_are_final_when_they_were_empty_on_two_days() -> None:
    """They have one time together; a second answer on the same Beijing day settles none of them."""
    first, again = answer(window(0, 2), [], at(40)), answer(window(0, 2), [], at(40, 730))
    assert given_answers(first, again).known == OLD_TWO
    change = given_answers(answer(window(1, 1), [], at(41)), known=deepcopy(OLD_TWO))
    assert (change.known.final, change.known.again, change.known.once) == (0b010, 0b010, 0b101)
    assert OLD_DAYS in change.known.asked
    change = given_answers(answer(window(0, 2), [row(MARCH + 1)], at(41)), known=deepcopy(OLD_TWO))
    assert change.known == AccountDays(
        final=0b101,
        provisional=0b010,
        with_rows=0b010,
        again=0b111,
        late=0b010,
        count_1=0b010,
        asked={1: AskTimes(at(40), at(41), at(41))},
    )


@pytest.mark.parametrize(
    "evidence",
    [
        AccountEvidence(is_unknown=True),
        AccountEvidence(contradicted=day_range(MARCH, MARCH + 2)),
        AccountEvidence(moments=frozenset({MARCH + 40})),
    ],
)
def test_old_days_wait_for_their_last_age(evidence: AccountEvidence) -> None:
    """If the account has no row, the guide has some, or WeChat was silent when it was asked."""
    second, last = answer(window(0, 2), [], at(41)), answer(window(0, 2), [], at(69))
    known = given_answers(second, known=deepcopy(OLD_TWO), evidence=evidence).known
    assert (known.final, known.provisional, known.again) == (0, 0b111, 0b111)
    # The answer of a silent moment is not the first of the two.
    first = at(41) if evidence.moments else at(40)
    assert known.asked == dict.fromkeys(range(3), AskTimes(first, at(41), at(41)))
    known = given_answers(last, known=known, evidence=evidence).known
    assert known.final == 0b111
    assert bool(known.contradicted) is bool(evidence.contradicted)


def test_late_rows_are_open_for_their_ages() -> None:
    """From the answer that brought them, and anew from each that changes them, but not for ever."""
    empty, filled = answer(window(0, 0), [], at(10)), answer(window(0, 0), [row(MARCH)], at(12))
    change = given_answers(filled, known=run_by_run(empty))
    change.record_news()
    late = change.known
    assert late == AccountDays(
        provisional=1, with_rows=1, late=1, count_1=1, asked={0: AskTimes(at(10), at(12), at(12))}
    )
    assert run_by_run(filled._replace(asked_at=at(18)), known=deepcopy(late)).final == 0
    assert run_by_run(filled._replace(asked_at=at(19)), known=deepcopy(late)).final == 1
    known = late
    # At 35 days they end: 28 of the empty day, 7 of its rows.
    for day in range(13, 46):
        news = answer(window(0, 0), [row(MARCH, number=day)], at(day))
        change = given_answers(news, known=known)
        change.record_news()
        known = change.known
        assert bool(known.final) is (day == 45)


def test_rows_of_a_final_empty_day_are_published() -> None:
    """The day is provisional then, whatever it rested on; another empty answer changes nothing."""
    for known in (AccountDays(1), AccountDays(1, guide=1), AccountDays(1, contradicted=1)):
        again = answer(window(0, 0), [], at(50))
        assert run_by_run(again, known=deepcopy(known)) == known
        change = given_answers(answer(window(0, 0), [row(MARCH, number=3)], at(50)), known=known)
        assert numbers(change) == {0: 3}
        assert change.known == AccountDays(
            provisional=1, with_rows=1, late=1, count_1=1, asked={0: times(at(50))}
        )


def test_a_silent_guide_settles_days_that_were_asked_once() -> None:
    """Its rows open them again, and the next answer is their first one then."""
    asked = run_by_run(answer(window(0, 2), [row(MARCH + 2)], at(10)))
    silent = AccountEvidence(silent=day_range(MARCH, MARCH + 4))
    known = given_answers(known=deepcopy(asked), evidence=silent).known
    assert (known.final, known.guide, known.provisional, known.asked) == (0b111, 0b011, 0, {})
    active = AccountEvidence(contradicted=day_range(MARCH + 1, MARCH + 2))
    known = given_answers(known=known, evidence=active).known
    assert (known.final, known.guide, known.provisional) == (0b101, 0b001, 0b010)
    assert known.asked == {1: AskTimes(0, 0)}
    known = run_by_run(answer(window(0, 2), [], at(40)), known=known)
    assert (known.final, known.asked) == (0b101, {1: times(at(40))})


def test_counts_are_of_the_rows_that_stand() -> None:
    """A day has the mark of a column if a row of it is above 0."""
    rows = [row(MARCH, number=0), row(MARCH + 1, number=2), row(MARCH + 2, callback_count=None)]
    known = run_by_run(answer(window(0, 2), rows, at(2)))
    assert known.count_1 == 0b010
    rows = [row(MARCH, number=1), row(MARCH + 1, number=0)]
    assert run_by_run(answer(window(0, 1), rows, at(3)), known=known).count_1 == 0b001


class Told(NamedTuple):
    """What an answer about the day says, and the hours since the answer before."""

    hours: int
    content: Literal["empty", "rows", "delayed", "bad"]

    def answer(self, at: int) -> RawAnswer:
        """Return it, as asked at a moment."""
        rows = {"rows": [row(MARCH)], "bad": [row(MARCH, number=-1)]}.get(self.content, [])
        found = answer(window(0, 0), rows, at)
        late = b'{"list":[],"is_delay":true}'
        return found._replace(body=late) if self.content == "delayed" else found


HOURS = st.sampled_from([0, 1, 5, 6, 7, 23, 24, 25, 24 * 7, 24 * 27, 24 * 28, 24 * 29])
CONTENTS = st.sampled_from(["empty"] * 6 + ["rows", "delayed", "bad"])
TOLD = st.lists(st.builds(Told, HOURS, CONTENTS), min_size=1, max_size=9)
EMPTY_AGES = st.sampled_from([(1,), (1, 3), DAILY.refresh.empty])


@given(
    told=TOLD,
    ages=EMPTY_AGES,
    age=st.sampled_from([1, 40]),
    is_unknown=st.booleans(),
    is_one_run=st.booleans(),
)
def test_no_empty_day_is_final_by_one_answer(
    told: list[Told], ages: tuple[int, ...], age: int, *, is_unknown: bool, is_one_run: bool
) -> None:
    """Whatever came in between: another Beijing day, six hours before, and the last age over."""
    dataset = replace(DAILY, may_be_delayed=True, refresh=Refresh(empty=ages))
    evidence = AccountEvidence(is_unknown=is_unknown)
    at, known, empty = int(instant(MARCH + age, 60)), AccountDays(), list[int]()
    change = AccountChange(appid(1), MONTH, known, evidence=evidence)
    for each in told:
        at += each.hours * 3600
        if not is_one_run:
            change = AccountChange(appid(1), MONTH, known, evidence=evidence)
        give(change, each.answer(at), dataset)
        known = change.known
        if each.content in ("empty", "delayed"):
            empty.append(at)
        if known.final and not known.with_rows:
            assert each.content == "empty"
            waited = 0 if age > OLD_AGE and not is_unknown else ages[-1]
            assert any(
                at - first >= APART_SECONDS
                and calendar.today(at) > calendar.today(first)
                and calendar.today(at) - calendar.today(first) >= waited
                for first in empty
            )
            break


@given(TOLD, st.integers(0, 1))
def test_a_final_day_with_rows_stays(told: list[Told], late: int) -> None:
    """No answer about it changes its state or its rows, unless the user has asked for it."""
    settled = AccountDays(final=1, with_rows=1, count_1=1, late=late)
    at, known = int(instant(MARCH + 40)), deepcopy(settled)
    for each in told:
        at += each.hours * 3600
        change = given_answers(each.answer(at), known=known)
        known = change.known
        assert (known, change.rows, change.rejected) == (settled, {}, {})


def test_the_newest_answer_wins() -> None:
    """Of two answers for a provisional day the one asked for later counts, whichever came first."""
    first = answer(window(5, 5), [row(MARCH + 5, number=1)], at(6, 600))
    second = answer(window(5, 5), [row(MARCH + 5, number=2)], at(6, 601))
    assert numbers(given_answers(first, second)) == {5: 2}
    assert numbers(given_answers(second, first)) == {5: 2}


def test_a_final_day_stands() -> None:
    """A final day is replaced only by an answer a user asked for."""
    known = AccountDays(final=0b11, with_rows=0b11)
    plain = answer(window(0, 2), [row(MARCH + d, number=9) for d in range(3)])
    assert numbers(given_answers(plain, known=known)) == {2: 9}
    known = AccountDays(final=0b11, with_rows=0b11)
    known_too = AccountDays(final=0b11, with_rows=0b11)
    assert numbers(given_answers(plain._replace(refetch=0b010), known=known_too)) == {1: 9, 2: 9}
    assert numbers(given_answers(plain._replace(refetch=0b111), known=known)) == {0: 9, 1: 9, 2: 9}


def test_an_empty_answer_removes_nothing() -> None:
    """Rows stay when a later answer is empty, and so does what was final."""
    first = answer(window(0, 5), [row(MARCH + d) for d in range(6)], at(6))
    change = given_answers(first, answer(window(0, 5), [], at(7), refetch=-1))
    assert set(numbers(change)) == set(range(6))
    assert change.known.with_rows == 0b111111
    assert (change.known.final, change.known.provisional) == (0b000111, 0b111000)


def test_an_empty_answer_settles_no_preliminary_rows() -> None:
    """Rows that were still open stay open, whatever their age, until rows confirm them."""
    first = answer(window(5, 5), [row(MARCH + 5, number=1)], at(6))
    empty = answer(window(5, 5), [], at(9))
    change = given_answers(first, empty)
    assert change.known == AccountDays(
        provisional=1 << 5,
        with_rows=1 << 5,
        count_1=1 << 5,
        asked={5: AskTimes(at(6), at(9), at(6))},
    )
    assert numbers(change) == {5: 1}
    last = answer(window(5, 5), [row(MARCH + 5, number=2)], at(10))
    change = given_answers(first, empty, last)
    assert change.known == AccountDays(final=1 << 5, with_rows=1 << 5, count_1=1 << 5)
    assert numbers(change) == {5: 2}


def test_a_bad_answer_keeps_what_is_known() -> None:
    """A quarantined answer sets its mark and changes nothing else."""
    known = AccountDays(provisional=1, with_rows=1, asked={0: times(at(1))})
    bad = answer(window(0, 1), [row(MARCH, number=-1), row(MARCH + 1)], at(2))
    change = given_answers(bad, known=known)
    assert change.known == AccountDays(
        0, 0b11, 0b01, 0b11, count_1=0b10, asked={0: times(at(1)), 1: times(at(2))}
    )
    assert list(change.rejected) == [MARCH]
    assert change.rejected[MARCH].answer == bad
    assert list(change.rows) == [MARCH + 1]


def test_a_good_answer_ends_the_quarantine() -> None:
    """A good answer takes a day out of quarantine, in the same publication or later."""
    bad = answer(window(0, 0), [row(MARCH, number=-1)], at(10, 1))
    good = answer(window(0, 0), [row(MARCH, number=7)], at(10, 2))
    for change in (given_answers(bad, good), given_answers(good, known=given_answers(bad).known)):
        assert change.known == AccountDays(final=1, with_rows=1, count_1=1)
        assert not change.rejected
        assert numbers(change) == {0: 7}


def test_other_months_are_left_alone() -> None:
    """A window over the end of a month changes each month in its own days only."""
    begin = parse_day("2024-02-28")
    long = Window(appid(1), DAILY.name, begin, begin + 29)
    change = given_answers(answer(long, [row(begin + d) for d in range(30)]))
    assert change.known.final == 2**28 - 1
    assert min(change.rows) == MARCH
    april = AccountChange(appid(1), MONTH + 1, AccountDays())
    assert not april.accepted_days(answer(long, []))


# What stands in a file and what changes, as plain values: (account, day) to number.
Model = dict[tuple[int, int], int]
CELLS = st.dictionaries(st.tuples(st.integers(0, 5), st.integers(0, 30)), st.integers(0, 99))


def in_arrow(model: Model, stamp: Provenance) -> pa.RecordBatch:
    """Rows as a file has them, with two rows for every odd number."""
    wide = [(key, value) for key, value in sorted(model.items()) for _ in range(1 + value % 2)]
    columns: list[list[Any]] = [
        [appid(account) for (account, _), _ in wide],
        [MARCH + day for (_, day), _ in wide],
        *([value for _, value in wide] for _ in range(4)),
        [stamp.fetched_at] * len(wide),
        [stamp.run_id] * len(wide),
        [None] * len(wide),
    ]
    arrays = [pa.array(column, kind) for column, kind in zip(columns, SCHEMA.types, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


def changes_of(model: Model) -> list[AccountChange]:
    """The same as changes, account by account."""
    changes: dict[int, AccountChange] = {}
    for (account, day), value in sorted(model.items()):
        change = changes.setdefault(account, AccountChange(appid(account), MONTH, AccountDays()))
        change.rows[MARCH + day] = Slice(in_arrow({(account, day): value}, NEW), 0, 1 + value % 2)
    return list(changes.values())


@given(CELLS, CELLS, st.integers(1, 40), st.integers(1, 40))
def test_merged_equals_sorting_everything(
    old: Model, new: Model, batch_rows: int, group_rows: int
) -> None:
    """Any old file with any changes gives what reading all of it and sorting would give."""
    whole = in_arrow(old, OLD)
    batches = [whole.slice(i, batch_rows) for i in range(0, len(whole), batch_rows)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_groups, "ROW_GROUP_ROWS", group_rows)
        tables = list(merge.merged(DAILY, batches, changes_of(new)))
    assert all(len(table) == group_rows for table in tables[:-1])
    assert all(tables)
    kept = in_arrow({key: value for key, value in old.items() if key not in new}, OLD)
    expected = pa.Table.from_batches([kept, in_arrow(new, NEW)]).sort_by(
        [("appid", "ascending"), ("ref_date", "ascending")]
    )
    got = pa.concat_tables(tables) if tables else SCHEMA.empty_table()
    assert got.to_pylist() == expected.to_pylist()
    assert got.schema == SCHEMA


def test_days_of_one_answer_stay_together() -> None:
    """A long window's days, of which some are replaced by a later answer, keep their own rows."""
    long = answer(window(0, 9), [row(MARCH + d, number=d) for d in range(10)], LONG_AFTER - 9)
    short = answer(window(4, 4), [row(MARCH + 4, number=44)], LONG_AFTER, refetch=-1)
    tables = list(merge.merged(DAILY, [], [given_answers(long, short)]))
    expected = [0, 1, 2, 3, 44, 5, 6, 7, 8, 9]
    assert tables[0].column("callback_count").to_pylist() == expected


def test_nulls_stay_null() -> None:
    """A metric without a value is null in the file, beside others that have one."""
    cell = answer(window(0, 1), [row(MARCH, fail_count=None), row(MARCH + 1, number=2)])
    table = next(merge.merged(DAILY, [], [given_answers(cell)]))
    assert table.column("fail_count").to_pylist() == [None, 2]


def test_unsorted_rows_are_refused() -> None:
    """A file whose rows are not sorted is not merged, because its rows could be doubled."""
    one, two = (in_arrow({(account, 0): 2}, OLD) for account in (1, 2))
    with pytest.raises(StoreError, match="not sorted"):
        list(merge.merged(DAILY, [two, one], []))
    joined = pa.concat_batches([two, one])
    with pytest.raises(StoreError, match="not sorted"):
        list(merge.merged(DAILY, [joined], []))

from __future__ import annotations

from copy import deepcopy
from typing import Any

import hypothesis.strategies as st
import pyarrow as pa
import pytest
from hypothesis import given

from harvester.core import calendar
from harvester.core.calendar import instant, month_of, parse_day
from harvester.core.errors import StoreError
from harvester.core.model import RawAnswer, Window
from harvester.storage.publish import answered_on
from harvester.tables import merge, row_groups
from harvester.tables.columns import Slice, arrow_schema
from harvester.tables.coverage import OLD_DAYS, AccountDays, AskTimes
from harvester.tables.decode_batch import batch_decoder
from harvester.tables.merge import AccountChange, DecodedAnswer, EmptyAnswer
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


def given_answers(*answers: RawAnswer, known: AccountDays | None = None) -> AccountChange:
    """The change that these answers make, in this order."""
    change = AccountChange(appid(1), MONTH, known or AccountDays())
    for each in answers:
        accepted = change.accepted_days(each)
        on = answered_on(DAILY, MONTH, calendar.today(each.asked_at))
        [decoded] = batch_decoder(DAILY)([(each, NEW)])
        change.apply(accepted, DecodedAnswer(each, decoded, NEW, on))
    return change


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
        asked=dict.fromkeys((3, 4, 5), times(at(6))),
    )


def test_an_empty_answer_settles_no_day() -> None:
    """Days without rows stay provisional, whatever their age, until evidence settles them."""
    change = given_answers(answer(window(0, 5), [], at(6)), answer(window(0, 5), [], at(9)))
    assert (change.known.final, change.known.provisional) == (0, 0b111111)
    assert change.known.asked == dict.fromkeys(range(6), AskTimes(at(6), at(9), at(6)))
    assert change.empty == dict.fromkeys(range(6), EmptyAnswer(at(9), MARCH + 9, False))
    assert change.known.with_rows == 0
    assert not change.rows


def test_an_unknown_first_time_is_that_of_the_next_answer() -> None:
    """A wrong clock told it, and as a time long ago it would settle an empty day at once."""
    known = AccountDays(provisional=1, asked={0: AskTimes(0, 0)})
    change = given_answers(answer(window(0, 0), [], at(3)), known=known)
    assert change.known.asked == {0: times(at(3))}


def test_rows_of_a_later_day_are_evidence_if_they_came_no_later() -> None:
    """An answer that gave a later day rows speaks for an empty one of the same time or later."""
    rows = answer(window(4, 4), [row(MARCH + 4)], at(6, 601))
    early, late = (answer(window(2, 2), [], at(6, minute)) for minute in (600, 601))
    assert not given_answers(early, rows).empty[2].is_followed
    assert given_answers(rows, late).empty[2].is_followed
    assert not given_answers(rows, answer(window(5, 5), [], at(7))).empty[5].is_followed


def test_old_days_are_final_when_they_were_empty_on_two_days() -> None:
    """They have one time together; a second answer on the same Beijing day settles none of them."""
    first, again = answer(window(0, 2), [], at(40)), answer(window(0, 2), [], at(40, 730))
    once = given_answers(first, again).known
    assert once == AccountDays(provisional=0b111, asked={OLD_DAYS: AskTimes(at(40), at(40, 730))})
    change = given_answers(answer(window(1, 1), [], at(41)), known=deepcopy(once))
    assert (change.known.final, change.known.again, change.known.once) == (0b010, 0b010, 0b101)
    assert OLD_DAYS in change.known.asked
    change = given_answers(answer(window(0, 2), [row(MARCH + 1)], at(41)), known=deepcopy(once))
    assert change.known == AccountDays(final=0b111, with_rows=0b010, again=0b111)


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
    assert not change.empty
    assert (change.known.final, change.known.provisional) == (0b000111, 0b111000)


def test_an_empty_answer_settles_no_preliminary_rows() -> None:
    """Rows that were still open stay open, whatever their age, until rows confirm them."""
    first = answer(window(5, 5), [row(MARCH + 5, number=1)], at(6))
    empty = answer(window(5, 5), [], at(9))
    change = given_answers(first, empty)
    assert change.known == AccountDays(
        provisional=1 << 5, with_rows=1 << 5, asked={5: AskTimes(at(6), at(9), at(6))}
    )
    assert numbers(change) == {5: 1}
    last = answer(window(5, 5), [row(MARCH + 5, number=2)], at(10))
    change = given_answers(first, empty, last)
    assert change.known == AccountDays(final=1 << 5, with_rows=1 << 5)
    assert numbers(change) == {5: 2}


def test_a_bad_answer_keeps_what_is_known() -> None:
    """A quarantined answer sets its mark and changes nothing else."""
    known = AccountDays(provisional=1, with_rows=1, asked={0: times(at(1))})
    bad = answer(window(0, 1), [row(MARCH, number=-1), row(MARCH + 1)], at(2))
    change = given_answers(bad, known=known)
    assert change.known == AccountDays(
        0, 0b11, 0b01, 0b11, asked={0: times(at(1)), 1: times(at(2))}
    )
    assert list(change.rejected) == [MARCH]
    assert change.rejected[MARCH].answer == bad
    assert list(change.rows) == [MARCH + 1]


def test_a_good_answer_ends_the_quarantine() -> None:
    """A good answer takes a day out of quarantine, in the same publication or later."""
    bad = answer(window(0, 0), [row(MARCH, number=-1)], at(10, 1))
    good = answer(window(0, 0), [row(MARCH, number=7)], at(10, 2))
    for change in (given_answers(bad, good), given_answers(good, known=given_answers(bad).known)):
        assert change.known == AccountDays(final=1, with_rows=1)
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
        tables = list(merge.merged(SCHEMA, batches, changes_of(new)))
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
    tables = list(merge.merged(SCHEMA, [], [given_answers(long, short)]))
    expected = [0, 1, 2, 3, 44, 5, 6, 7, 8, 9]
    assert tables[0].column("callback_count").to_pylist() == expected


def test_nulls_stay_null() -> None:
    """A metric without a value is null in the file, beside others that have one."""
    cell = answer(window(0, 1), [row(MARCH, fail_count=None), row(MARCH + 1, number=2)])
    table = next(merge.merged(SCHEMA, [], [given_answers(cell)]))
    assert table.column("fail_count").to_pylist() == [None, 2]


def test_unsorted_rows_are_refused() -> None:
    """A file whose rows are not sorted is not merged, because its rows could be doubled."""
    one, two = (in_arrow({(account, 0): 2}, OLD) for account in (1, 2))
    with pytest.raises(StoreError, match="not sorted"):
        list(merge.merged(SCHEMA, [two, one], []))
    joined = pa.concat_batches([two, one])
    with pytest.raises(StoreError, match="not sorted"):
        list(merge.merged(SCHEMA, [joined], []))

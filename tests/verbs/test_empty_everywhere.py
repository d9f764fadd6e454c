"""A day that is empty for all accounts: the codes of run and gate, and when to run again."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from harvester.core.calendar import (
    Day,
    date_of,
    day_of,
    day_text,
    instant,
    parse_day,
    utc_text,
)
from harvester.core.exit_codes import Exit
from harvester.runs.record.notes import notes_of
from harvester.runs.record.record import Record
from harvester.runs.record.run_record import as_record
from harvester.storage.empty_everywhere import EmptyEverywhere
from harvester.verbs import status
from harvester.verbs.gate import Gate, Required
from tests.support.faulty_wechat import Outage
from tests.support.run_harness import (
    DAILY,
    HOURLY,
    RunHarness,
    days_between,
    expected,
    published_rows,
)

SILENT = parse_day("2026-05-19")
NOON = 12 * 60
WEEKLY = "upstream_msg_dist_week"
MESSAGES = "upstream_msg"
FOLLOWERS = "user_cumulate"


def lab_of(
    root: Path,
    datasets: tuple[str, ...],
    *,
    last: int = SILENT,
    silent: tuple[str, ...] = (HOURLY,),
) -> RunHarness:
    """Six accounts with a month, and days on which these datasets have no rows for any."""
    lab = RunHarness(root, accounts=6, begin="2026-04-20", end=None, datasets=datasets)
    lab.sandbox.add_data_fault(Outage(datasets=silent, begin=SILENT, end=last))
    return lab


def run_on(lab: RunHarness, day: int, minute: int = NOON) -> Record:
    """Execute a run at a minute of a Beijing day."""
    lab.today, lab.minute = day_text(day), minute
    return lab.run()


def gate(lab: RunHarness) -> Gate:
    """Return the answer of the gate for the newest ready day."""
    found = status.survey(lab.manifest(), lab.tree, lab.now(), Required(None)).gate
    assert found is not None
    return found


def meanings(done: Record) -> list[tuple[str, Day, Day, str]]:
    """Return what a run found to be empty everywhere."""
    return [(x.dataset, day_of(x.begin), day_of(x.end), x.meaning) for x in done.empty_everywhere]


@pytest.mark.parametrize("others", [(), (DAILY,), (FOLLOWERS,)])
def test_an_outage_is_75_on_two_days_and_then_3(
    tmp_path: Path, duck: duckdb.DuckDBPyConnection, others: tuple[str, ...]
) -> None:
    """Other datasets have rows, or there are none. Run and gate say the same until it is filled."""
    lab = lab_of(tmp_path, (HOURLY, *others))
    for age, code in ((1, Exit.AGAIN), (2, Exit.AGAIN), (3, Exit.INCOMPLETE)):
        done = run_on(lab, SILENT + age)
        assert list(done.reasons()) == ["empty_everywhere"]
        assert done.exit_code is gate(lab).exit_code is code
        assert (done.retry_at is None) is (code is Exit.INCOMPLETE)
        word = "again" if code is Exit.AGAIN else "person"
        assert meanings(done) == [(HOURLY, SILENT, SILENT, word)]
    lab.sandbox.remove_data_fault(Outage(datasets=(HOURLY,), begin=SILENT, end=SILENT))
    # Five ask at an age, and the sixth once one of them has rows.
    run_on(lab, SILENT + 4)
    done = run_on(lab, SILENT + 5)
    assert (done.exit_code, gate(lab).exit_code) == (Exit.DONE, Exit.DONE)
    assert done.empty_everywhere == ()
    days = days_between("2026-04-20", day_text(SILENT + 4))
    assert published_rows(duck, lab.root, HOURLY) == expected(HOURLY, lab.appids, days)


def test_it_is_asked_again_at_two_full_hours_and_then_at_the_ready_hour(tmp_path: Path) -> None:
    """`retry_at` names a moment at which a run asks five accounts, and no other is asked."""
    lab = lab_of(tmp_path, (HOURLY,))
    first = run_on(lab, SILENT + 1, 10 * 60 + 5)
    assert first.retry_at == instant(SILENT + 1, 11 * 60)
    for hour in (11, 12):
        done = run_on(lab, SILENT + 1, hour * 60)
        assert done.requests == 5
        later = 12 * 60 if hour == 11 else 24 * 60 + 10 * 60
        assert done.retry_at == instant(SILENT + 1, later)
    assert run_on(lab, SILENT + 1, 13 * 60).requests == 0


def test_the_second_of_two_silent_weeks_is_a_note(tmp_path: Path) -> None:
    """The holiday of a dataset of weeks goes on with the next week, and the first is final."""
    monday = parse_day("2026-05-04")
    datasets = (WEEKLY, DAILY, MESSAGES)
    lab = RunHarness(tmp_path, accounts=5, begin="2026-02-02", end=None, datasets=datasets)
    lab.sandbox.add_data_fault(Outage(begin=monday, end=monday + 13))
    first = run_on(lab, monday + 7)
    assert meanings(first)[0] == (WEEKLY, monday, monday, "again")
    second = run_on(lab, monday + 14)
    assert [found for found in meanings(second) if found[0] == WEEKLY] == [
        (WEEKLY, monday + 7, monday + 7, "note")
    ]
    assert second.exit_code is Exit.DONE


@pytest.mark.parametrize("days", [1, 3])
def test_a_holiday_is_75_on_its_first_day_and_a_note_later(tmp_path: Path, days: int) -> None:
    """Half of the other datasets have no rows of these days either, so nothing happened on them."""
    silent = (DAILY, MESSAGES)
    lab = lab_of(tmp_path, (*silent, FOLLOWERS), last=SILENT + days - 1, silent=silent)
    done = run_on(lab, SILENT + 1)
    assert (done.exit_code, list(done.reasons())) == (Exit.AGAIN, ["empty_everywhere"])
    for age in range(2, days + 2):
        done = run_on(lab, SILENT + age)
        assert (done.exit_code, gate(lab).exit_code) == (Exit.DONE, Exit.DONE)
        last = SILENT + min(age, days) - 1
        assert {*meanings(done)} == {(name, SILENT, last, "note") for name in silent}
        assert any("other datasets have none either" in note for note in notes_of(done, {}))


def test_of_a_holiday_a_silent_guide_spares_the_second_question(
    tmp_path: Path, duck: duckdb.DuckDBPyConnection
) -> None:
    """The hours are final once the days, of which they are parts, were empty on a later day."""
    lab = lab_of(tmp_path, (HOURLY, DAILY), silent=(HOURLY, DAILY))
    done = run_on(lab, SILENT + 1)
    for age, is_asked in ((2, True), (4, False)):
        lab.sandbox.reset()
        done = run_on(lab, SILENT + age)
        hours = {begin for _, dataset, begin, _ in lab.sandbox.windows if dataset == HOURLY}
        # The guide was asked by the second run, so the third one spares the hours.
        assert (SILENT in hours) is is_asked
        assert SILENT + age - 1 in hours
    assert meanings(done) == [(DAILY, SILENT, SILENT, "note")]
    glob = tmp_path / "coverage" / "*" / "*.parquet"
    of_holiday = f"'{day_text(SILENT)}' between begin_date and end_date and dataset = '{HOURLY}'"
    query = f"select appid, state, witness from read_parquet('{glob}') where {of_holiday}"
    assert sorted(duck.sql(query).fetchall()) == [(each, "final", "guide") for each in lab.appids]


def test_five_accounts_are_needed(tmp_path: Path) -> None:
    """With four accounts a run tells no such day, and asks for the empty days again."""
    lab = lab_of(tmp_path, (HOURLY,))
    lab.accounts = 4
    done = run_on(lab, SILENT + 1)
    assert (done.exit_code, done.empty_everywhere) == (Exit.DONE, ())
    assert run_on(lab, SILENT + 2).requests >= 4 + 4


def test_a_week_that_is_empty_for_all_is_filled_late(
    tmp_path: Path, duck: duckdb.DuckDBPyConnection
) -> None:
    """A window spans three weeks: the days between their Mondays are no empty periods."""
    monday = parse_day("2026-05-18")
    lab = RunHarness(tmp_path, accounts=5, begin="2026-01-05", end=None, datasets=(WEEKLY,))
    hole = Outage(datasets=(WEEKLY,), begin=monday, end=monday)
    lab.sandbox.add_data_fault(hole)
    for age in (-7, 0):
        run_on(lab, monday + age)
    for age in (7, 8, 9, 10, 14):
        done = run_on(lab, monday + age)
        assert [each.begin for each in done.empty_everywhere] == [date_of(monday)]
    lab.sandbox.remove_data_fault(hole)
    run_on(lab, monday + 21)
    done = run_on(lab, monday + 22)
    assert (done.exit_code, done.empty_everywhere) == (Exit.DONE, ())
    days = days_between("2026-01-05", day_text(monday + 15))
    assert published_rows(duck, lab.root, WEEKLY) == expected(WEEKLY, lab.appids, days)


def test_a_narrowed_run_knows_the_months_beside(tmp_path: Path) -> None:
    """Of the followers an account has a row for each day: behind its first row no gap is sure."""
    first = parse_day("2026-05-01")
    lab = RunHarness(tmp_path, accounts=1, begin="2026-04-20", end=None, datasets=(FOLLOWERS,))
    lab.sandbox.add_data_fault(Outage(datasets=(FOLLOWERS,), begin=first, end=first))
    run_on(lab, first + 5)
    lab.begin = day_text(first)
    run_on(lab, first + 6)
    lab.begin = "2026-04-20"
    [found] = status.survey(lab.manifest(), lab.tree, lab.now(), None).suspicious
    assert (found.datasets, found.days) == ((FOLLOWERS,), 1)


def test_an_old_gap_of_followers_ends_contradicted(
    tmp_path: Path, duck: duckdb.DuckDBPyConnection
) -> None:
    """After its last age: an account has a row for each day behind its first one."""
    first, last = parse_day("2026-03-10"), parse_day("2026-03-12")
    lab = RunHarness(tmp_path, accounts=1, datasets=(FOLLOWERS, DAILY))
    lab.sandbox.add_data_fault(Outage(begin=first, end=last))
    # The other dataset asks once more, for its stretch.
    for age, requests in ((1, 2), (2, 1), (3, 1), (6, 0), (7, 1), (14, 1), (28, 1), (29, 0)):
        if age == 1:
            run_on(lab, SILENT)
        done = run_on(lab, SILENT + age)
        assert (done.exit_code, done.requests) == (Exit.DONE, requests)
    [found] = status.survey(lab.manifest(), lab.tree, lab.now(), None).suspicious
    assert (found.datasets, found.days) == ((FOLLOWERS,), 3)
    glob = tmp_path / "coverage" / "*" / "*.parquet"
    empty = f"select dataset, state, witness from read_parquet('{glob}') where not has_rows"
    assert sorted(duck.sql(empty).fetchall()) == [
        (DAILY, "final", "two_answers"),
        (FOLLOWERS, "final", "contradicted"),
    ]


def test_the_record_has_days_and_moments_as_text(tmp_path: Path) -> None:
    """As `status` and its gate have them."""
    lab = lab_of(tmp_path, (HOURLY,))
    done = run_on(lab, SILENT + 1)
    [found] = as_record(done)["empty_everywhere"]
    told = status.survey(lab.manifest(), lab.tree, lab.now(), Required()).to_dict()
    assert told["empty_everywhere"] == told["gate"]["empty_everywhere"] == [found]
    [days] = done.empty_everywhere
    assert found == {
        "dataset": HOURLY,
        "begin_date": "2026-05-19",
        "end_date": "2026-05-19",
        "accounts": 6,
        "since": utc_text(days.since),
        "meaning": "again",
        "retry_at": utc_text(instant(SILENT + 1, 13 * 60)),
    }
    assert days.text == "no rows of 2026-05-19 for nearly all accounts: 6 wait for them"
    assert isinstance(days, EmptyEverywhere)

"""A month that windows only reach into is written for news, and otherwise once a week."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import duckdb
import pytest

from harvester.core import calendar
from harvester.core.calendar import NO_DAYS, Day, DaySet, day_range, parse_day
from harvester.core.exit_codes import Exit
from harvester.core.model import Window
from harvester.engine.taken_along import idle_months
from harvester.runs.record.record import Record
from harvester.sandbox.data import Row, expected_rows
from harvester.scheduling.account_queue import AccountQueue, Attempt, Backlog
from harvester.storage.raw_log import write_group
from harvester.tables.evidence import Evidence, History
from tests.support.answers import DAILY, answer, appid, row
from tests.support.fake_time import VirtualTimeHarness, in_virtual_time
from tests.support.output_helpers import tree_at
from tests.support.run_harness import days_between, expected, published_rows

APRIL = parse_day("2026-04-01")
MARCH = APRIL - 31
FEBRUARY = MARCH - 28
SUNDAY = parse_day("2026-04-05")
FIRST_OF_APRIL = calendar.one_day(APRIL)
ALL_OF_MARCH = day_range(MARCH, APRIL - 1)


@dataclass
class Answered:
    """A window up to the first of April, what it owes, and the rows of its answer."""

    due: DaySet = FIRST_OF_APRIL
    rows: tuple[Day, ...] = (APRIL - 1, APRIL)
    begin: Day = MARCH + 2
    with_rows: DaySet = ALL_OF_MARCH
    today: Day = SUNDAY

    def idle(self, tmp_path: Path) -> set[str]:
        """Return the idle months of a group with this answer."""
        window = Window(appid(1), DAILY.name, self.begin, APRIL)
        backlog = Backlog(DAILY, self.due)
        attempt = Attempt(AccountQueue(appid(1), 0, [backlog]), backlog, window, self.due)
        found = answer(window, map(row, self.rows))
        group = write_group(tree_at(tmp_path), 0, "run", [found])
        histories = {appid(1): History(day_range(FEBRUARY, APRIL), self.with_rows)}
        evidence = Evidence(DAILY, calendar.instant(self.today), histories, {})
        idle = idle_months(group, [(attempt, found)], {DAILY.name: evidence}, self.today)
        return {calendar.month_text(month) for _, month in idle}


@pytest.mark.parametrize(
    ("answered", "months"),
    [
        pytest.param(Answered(), {"2026-03"}, id="known rows"),
        pytest.param(Answered(due=day_range(APRIL - 1, APRIL)), set(), id="a day of it is due"),
        pytest.param(Answered(with_rows=ALL_OF_MARCH >> 1), set(), id="a row of an empty day"),
        pytest.param(Answered(rows=(APRIL,), with_rows=NO_DAYS), {"2026-03"}, id="empty as before"),
        pytest.param(Answered(begin=MARCH - 1), {"2026-02", "2026-03"}, id="two months"),
        pytest.param(
            Answered(begin=MARCH - 1, rows=(MARCH - 1, APRIL)), {"2026-03"}, id="news of the older"
        ),
        pytest.param(Answered(today=SUNDAY + 4), set(), id="the weekday of the bucket"),
    ],
)
def test_a_month_is_idle_without_a_due_day_and_without_news(
    tmp_path: Path, answered: Answered, months: set[str]
) -> None:
    """A day that had no rows and has some now is news, and one that is due needs its month."""
    assert answered.idle(tmp_path) == months


class Mornings(VirtualTimeHarness):
    """Two accounts that are asked for the newest days each morning."""

    def morning(self, date: str) -> list[str]:
        """Run at noon; return the months of the files that were written."""
        day = parse_day(date)
        self.sleep_until(day, 12 * 60)
        self.end = calendar.day_text(day - 1)
        done: Record = self.run()
        assert done.exit_code is Exit.DONE
        return [each.ref_month for each in done.published]


def test_the_month_before_is_written_once_a_week(
    tmp_path: Path, duck: duckdb.DuckDBPyConnection
) -> None:
    """Settled days that are taken along cost no write. The ninth is the weekday of the bucket."""
    lab = Mornings(tmp_path, accounts=2, begin="2026-03-20")
    lab.datasets = (DAILY.name,)
    with in_virtual_time(lab):
        for day in range(1, 5):
            assert "2026-03" in lab.morning(f"2026-04-{day:02d}")
        for day in (5, 6, 7, 8):
            assert lab.morning(f"2026-04-{day:02d}") == ["2026-04"]
        assert sorted(lab.morning("2026-04-09")) == ["2026-03", "2026-04"]
        assert lab.morning("2026-04-10") == ["2026-04"]
        calls = lab.calls_of_day(parse_day("2026-04-10"))
    assert calls == {(name, DAILY.path): 1 for name in lab.appids}
    truth = expected(DAILY.name, lab.appids, days_between("2026-03-20", "2026-04-09"))
    assert published_rows(duck, lab.root, DAILY.name) == truth


def test_the_month_before_is_written_for_a_late_row(tmp_path: Path) -> None:
    """A day that was answered without rows is not due, and its rows come with a window."""
    late, filled_at = parse_day("2026-03-25"), calendar.instant(parse_day("2026-04-07"))

    def source(dataset: str, name: str, day: Day) -> list[Row]:
        is_empty = day == late and lab.now() < filled_at
        return [] if is_empty else expected_rows(dataset, name, day)

    lab = Mornings(tmp_path, accounts=2, begin="2026-03-20", source=source)
    lab.datasets = (DAILY.name,)
    with in_virtual_time(lab):
        for day in range(1, 6):
            lab.morning(f"2026-04-{day:02d}")
        assert lab.morning("2026-04-06") == ["2026-04"]
        assert sorted(lab.morning("2026-04-07")) == ["2026-03", "2026-04"]


def test_a_difference_of_the_month_before_is_settled_on_the_morning_after(
    tmp_path: Path, duck: duckdb.DuckDBPyConnection
) -> None:
    """A week later no window reaches its day any more. It costs a write, and no call."""
    corrected, begins = parse_day("2026-03-12"), calendar.instant(parse_day("2026-04-06"))

    def source(dataset: str, name: str, day: Day) -> list[Row]:
        rows = expected_rows(dataset, name, day)
        is_other = day == corrected and lab.now() > begins
        return [{**each, "callback_count": 4_711} for each in rows] if is_other else rows

    lab = Mornings(tmp_path, accounts=2, begin="2026-03-08", source=source)
    lab.datasets = (DAILY.name,)
    with in_virtual_time(lab):
        for day in (4, 5, 9):
            lab.morning(f"2026-04-{day:02d}")
        assert sorted(lab.morning("2026-04-10")) == ["2026-03", "2026-04"]
        assert lab.morning("2026-04-11") == ["2026-04"]
        calls = lab.calls_of_day(parse_day("2026-04-10"))
    assert calls == {(name, DAILY.path): 1 for name in lab.appids}
    found = published_rows(duck, lab.root, DAILY.name)
    assert sum(4_711 in row for row in found) == len(lab.appids)

"""Final days that are asked again by lot: what they cost, what is counted, and what they change."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from harvester.core.calendar import Day, day_text, each_day, parse_day
from harvester.core.exit_codes import Exit
from harvester.planning import rechecks
from harvester.runs.record.record import Record
from harvester.runs.record.run_record import as_record
from harvester.sandbox.data import Row, expected_rows
from tests.support.answers import HOURLY
from tests.support.fake_time import VirtualTimeHarness, in_virtual_time
from tests.support.run_harness import appid, published_rows

BEGIN, BEGUN, FIRST = map(parse_day, ("2026-01-01", "2026-03-01", "2026-05-20"))
"""The first wanted day, the first day with rows, and the day of the first run."""

OTHER = 4_711
"""A number that no row has at first."""


class House:
    """An account of which each morning draws a day. WeChat has other rows of the ``other`` day."""

    def __init__(self, root: Path) -> None:
        self.other: Day = 0
        self.lab = VirtualTimeHarness(
            root,
            accounts=1,
            begin=day_text(BEGIN),
            end=None,
            datasets=(HOURLY.name,),
            source=self._rows,
        )

    def _rows(self, dataset: str, account: str, day: Day) -> list[Row]:
        is_other = day == self.other
        rows = expected_rows(dataset, account, day) if day >= BEGUN or is_other else []
        return [{**row, "callback_count": OTHER} for row in rows] if is_other else rows

    def morning(self, day: Day) -> Record:
        """Run at noon of a day; it is complete."""
        self.lab.sleep_until(day, 12 * 60)
        done = self.lab.run()
        assert done.exit_code is Exit.DONE
        return done


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    """A house after two mornings that drew nothing: the days before its first row are final."""
    found = House(tmp_path)
    monkeypatch.setattr(rechecks, "MORNINGS", 1 << 40)
    with in_virtual_time(found.lab):
        found.morning(FIRST)
        found.morning(FIRST + 1)
        monkeypatch.setattr(rechecks, "MORNINGS", 1)
        monkeypatch.setattr(rechecks, "ONE_IN", 1)
        yield found


def draws(begin: Day, end: Day) -> tuple[Day, Day]:
    """Return a morning, and the day from one day to another that it draws."""
    for morning in range(FIRST + 2, FIRST + 60):
        [day] = each_day(rechecks.recheck_days(HOURLY, appid(1), morning))
        if begin <= day <= end:
            return morning, day
    raise AssertionError("no morning draws such a day")


def test_a_day_that_is_as_it_was_is_counted_and_left(house: House) -> None:
    """It is planned, beside the newest days, and a second run of the morning asks nothing."""
    morning, _ = draws(BEGUN, FIRST - 30)
    done = house.morning(morning)
    assert done.requests == done.windows == morning - (FIRST + 1) + 1
    assert as_record(done)["rechecked"] == {"rows": 1, "rows_differing": 0}
    again = house.morning(morning)
    assert (again.requests, again.rechecked) == (0, {})


def test_rows_that_differ_are_counted_and_replaced_by_the_rule_of_final_days(
    house: House, duck: duckdb.DuckDBPyConnection
) -> None:
    """One answer changes nothing; that of the next morning says the same."""
    morning, house.other = draws(BEGUN, FIRST - 30)
    found = []
    for day in (morning, morning + 1):
        done = house.morning(day)
        rows = published_rows(duck, house.lab.root, HOURLY.name)
        is_other = any(OTHER in row for row in rows)
        found.append((done.rechecked.get("rows_differing", 0), done.corrected, is_other))
    # The second morning draws another day.
    assert found == [(1, 0, False), (0, 1, True)]


def test_rows_of_an_empty_day_are_counted_by_what_it_rested_on(
    house: House, duck: duckdb.DuckDBPyConnection
) -> None:
    """They are published, as late rows are, and the stretch is asked again."""
    morning, house.other = draws(BEGIN, BEGUN - 2)
    done = house.morning(morning)
    assert done.requests > done.windows
    assert done.rechecked == {"stretch": 1, "stretch_differing": 1}
    rows = published_rows(duck, house.lab.root, HOURLY.name)
    assert any(OTHER in row for row in rows)

"""An exact guide that has rows of a day: an empty answer of its table is asked for once more."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from harvester.core.calendar import Day, parse_day
from harvester.core.config.settings import Limits, Pace
from harvester.core.model import Rate
from harvester.sandbox.data import Row, expected_rows
from tests.support.fake_time import VirtualTimeHarness, in_virtual_time

GUIDE, HOURS = "interface_summary", "interface_summary_hour"
BUSY = {parse_day(date) for date in ("2026-05-03", "2026-05-11", "2026-05-19")}
"""Days with calls: too few to let any other day tell of them."""


@dataclass
class House:
    """An account whose first answers are without rows on some days, or silent about all hours."""

    root: Path
    hushed: set[Day] = field(default_factory=set)
    is_silent: bool = False
    asked: Counter[Day] = field(default_factory=Counter)

    def run(self, *datasets: str) -> int:
        """Run at noon of the 20th; return how many questions were asked again."""
        begin, end = "2026-05-01", "2026-05-19"
        lab = VirtualTimeHarness(
            self.root, accounts=1, begin=begin, end=end, datasets=datasets, source=self._rows
        )
        # One call after the other, so that the guide's answer is there first.
        lab.limits = Limits(Pace(Rate(1_000, 0.1), burst=1, concurrency=1))
        with in_virtual_time(lab):
            return lab.run().asked_again

    def _rows(self, dataset: str, account: str, day: Day) -> list[Row]:
        if dataset == HOURS:
            self.asked[day] += 1
            if self.is_silent or (day in self.hushed and self.asked[day] == 1):
                return []
        return expected_rows(dataset, account, day) if day in BUSY else []

    def days(self) -> set[Day]:
        """The days of which the output has hours."""
        files = (self.root / HOURS).rglob("*.parquet")
        dates = {
            str(each) for file in files for each in pq.read_table(file)["ref_date"].to_pylist()
        }
        return {*map(parse_day, dates)}


@pytest.mark.parametrize("is_stored", [False, True])
def test_an_empty_answer_is_asked_once_more_if_the_guide_has_rows(
    tmp_path: Path, *, is_stored: bool
) -> None:
    """Of the same run, or in the files. Days of which it has none are asked once."""
    hushed = {parse_day("2026-05-11"), parse_day("2026-05-19")}
    house = House(tmp_path, hushed=hushed)
    if is_stored:
        assert house.run(GUIDE) == 0
    assert house.run(GUIDE, HOURS) == 2
    assert house.days() == BUSY
    assert {day for day, many in house.asked.items() if many > 1} == hushed


def test_days_that_were_empty_in_an_earlier_run_are_asked_once(tmp_path: Path) -> None:
    """Their second answer is due on a later day, and the guide said all that it knows."""
    house = House(tmp_path, is_silent=True)
    assert house.run(GUIDE, HOURS) == len(BUSY)
    many = house.asked.copy()
    assert house.run(GUIDE, HOURS) == 0
    assert house.asked == many

"""Days become final by the earlier of this machine's clock and WeChat's, and wrong clocks are told.

The server gives the rows of a day two days late and answers days to come without rows, so that a
clock that is ahead finds empty days and makes them final. For three days a clock is wrong, and a
run is made on each day up to the ninth after the first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pytest

from harvester.core import calendar
from harvester.core.calendar import instant, parse_day
from harvester.core.config.settings import Limits, Pace
from harvester.core.exit_codes import Exit
from harvester.core.model import Rate
from harvester.runs.record.record import Record
from harvester.sandbox import server_state
from harvester.sandbox.calls import date_text
from harvester.verbs import status
from harvester.verbs.gate import Gate, Required
from tests.support import fake_time
from tests.support.fake_time import Killed, VirtualTimeHarness, in_virtual_time
from tests.support.faulty_wechat import FaultyRules, Late
from tests.support.nights import by_night, few_by_day
from tests.support.run_harness import (
    DAILY,
    HOURLY,
    days_between,
    expected,
    published_rows,
)

TODAY = parse_day("2026-05-20")
DAY = 86_400.0
LATE = 2
"""Days by which rows are late: fewer than after which an empty day is final."""


@dataclass
class Dates:
    """The `Date` of answers: ``off`` seconds wrong where ``is_wrong`` says so of a number.

    Answers of a run are counted from 0.
    """

    off: float = 0.0
    is_wrong: Callable[[int], bool] = lambda _: False
    count: int = 0

    def __call__(self, now: float) -> str:
        """Return the header of the next answer."""
        self.count += 1
        return date_text(now + (self.off if self.is_wrong(self.count - 1) else 0.0))


@dataclass
class Lab:
    """Two accounts with fifteen days, and what a machine and a server make of the time."""

    harness: VirtualTimeHarness
    dates: Dates
    duck: duckdb.DuckDBPyConnection

    def run(self, **options: float) -> Record:
        """Execute a run."""
        self.dates.count = 0
        return self.harness.run(**options)  # type: ignore[arg-type]

    def next_day(self) -> None:
        """Go to noon of the next day."""
        self.harness.sleep_until(calendar.today(self.harness.now()) + 1, 12 * 60)

    def gate(self, day: str | None = None) -> Gate:
        """Return the answer of a gate on this machine."""
        clock, here = self.harness.clock(), self.harness
        required = Required(None if day is None else parse_day(day), at=clock.moment())
        found = status.survey(here.manifest(), here.tree, clock(), required).gate
        assert found is not None
        return found

    def has_all(self) -> bool:
        """Return whether the files have every row that the server gives at this moment."""
        last = calendar.day_text(calendar.today(self.harness.now()) - 1 - LATE)
        days = days_between(self.harness.begin, last)
        return all(
            published_rows(self.duck, self.harness.root, dataset)
            == expected(dataset, self.harness.appids, days)
            for dataset in self.harness.datasets
        )


@pytest.fixture
def lab(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, duck: duckdb.DuckDBPyConnection
) -> Iterator[Lab]:
    """Prepare the lab with clocks that are right."""
    rules, dates = FaultyRules(data_faults=(Late(days=LATE),)), Dates()
    harness = VirtualTimeHarness(
        tmp_path, accounts=2, begin="2026-05-06", end=None, datasets=(DAILY, HOURLY), rules=rules
    )
    harness.limits = Limits(Pace(Rate(10, 1.0), 1, concurrency=2))
    monkeypatch.setattr(fake_time, "date_text", dates)
    # Days to come are answered like days without rows.
    monkeypatch.setattr(server_state, "today", lambda now: calendar.today(now) + 1000)
    with in_virtual_time(harness):
        yield Lab(harness, dates, duck)


PATTERNS: dict[str, Callable[[int], bool]] = {
    "all": lambda _: True,
    "one of two": lambda number: number % 2 == 0,
    "the other of two": lambda number: number % 2 == 1,
    "the first three": lambda number: number < 3,
    "the first": lambda number: number < 1,
}
OFF = [5, -5, 40, -40, -400]
SKEWS = [0.0, -2 * DAY, 2 * DAY, -instant(TODAY, 12 * 60)]
"""Seconds by which the machine's clock is ahead; the last one is in 1970."""

TABLE = [
    (pattern, days, skew)
    for pattern in PATTERNS
    for days in OFF
    for skew in SKEWS
    # Two that are wrong in one direction leave nothing to find that out by.
    if not (skew > 0 and days > 0)
]
FEW = [
    ("all", 5, 0.0),
    ("all", -400, 0.0),
    ("one of two", -5, 0.0),
    ("the first three", 40, 0.0),
    ("the first", -400, 0.0),
    ("all", 5, SKEWS[1]),
]


@pytest.mark.parametrize(("pattern", "days", "skew"), few_by_day(TABLE, FEW))
def test_no_row_is_lost_by_wrong_dates(lab: Lab, pattern: str, days: int, skew: float) -> None:
    """While a clock is wrong, runs that withhold anything end with 76 and say why."""
    lab.dates.off, lab.dates.is_wrong, lab.harness.skew = days * DAY, PATTERNS[pattern], skew
    for number in range(10):
        if number == 3:
            lab.dates.off = lab.harness.skew = 0.0
        done = lab.run()
        if number < 3 and (pattern == "all" or skew):
            assert (done.exit_code, "clock" in done.reasons()) == (Exit.ATTENTION, True)
        if done.exit_code is Exit.DONE:
            assert lab.has_all()
        else:
            assert [*done.reasons()] == ["clock"]
            assert done.retry_at is not None
            assert done.retry_at - done.ended_at <= 600
        assert lab.gate("2026-05-10").exit_code.outcome is done.outcome
        lab.next_day()
    assert lab.run().exit_code is Exit.DONE
    assert lab.gate().exit_code is Exit.DONE


@pytest.mark.parametrize("skew", [SKEWS[1], *by_night(SKEWS[2:])])
def test_no_row_is_lost_by_a_wrong_machine(lab: Lab, skew: float) -> None:
    """A row comes on the day on which both clocks have it; each run and gate ends with 76."""
    lab.harness.skew = skew
    for _ in range(10):
        done = lab.run()
        assert [*done.reasons()] == ["clock"]
        found = lab.gate("2026-05-10")
        assert (found.exit_code, found.lost) == (Exit.ATTENTION, ())
        # Where it is 1970 that day is not ready either.
        assert found.reasons in (("clock",), ("clock", "not_ready"))
        assert found.retry_at == calendar.utc_text(lab.harness.clock()() + 600)
        assert lab.has_all() is (skew >= -LATE * DAY)
        lab.next_day()
    lab.harness.skew = 0.0
    assert lab.run().exit_code is Exit.DONE
    assert lab.has_all()
    assert lab.gate().exit_code is Exit.DONE


@pytest.mark.parametrize("skew", [0.0, -2 * DAY])
def test_a_killed_run_leaves_its_earlier_clock(lab: Lab, skew: float) -> None:
    """The next run publishes what it finds in the raw log, and settles by that one's clocks."""
    lab.harness.skew, lab.dates.is_wrong = skew, PATTERNS["all"]
    lab.dates.off = 5 * DAY if not skew else 0.0
    lab.harness.limits = Limits(Pace(Rate(1, 3.0), 1, concurrency=1))
    with suppress(Killed):
        lab.run(kill_after=7.0)
    assert [*lab.harness.root.glob("_harvester/raw/*/*.group")]
    lab.harness.skew, lab.dates.off = 0.0, 0.0
    lab.harness.limits = Limits(Pace(Rate(10, 1.0), 1, concurrency=2))
    # Late enough for the recovered times to have passed, whichever clock told them.
    for _ in range(6):
        lab.next_day()
    for _ in range(3):
        lab.run()
        lab.next_day()
    assert lab.run().exit_code is Exit.DONE
    assert lab.has_all()


def test_a_gate_that_was_closed_by_a_wrong_date_opens_with_the_next_run(lab: Lab) -> None:
    """Although that run may have nothing to ask, and enters no call into the ledger."""
    lab.harness.end = "2026-05-10"
    assert lab.run().exit_code is Exit.DONE
    lab.harness.end = "2026-05-11"
    lab.dates.off, lab.dates.is_wrong = 5 * DAY, PATTERNS["all"]
    assert lab.run().exit_code is Exit.ATTENTION
    assert lab.gate("2026-05-11").reasons == ("clock",)
    lab.dates.off = 0.0
    lab.next_day()
    lab.run()
    lab.next_day()
    calls = lab.harness.calls()
    assert lab.run().exit_code is Exit.DONE
    assert lab.harness.calls() == calls
    assert lab.gate("2026-05-11").exit_code is Exit.DONE


def test_a_machine_that_is_earlier_than_its_own_run_closes_the_gate(lab: Lab) -> None:
    """Also after another boot: some time must have passed since then."""
    lab.run()
    lab.harness.boot, lab.harness.skew = "another boot", -DAY
    assert lab.gate("2026-05-10").reasons == ("clock",)
    lab.harness.skew = DAY
    assert lab.gate("2026-05-10").exit_code is Exit.DONE


def test_a_doubted_clock_ends_no_run_with_0(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    """An earlier run of this boot contradicts it, and WeChat does not answer."""
    assert lab.run().exit_code is Exit.DONE
    lab.harness.skew, lab.harness.net.down = -5 * DAY, lambda _: True
    done = lab.run()
    assert (done.exit_code, [*done.reasons()]) == (Exit.ATTENTION, ["clock"])
    assert caplog.messages

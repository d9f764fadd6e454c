"""Rate limits over restarts, steps of the clock, lost ledgers and other machines, in virtual time.

The emulator counts every call: a run that trusts a clock exceeds its limit at once.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harvester.core.calendar import parse_day
from harvester.core.config.settings import Limits, Pace
from harvester.core.model import Rate
from harvester.planning.ledger import Ledger, Moment
from harvester.storage.state import quota_ledger
from tests.support.counting_wechat import StrictRules
from tests.support.fake_time import Killed, VirtualTimeHarness, in_virtual_time
from tests.support.nights import by_night, few_by_day
from tests.support.run_harness import HOURLY

TODAY = parse_day("2026-05-20")
LIMIT = 40
PACE = Pace(Rate(LIMIT, 60.0), LIMIT, concurrency=4)
NIGHT = 86_400.0

Event = Callable[[VirtualTimeHarness], None]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[VirtualTimeHarness]:
    """An account with 150 windows, forty calls a minute, and a server that counts them."""
    lab = VirtualTimeHarness(tmp_path, accounts=1, begin="2025-12-01", end="2026-04-29")
    lab.datasets, lab.limits = (HOURLY,), Limits(PACE)
    lab.rules = StrictRules(window_limit=(LIMIT, 60.0))
    lab.__post_init__()
    with in_virtual_time(lab):
        yield lab


def is_within_the_limit(lab: VirtualTimeHarness) -> bool:
    """Return whether the server saw no more calls in any minute than the account may make."""
    worst = lab.sandbox.peak_load().values()
    return max(worst) <= LIMIT and not lab.sandbox.counters.errcodes[45011]


def step(seconds: float) -> Event:
    """Return an event: the clock of the machine is set."""

    def happen(lab: VirtualTimeHarness) -> None:
        lab.skew += seconds

    return happen


def another_machine(seconds: float) -> Event:
    """Return an event: the next run is on a machine with another clock."""

    def happen(lab: VirtualTimeHarness) -> None:
        lab.skew, lab.boot = seconds, "another"

    return happen


def lose_the_ledgers(lab: VirtualTimeHarness) -> None:
    """Delete the folder of the ledgers."""
    shutil.rmtree(lab.root / "_harvester/quota")


def damage_the_ledgers(lab: VirtualTimeHarness) -> None:
    """Cut off every ledger."""
    for path in (lab.root / "_harvester/quota").iterdir():
        path.write_bytes(path.read_bytes()[:-9])


EVENTS = {
    "nothing": step(0.0),
    "31 s forward": step(31.0),
    "31 s back": step(-31.0),
    "an hour forward": step(3600.0),
    "two days forward": step(2 * NIGHT),
    "two days back": step(-2 * NIGHT),
    "another machine, 31 s ahead": another_machine(31.0),
    "another machine, 31 s behind": another_machine(-31.0),
    "another machine, three days ahead": another_machine(3 * NIGHT),
    "ledgers lost": lose_the_ledgers,
    "ledgers damaged": damage_the_ledgers,
}


@pytest.mark.parametrize("event", few_by_day(EVENTS, [*EVENTS][::2]))
@pytest.mark.parametrize("seconds", [5.0, *by_night([50.0])])
def test_the_first_period_is_held_off_whatever_happened_in_between(
    lab: VirtualTimeHarness, event: str, seconds: float
) -> None:
    """A run of some seconds, the event, and at once a run that could make forty calls."""
    lab.run(max_duration=seconds)
    EVENTS[event](lab)
    lab.run(max_duration=100.0)
    assert is_within_the_limit(lab)
    # A clock that was stepped stays apart from WeChat's, and no run ends with 0 by it.
    while {*lab.run().reasons()} - {"clock"}:
        pass
    assert is_within_the_limit(lab)


@pytest.mark.parametrize("event", few_by_day(EVENTS, [*EVENTS][1::2]))
def test_a_killed_run_is_held_off_too(lab: VirtualTimeHarness, event: str) -> None:
    """And a run that was stopped while it waited says so to the next one."""
    with pytest.raises(Killed):
        lab.run(kill_after=5.0)
    EVENTS[event](lab)
    lab.run(max_duration=2.0)
    lab.run(max_duration=100.0)
    assert is_within_the_limit(lab)


def first_call_of_the_next_run(lab: VirtualTimeHarness) -> float:
    """Return how long the next run waits before its first data call."""
    begun, before = lab.now(), len(lab.net.calls)
    lab.run(max_duration=100.0)
    return next(call.at for call in lab.net.calls[before:] if "datacube" in call.path) - begun


@pytest.mark.parametrize("skew", [0.0, 31.0, -31.0, 5 * NIGHT])
def test_a_machine_that_boots_every_night_does_not_wait(
    lab: VirtualTimeHarness, skew: float
) -> None:
    """By WeChat's time the last call was hours ago, whatever the clocks of the two machines say."""
    lab.run(max_duration=5.0)
    lab.advance(NIGHT)
    another_machine(skew)(lab)
    assert first_call_of_the_next_run(lab) < 1.0


def test_a_week_without_a_run_is_no_reason_to_wait(lab: VirtualTimeHarness) -> None:
    """The ledger of the last run is old, and not missing."""
    lab.run(max_duration=5.0)
    lab.advance(7 * NIGHT)
    lab.boot = "another"
    assert first_call_of_the_next_run(lab) < 1.0


def test_a_new_output_has_nothing_to_wait_for(lab: VirtualTimeHarness) -> None:
    """There is no ledger, but there is no data that was asked for either."""
    assert first_call_of_the_next_run(lab) < 1.0


def test_without_a_date_of_wechat_another_machine_goes_by_the_clocks(
    lab: VirtualTimeHarness,
) -> None:
    """Both clocks are right, so the limit holds and no more than the minute is waited for."""
    lab.net.sends_date = False
    lab.run(max_duration=5.0)
    lab.boot = "another"
    lab.run(max_duration=100.0)
    assert is_within_the_limit(lab)
    lab.advance(NIGHT)
    lab.boot = "a third one"
    assert first_call_of_the_next_run(lab) < 1.0


def test_a_ledger_of_a_wrong_clock_is_swept(lab: VirtualTimeHarness) -> None:
    """A server without a date let it be written for a day that is still to come."""
    lab.net.sends_date, lab.skew = False, 5 * NIGHT
    lab.run(max_duration=5.0)
    lab.net.sends_date, lab.skew = True, 0.0
    lab.run(max_duration=5.0)
    left = quota_ledger.read(lab.tree, TODAY, 0)
    assert left is not None
    assert [*left.days] == ["2026-05-20"]


def ledger(written: Moment, *, idle_in: float, in_use: bool = False) -> Ledger:
    """Return the ledger of a run whose calls count for some more seconds."""
    idle = written.at + idle_in
    return Ledger(TODAY, "run", in_use=in_use, period=60.0, idle_from=idle, written=written)


WRITTEN = Moment(1_000_000.0, "boot", 500.0, offset=3.0)


@pytest.mark.parametrize(
    ("now", "wait"),
    [
        # The same boot: ten seconds have passed, whatever the clock says.
        (Moment(1_000_010.0, "boot", 510.0), 30.0),
        (Moment(2_000_000.0, "boot", 510.0), 30.0),
        (Moment(0.0, "boot", 510.0), 30.0),
        (Moment(1_000_010.0, "boot", 560.0), 0.0),
        # Another boot: ten seconds by WeChat's time, which was 1,000,003 then.
        (Moment(1_000_000.0, "other", 1.0, offset=13.0), 32.0),
        (Moment(1_000_500.0, "other", 1.0, offset=-487.0), 32.0),
        (Moment(1_000_000.0, "other", 1.0, offset=53.0), 0.0),
        # A time to come says that one of the clocks is wrong: never more than the period.
        (Moment(900_000.0, "other", 1.0, offset=0.0), 60.0),
        # Without WeChat's time the clocks decide.
        (Moment(1_000_010.0, "other", 1.0), 30.0),
        # Two machines without a name of their boot may be two machines.
        (Moment(1_000_010.0, "", 510.0), 30.0),
    ],
)
def test_a_ledger_tells_how_long_its_calls_count(now: Moment, wait: float) -> None:
    """Forty seconds from the moment at which it was written."""
    assert ledger(WRITTEN, idle_in=40.0).wait(now, 60.0) == pytest.approx(wait)


def test_a_ledger_in_use_is_waited_for_a_whole_period() -> None:
    """The number of its run's last calls is unknown, and so is their time."""
    assert ledger(WRITTEN, idle_in=0.0, in_use=True).wait(WRITTEN, 30.0) == 60.0


def test_a_ledger_without_a_moment_is_read_by_the_clock() -> None:
    """As damaged as it may be."""
    old = Ledger(TODAY, "run", period=60.0, idle_from=1_000_040.0)
    assert old.wait(Moment(1_000_010.0, "boot", 510.0, offset=2.0), 60.0) == pytest.approx(30.0)
    assert old.agrees_with(WRITTEN) is None


@pytest.mark.parametrize("boot", ["boot", "", "other"])
def test_a_ledger_knows_whether_a_clock_agrees_with_wechats(boot: str) -> None:
    """Within a boot to the second, and after it as far as time never runs back."""
    then = Moment(1_000_000.0, "boot", 500.0, offset=100.0)
    known = ledger(then, idle_in=0.0)

    def agrees(seconds: float) -> bool | None:
        return known.agrees_with(Moment(1_000_100.0 + 50.0 + seconds, boot, 550.0))

    is_known = boot == "boot"
    assert agrees(-599.0) is (True if is_known else None)
    assert agrees(-651.0) is False
    assert agrees(601.0) is (False if is_known else None)


@pytest.mark.parametrize("now", [Moment(1_090_010.0, "boot", 510.0), Moment(1_000_010.0, "other")])
def test_a_ledger_that_goes_over_to_another_clock_waits_as_long(now: Moment) -> None:
    """Its calls count until the same moment."""
    known = ledger(WRITTEN, idle_in=40.0)
    wait = known.wait(now, 60.0)
    known.retime(now)
    assert known.wait(now, 60.0) == pytest.approx(wait)
    assert known.written == now


def test_no_more_calls_are_taken_over_than_the_rate_allows() -> None:
    """Each becomes a slot of each account, and a file may name a trillion."""
    known = ledger(WRITTEN, idle_in=40.0)
    known.recent_calls = 1 << 40
    known.open("next", TODAY, WRITTEN, Rate(10, 60.0))
    assert (known.recent_calls, known.idle_from) == (10, WRITTEN.at + 40.0)

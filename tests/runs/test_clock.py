"""The clock of an operation: offsets, their median, and what it does with them."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from harvester.core.calendar import EMULATED
from harvester.runs.clock import CheckedClock, apart_text, boot_id
from harvester.sandbox.calls import date_text
from harvester.storage.backends.elapsed import boot_seconds

NOON = 1_779_249_600.0


@dataclass
class Machine:
    """A machine whose clock and elapsed time a test moves."""

    wall: float = NOON
    elapsed: float = 100.0

    def clock(self) -> CheckedClock:
        """Return the clock of an operation that begins now."""
        return CheckedClock(lambda: self.wall, lambda: self.elapsed, "boot")

    def live(self, seconds: float) -> None:
        """Let time pass."""
        self.wall += seconds
        self.elapsed += seconds


def test_a_clock_counts_elapsed_time_whatever_is_done_to_the_machines() -> None:
    """A step in the middle of an operation changes nothing."""
    machine = Machine()
    clock = machine.clock()
    machine.live(10.0)
    machine.wall += 5_000.0
    assert clock() == NOON + 10.0
    assert clock.moment()[:3] == (NOON + 10.0, "boot", 110.0)


def test_the_offset_is_the_median() -> None:
    """One wrong date among many, as of a cache, is outvoted."""
    clock = Machine().clock()
    for ahead in (0.0, 1.0, 99_999.0, 0.0, 1.0):
        clock.hear(date_text(NOON + ahead))
    assert clock.offset == pytest.approx(1.0, abs=1.0)
    assert not clock.is_off


def test_a_corrected_clock_is_right() -> None:
    """And stays so while the dates agree."""
    clock = Machine().clock()
    clock.hear(date_text(NOON + 1_000.0))
    assert clock.is_off
    assert clock.correct() == pytest.approx(1_000.0, abs=1.0)
    assert clock() == clock.started_at == pytest.approx(NOON + 1_000.0, abs=1.0)
    assert clock.offset == pytest.approx(0.0)
    for _ in range(9):
        clock.hear(date_text(NOON + 1_003.0))
    assert not clock.is_off
    assert clock.correct() == 0.0


def test_a_first_date_that_is_outvoted_is_taken_back() -> None:
    """One server of many may be wrong, and it may be the first that answers."""
    clock = Machine().clock()
    clock.hear(date_text(NOON + 90_000.0))
    assert clock.correct()
    for _ in range(2):
        clock.hear(date_text(NOON))
    assert clock.correct()
    assert clock() == pytest.approx(NOON, abs=1.0)


def test_servers_that_disagree_move_a_clock_three_times_at_most() -> None:
    """A run must come to an end."""
    clock, moved = Machine().clock(), 0
    for number in range(1, 200):
        clock.hear(date_text(NOON + 90_000.0 * number))
        moved += bool(clock.correct())
    assert (moved, clock.is_off) == (3, False)


@pytest.mark.parametrize("seconds", [-601.0, -599.0, 0.0, 599.0, 601.0])
def test_ten_minutes_are_the_limit(seconds: float) -> None:
    """In both directions."""
    clock = Machine().clock()
    clock.hear(date_text(NOON + seconds))
    assert bool(clock.correct()) is (abs(seconds) > 600)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "tomorrow",
        "Wed, 99 May 2026 04:00:00 GMT",
        "Wed, 20 May 2026 99:00:00 GMT",
        "Thu, 01 Jan 1970 00:00:00 GMT",
        "Fri, 31 Dec 9999 23:59:59 GMT",
        "Wed, 20 May 99999999999999999999 04:00:00 GMT",
        "Wed, 20 May 2026 04:00:00 +99999999999999",
        "\udcff\x00" * 9,
        "9" * 100_000,
    ],
)
def test_what_is_no_date_is_ignored(text: str) -> None:
    """Whatever a server writes into the header."""
    clock = Machine().clock()
    clock.hear(text)
    assert (clock.offset, clock.is_checked, clock.is_off) == (None, False, False)


def test_a_date_without_a_zone_is_in_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    """And never in the zone of the machine."""
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    clock = Machine(wall=1_779_163_200.0).clock()
    clock.hear("Tue, 19 May 2026 04:00:00 -0000")
    assert clock.offset == pytest.approx(0.5)


def test_an_earlier_run_vouches_only_for_a_clock_that_agrees() -> None:
    """It never corrects one: a machine restored from a snapshot has old evidence."""
    clock = Machine().clock()
    for agrees, vouched, doubted in (
        (None, False, False),
        (False, False, True),
        (True, True, False),
    ):
        clock.agrees = agrees
        assert (clock.is_checked, clock.is_doubted, clock.is_off) == (vouched, doubted, False)
        assert clock.is_apart is doubted
    clock.agrees = False
    clock.hear(date_text(NOON))
    assert not clock.is_doubted
    assert not clock.is_apart


@pytest.mark.parametrize(
    ("told", "behind"), [(0.0, 0.0), (300.0, 0.0), (-300.0, 300.0), (9e4, 9e4), (-9e4, 0.0)]
)
def test_the_earlier_of_both_clocks_is_known_after_a_correction(told: float, behind: float) -> None:
    """WeChat's if the machine is ahead, and the machine's if it is behind."""
    clock = Machine().clock()
    clock.hear(date_text(NOON + told))
    clock.correct()
    assert clock.behind == pytest.approx(behind, abs=1.0)
    assert clock.is_apart is (abs(told) > 600)


def test_votes_that_are_as_many_as_the_others_move_no_clock() -> None:
    """Half of the servers are wrong: the time between both is that of none."""
    clock = Machine().clock()
    for _ in range(9):
        clock.hear(date_text(NOON))
        clock.hear(date_text(NOON - 90_000.0))
        assert not clock.is_off
    assert clock.offset == pytest.approx(0.5)


def test_a_clock_that_was_outvoted_too_often_is_apart_from_wechats() -> None:
    """It moves no more, so its run may have asked for other days."""
    clock = Machine().clock()
    for number in range(1, 4):
        for _ in range(9**number):
            clock.hear(date_text(NOON - 90_000.0 * number))
        clock.correct()
    assert clock.is_apart
    for _ in range(99):
        clock.hear(date_text(NOON))
    assert not clock.is_off
    assert clock.is_apart


def test_an_emulator_of_another_day_is_no_wrong_clock() -> None:
    """A test may live in the past, and its runs are complete."""
    clock = Machine().clock()
    clock.hear(date_text(NOON - 9e6) + EMULATED)
    assert clock.correct() == pytest.approx(-9e6, abs=1.0)
    assert not clock.is_apart
    assert clock.moment().offset is None


def test_how_far_apart_two_clocks_are_in_words() -> None:
    """In days, hours, minutes and seconds."""
    assert apart_text(432_012.4) == "this machine's clock is 5 days, 0:00:12 behind WeChat's"
    assert apart_text(-700.0) == "this machine's clock is 0:11:40 ahead of WeChat's"


def test_this_machine_has_an_elapsed_time() -> None:
    """It grows, and the name of the boot stays."""
    before = boot_seconds()
    assert boot_seconds() >= before > 0
    assert boot_id() == boot_id()

"""Random histories: runs that are killed, cut short, refused and cut off, by seed.

Each seed is one history of whole runs in virtual time, judged by the sandbox at exactly the limits
of the manifest. After every run, however it ended, what must always hold is checked; the end must
be every row once. A failing seed is the number in the test's name.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import pytest

from harvester.catalogue import CATALOGUE
from harvester.core import calendar
from harvester.core.calendar import parse_day
from harvester.core.config.settings import Limits, Pace, Retry
from harvester.core.exit_codes import Exit
from harvester.core.model import Rate, Reserve
from harvester.runs.record.record import Record
from harvester.storage.state import quota_ledger
from tests.support.counting_wechat import StrictRules
from tests.support.fake_time import Call, Killed, VirtualTimeHarness, in_virtual_time
from tests.support.run_harness import BOTH, days_between, expected, published_rows

MOST_RUNS = 80
BEGIN = parse_day("2026-03-20")


@dataclass
class History:
    """One output and all runs that work on it."""

    lab: VirtualTimeHarness
    dice: random.Random
    kills: int
    is_surprised: bool = False
    began: list[float] = field(default_factory=list)
    asked: int = 0

    def live(self) -> None:
        """Run until a run says that all is done, checking after each."""
        for _ in range(MOST_RUNS):
            done = self._run()
            self._check(done)
            if done is not None and done.exit_code is Exit.DONE:
                return
            self._pass_time(done)
        pytest.fail(f"not done after {MOST_RUNS} runs")

    def _run(self) -> Record | None:
        """One run; None if it was killed."""
        kill_after = None
        if self.kills and self.dice.random() < 0.7:
            self.kills -= 1
            kill_after = self.dice.uniform(0.0, 6.0)
        most = None if self.dice.random() < 0.7 else self.dice.uniform(0.5, 8.0)
        try:
            return self.lab.run(kill_after=kill_after, max_duration=most)
        except Killed:
            return None

    def _pass_time(self, done: Record | None) -> None:
        """Some seconds, or the night if the day's calls are spent."""
        reasons = done.reasons() if done is not None else {}
        if "quota" in reasons:
            self.lab.sleep_until(calendar.today(self.lab.now()) + 1, self.dice.randrange(24 * 60))
        elif self.is_surprised and not {"stopped", "time_budget"} & {*reasons}:
            self.lab.advance(self.dice.choice([1.0, 600.0, 7200.0]))
        else:
            self.lab.advance(self.dice.choice([0.0, 0.0, 0.0, 0.3, 5.0]))

    def _check(self, done: Record | None) -> None:
        lab, limits = self.lab, self.lab.limits
        pace, today = limits.per_token, calendar.today(lab.now())
        assert all(worst <= pace.rate.count for worst in lab.sandbox.peak_load().values())
        assert lab.sandbox.counters.errcodes[45011] == 0
        assert limits.daily_quota is not None
        budget = limits.daily_quota - limits.daily_reserve.of(limits.daily_quota)
        note = quota_ledger.read(lab.tree, today, 0)
        for day in (today - 1, today):
            for (appid, path), calls in lab.calls_of_day(day).items():
                assert calls <= budget
                if day == today and note is not None:
                    assert note.spent(NAME_OF[path], appid) >= calls
        if done is not None:
            assert note is None or not note.in_use
            # A day that has an answer may be due again, and no call or time be left for it.
            is_open = done.missing or done.abandoned or done.pending
            assert (done.exit_code is Exit.DONE) == (not is_open)
            ends = {Exit.DONE, Exit.ATTENTION, Exit.AGAIN, Exit.INCOMPLETE, Exit.UNAUTHORISED}
            assert done.exit_code in ends


NAME_OF = {dataset.path: dataset.name for dataset in CATALOGUE.values()}


def history(seed: int, root: Path, *, has_quota: bool = True) -> History:
    """The choices of this seed: accounts, limits, faults, outages and kills."""
    dice = random.Random(seed)
    count, period = dice.choice([(3, 1.0), (10, 1.0), (5, 2.0), (60, 60.0)])
    pace = Pace(Rate(count, period), dice.choice([1, 1, 2, count]), dice.choice([1, 2, 4, 8]))
    length = dice.randint(3, 18)
    quota = dice.choice([5000, 5000, length + 3, max(4, length // 2)] if has_quota else [5000])
    lab = VirtualTimeHarness(
        root,
        accounts=dice.randint(1, 4),
        begin=calendar.day_text(BEGIN),
        end=calendar.day_text(BEGIN + length - 1),
        datasets=dice.choice([BOTH, BOTH[1:]]),
        limits=Limits(
            pace,
            connections=dice.choice([2, 5, 100]),
            daily_quota=quota,
            daily_reserve=Reserve(calls=dice.choice([0, 0, 1])),
        ),
        retry=Retry(max_attempts=6, initial_delay=0.5, max_delay=30.0),
        rules=StrictRules(
            window_limit=(count, period),
            daily_quota=quota,
            fault_rate=dice.choice([0.0, 0.1, 0.2]),
            latency_jitter=dice.choice([0.0, 0.05, 1.5]),
            seed=seed,
        ),
        seed=seed,
    )
    lab.net.there = lab.net.back = dice.choice([0.0, 0.01, 0.4])
    if dice.random() < 0.3:
        begin = lab.now() + dice.uniform(0.0, 10.0)
        end = begin + dice.choice([1.0, 40.0, 900.0])
        lab.net.down = lambda now: begin <= now < end
    return History(lab, dice, kills=dice.choice([0, 2, 5, 10]))


def surprise(lab: VirtualTimeHarness, dice: random.Random) -> None:
    """From a moment on one code for one dataset, of all accounts or of one, until it is healed."""
    code, dataset = dice.choice([99_999, 61501, 61503, 47001, 40001]), dice.choice(lab.datasets)
    concerned = dice.choice([lab.appids, lab.appids[:1]])
    begin = lab.now() + dice.choice([0.0, 0.5, 3.0])
    end = begin + dice.choice([2.0, 60.0, 4000.0, 90_000.0])

    def refuse(call: Call, _: bytes) -> int:
        is_meant = call.path == CATALOGUE[dataset].path and call.appid in concerned
        return code if is_meant and begin <= lab.now() < end else 0

    lab.net.refuse = refuse


def survives(
    seed: int, root: Path, duck: duckdb.DuckDBPyConnection, *, surprised: bool = False
) -> None:
    """Live one history; at its end every row is there, once."""
    found = history(seed, root)
    if surprised:
        found.is_surprised = True
        surprise(found.lab, found.dice)
    with in_virtual_time(found.lab) as lab:
        found.live()
        assert lab.end is not None
        for dataset in lab.datasets:
            truth = expected(dataset, lab.appids, days_between(lab.begin, lab.end))
            assert published_rows(duck, root, dataset) == truth


@pytest.mark.parametrize("seed", range(24))
def test_a_history_ends_with_every_row_once(
    seed: int, tmp_path: Path, duck: duckdb.DuckDBPyConnection
) -> None:
    """Killed, cut off, out of quota: never over a limit, and in the end whole."""
    survives(seed, tmp_path, duck)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(24, 2000))
def test_many_more_histories_end_with_every_row_once(
    seed: int, tmp_path: Path, duck: duckdb.DuckDBPyConnection
) -> None:
    """The same, for the night."""
    survives(seed, tmp_path, duck)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(10))
def test_a_history_with_a_surprise_ends_with_every_row_once(
    seed: int, tmp_path: Path, duck: duckdb.DuckDBPyConnection
) -> None:
    """A dataset that is refused from a moment on is whole after it was healed."""
    survives(seed, tmp_path, duck, surprised=True)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10, 1060))
def test_many_more_histories_with_a_surprise_end_with_every_row_once(
    seed: int, tmp_path: Path, duck: duckdb.DuckDBPyConnection
) -> None:
    """The same, for the night."""
    survives(seed, tmp_path, duck, surprised=True)

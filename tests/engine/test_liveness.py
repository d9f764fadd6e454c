"""Liveness: a storm of faults ends, and soon after it the output is complete, whatever the seed.

The simulation of histories proves what always holds. This one bounds the recovery in runs, in data
calls and in seconds of virtual time.
"""

from __future__ import annotations

import random
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import duckdb
import pytest

from harvester.catalogue import CATALOGUE
from harvester.core.errors import HarvesterError
from harvester.core.exit_codes import Exit
from harvester.core.model import Refusal
from harvester.planning.ledger import Ledger
from harvester.storage.layout import Tree
from tests.engine.test_simulation import history
from tests.support.failing_store import failing_store
from tests.support.fake_time import Call, Killed, VirtualTimeHarness, in_virtual_time
from tests.support.run_harness import days_between, expected, published_rows

DAY = 86_400.0
CODES = [-1, 40001, 45009, 45011, 47001, 61501, 61503, 99_999]

MOST_RUNS = 2
"""Runs after the storm: a second one if WeChat has said in the storm that a quota is spent."""

MOST_SECONDS = 120.0
"""Virtual seconds that they take, at 60 calls per minute and account at least."""

MOST_WAITED = DAY + 300
"""Virtual seconds between them: at most until five minutes after midnight in Beijing."""


class Recovery(NamedTuple):
    """The price of a complete output, counted from the last fault on."""

    runs: int
    calls: int
    seconds: float
    waited: float


def stormy_run(lab: VirtualTimeHarness, dice: random.Random) -> None:
    """Execute one run in which everything may fail."""
    lab.skew = dice.choice([0.0, 0.0, 300.0, -7200.0, 40 * DAY, -40 * DAY])
    lab.sandbox.rules = replace(lab.sandbox.rules, fault_rate=dice.choice([0.0, 0.3, 0.9]))
    begin = lab.now() + dice.uniform(0.0, 10.0)
    end = begin + dice.choice([0.0, 1.0, 40.0, 20_000.0])
    lab.net.down = lambda now: begin <= now < end
    code, share = dice.choice(CODES), dice.choice([0.0, 0.2, 1.0])
    path = CATALOGUE[dice.choice(lab.datasets)].path

    def refuse(call: Call, _: bytes) -> int:
        return code if call.path == path and dice.random() < share else 0

    lab.net.refuse = refuse
    at = dice.choice([1_000_000, dice.randint(1, 80)])
    forever, late = dice.random() < 0.5, dice.random() < 0.5
    store = failing_store(lab.tree.store, at, forever=forever, late=late)
    kill_after = dice.choice([None, dice.uniform(0.0, 6.0)])
    most = dice.choice([None, dice.uniform(0.5, 8.0)])
    with suppress(Killed, HarvesterError):
        lab.run(Tree(store), kill_after=kill_after, max_duration=most)
    lab.advance(dice.choice([0.0, 5.0, 600.0, 7200.0, DAY]))


def calm(lab: VirtualTimeHarness) -> None:
    """End every fault."""
    lab.skew = 0.0
    lab.sandbox.rules = replace(lab.sandbox.rules, fault_rate=0.0)
    lab.net.down = lambda _: False
    lab.net.refuse = lambda _, __: 0


def recovery(lab: VirtualTimeHarness) -> Recovery:
    """Run until all is complete, each time when the record of the run before says so."""
    calls, seconds, waited = lab.calls(), 0.0, 0.0
    for runs in range(1, MOST_RUNS + 1):
        begun = lab.now()
        done = lab.run()
        seconds += lab.now() - begun
        if done.exit_code is Exit.DONE:
            return Recovery(runs, lab.calls() - calls, seconds, waited)
        wait = (done.retry_at or lab.now()) - lab.now()
        lab.advance(wait)
        waited += wait
    pytest.fail(f"not complete {MOST_RUNS} runs after the last fault")


def survive(seed: int, root: Path, duck: duckdb.DuckDBPyConnection) -> None:
    """Live through the storm of a seed; the recovery keeps to its bounds and is exact."""
    found = history(seed, root, has_quota=False)
    with in_virtual_time(found.lab) as lab:
        for _ in range(found.dice.randint(1, 6)):
            stormy_run(lab, found.dice)
        calm(lab)
        took = recovery(lab)
    assert lab.end is not None
    days = days_between(lab.begin, lab.end)
    windows = lab.accounts * sum(-(-len(days) // CATALOGUE[name].span) for name in lab.datasets)
    # Days that came in the storm may divide what was one window.
    assert took.calls <= windows + lab.accounts * len(lab.datasets)
    assert took.seconds <= MOST_SECONDS
    assert took.waited <= MOST_WAITED
    for dataset in lab.datasets:
        assert published_rows(duck, root, dataset) == expected(dataset, lab.appids, days)


@pytest.mark.parametrize("seed", range(16))
def test_a_storm_is_recovered_from_in_time(
    seed: int, tmp_path: Path, duck: duckdb.DuckDBPyConnection
) -> None:
    """Store, WeChat, kills and clock fail in up to six runs; then at most two runs are needed."""
    survive(seed, tmp_path, duck)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(16, 1016))
def test_many_more_storms_are_recovered_from_in_time(
    seed: int, tmp_path: Path, duck: duckdb.DuckDBPyConnection
) -> None:
    """The same, for the night."""
    survive(seed, tmp_path, duck)


def test_a_livelock_is_found(
    tmp_path: Path, duck: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A quota that stays spent costs no row and breaks no limit: only the bound notices it."""

    def exhausted_by(self: Ledger, dataset: str, appid: str) -> Refusal | None:
        found = (day.exhausted.get(dataset, {}).get(appid) for day in self.days.values())
        return next(filter(None, found), None)

    monkeypatch.setattr(Ledger, "exhausted_by", exhausted_by)
    with pytest.raises(pytest.fail.Exception, match="not complete 2 runs after the last fault"):
        survive(20, tmp_path, duck)

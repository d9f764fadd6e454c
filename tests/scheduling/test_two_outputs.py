"""Several outputs with the same accounts: they exceed the minute rate together, and settle."""

from __future__ import annotations

import random
import threading
from collections import Counter
from functools import partial
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest

from harvester.core.config.settings import Limits, Output, Pace, Retry
from harvester.core.exit_codes import Exit
from harvester.core.model import Rate
from harvester.runs import harvest
from harvester.sandbox import Rules
from harvester.sandbox.calls import Reply, Request
from harvester.storage.layout import open_tree
from tests.support.counting_wechat import StrictRules
from tests.support.fake_time import VirtualTimeHarness, in_virtual_time
from tests.support.nights import by_night
from tests.support.run_harness import HOURLY

SLIDING = StrictRules(window_limit=(20, 60.0))
FIXED = Rules(minute_limit=20)
SEEDS = [1, *by_night(range(2, 11))]
ALONE = 240 / 20 * 60
"""Seconds that one output takes, at what the server allows."""


@pytest.fixture
def lab(
    tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> VirtualTimeHarness:
    """One account that owes 241 hourly days, at the twenty a minute that the server allows."""
    seed: int = getattr(request, "param", 0)
    lab = VirtualTimeHarness(tmp_path, accounts=1, datasets=(HOURLY,), seed=seed, rules=SLIDING)
    lab.begin, lab.end = "2025-09-01", "2026-04-29"
    lab.limits, lab.retry = Limits(Pace(Rate(20, 60.0), 1, concurrency=4)), Retry()
    seeds = count(100 * seed)
    jitter = SimpleNamespace(Random=lambda: random.Random(next(seeds)))
    monkeypatch.setattr(harvest, "random", jitter)
    return lab


class Outputs:
    """Outputs that are run at the same time, and what each took.

    ``seconds`` has how long each run took, ``refusals`` how many 45011 a run got in a minute.
    """

    def __init__(self, lab: VirtualTimeHarness, monkeypatch: pytest.MonkeyPatch) -> None:
        self._lab, self._well = lab, lab.sandbox.answer
        self.seconds: list[float] = []
        self.refusals = Counter[tuple[int, int]]()
        monkeypatch.setattr(lab.sandbox, "answer", self._answer)

    def run(self, *delays: float) -> list[Exit]:
        """Run an output for each delay, which it begins after; return how the runs end."""
        with in_virtual_time(self._lab):
            runs = [partial(self._run, *each) for each in enumerate(delays)]
            return self._lab.time.at_once(*runs)

    def _run(self, number: int, delay: float) -> Exit:
        self._lab.time.wait_until(delay)
        began = self._lab.now()
        done = self._lab.run(open_tree(Output(self._lab.root / str(number))))
        self.seconds.append(self._lab.now() - began)
        return done.exit_code

    def _answer(self, request: Request) -> Reply:
        reply = self._well(request)
        if b'"errcode":45011' in reply.body:
            self.refusals[threading.get_ident(), int(self._lab.now() // 60)] += 1
        return reply


@pytest.mark.long
@pytest.mark.parametrize("delay", [0.0, *by_night([90.0])])
@pytest.mark.parametrize(
    ("rules", "outputs", "most"),
    [(FIXED, 2, 3.0), (SLIDING, 2, 3.0), *by_night([(FIXED, 3, 5.0), (SLIDING, 3, 6.0)])],
)
@pytest.mark.parametrize("lab", SEEDS, indirect=True)
def test_outputs_with_the_same_account_share_its_rate(
    lab: VirtualTimeHarness,
    monkeypatch: pytest.MonkeyPatch,
    *,
    outputs: int,
    most: float,
    rules: Rules,
    delay: float,
) -> None:
    """All are complete, two in three times what one takes, with a refusal a minute at most."""
    lab.rules = rules
    lab.__post_init__()
    several = Outputs(lab, monkeypatch)
    assert several.run(*(number * delay for number in range(outputs))) == [Exit.DONE] * outputs
    assert max(several.seconds) <= most * ALONE
    assert max(several.refusals.values()) == 1

"""The moment of an answer is that of its question: what WeChat added since may be missing."""

from __future__ import annotations

from pathlib import Path

from harvester.core.calendar import parse_day
from harvester.core.exit_codes import Exit
from harvester.sandbox import Rules
from tests.support.fake_time import VirtualTimeHarness, in_virtual_time
from tests.support.run_harness import DAILY

TODAY = parse_day("2026-05-20")


def test_a_day_asked_before_midnight_is_asked_again_after_it(tmp_path: Path) -> None:
    """Preliminary days that were answered after midnight were not asked on the new day."""
    lab = VirtualTimeHarness(tmp_path, accounts=1, begin="2026-05-18", end="2026-05-19")
    lab.datasets, lab.rules = (DAILY,), Rules(latency=5.0)
    lab.__post_init__()
    with in_virtual_time(lab):
        lab.sleep_until(TODAY, 24 * 60)
        # The token takes five seconds, and then the window.
        lab.advance(-9)
        first = lab.run()
        assert (first.exit_code, first.requests) == (Exit.DONE, 1)
        lab.sleep_until(TODAY + 1, 1)
        again = lab.run()
        assert (again.exit_code, again.requests) == (Exit.DONE, 1)
        assert lab.run().requests == 0

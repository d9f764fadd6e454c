"""A backfill writes each file once, however far apart its accounts are."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
import pytest

from harvester.core.calendar import parse_day
from harvester.core.config.settings import Job, Limits, Manifest, Pace
from harvester.core.exit_codes import Exit
from harvester.core.model import Rate
from harvester.runs.record.members import PublishedFile
from harvester.storage import publish as publishing
from tests.support.fake_time import VirtualTimeHarness, in_virtual_time
from tests.support.run_harness import (
    BOTH,
    HOURLY,
    RunHarness,
    days_between,
    expected,
    published_rows,
)

BEGIN, END = "2025-11-01", "2026-03-31"
MORE = ("user_summary", "user_cumulate", "upstream_msg", "upstream_msg_hour")


@dataclass
class Uneven(RunHarness):
    """Accounts of which every third has three times as much to ask for, and so is slow.

    A run does ``part`` alone if there is one.
    """

    part: Job | None = None

    def manifest(self) -> Manifest:
        """The same accounts in two jobs, or what is to be done first."""
        plain = super().manifest()
        slow = Job("slow", (*BOTH, *MORE), self.appids[::3], parse_day(BEGIN), parse_day(END))
        return replace(plain, jobs=(self.part,) if self.part else (*plain.jobs, slow))


def rewritten(published: list[PublishedFile]) -> float:
    """Rows written for each row that is in a file in the end."""
    final = {each.path: each.rows_after for each in published}
    return sum(each.rows_after for each in published) / sum(final.values())


@pytest.mark.long
def test_a_month_is_written_once(tmp_path: Path, duck: duckdb.DuckDBPyConnection) -> None:
    """Accounts differ in speed and in what they lack: at most 1.2 rows are written for each."""
    dice = random.Random(6)
    lab = Uneven(tmp_path, accounts=9, begin=BEGIN, end=END)
    for name in lab.appids[::2]:
        first, last = sorted(dice.sample(days_between(BEGIN, END), 2))
        lab.part = Job("part", BOTH, (name,), first, last)
        assert lab.run().exit_code is Exit.DONE
    lab.part = None
    done = lab.run()
    assert done.exit_code is Exit.DONE
    assert rewritten(done.published) <= 1.2
    times = Counter(each.path for each in done.published)
    assert max(times.values()) == 1
    truth = expected(HOURLY, lab.appids, days_between(BEGIN, END))
    assert published_rows(duck, lab.root, HOURLY) == truth


def test_a_month_is_published_while_older_ones_are_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last answer of a month completes it once the answer is durable, and not before.

    The disk is slow, so answers wait in memory while others are written. A month that counted them
    would be published without them, and a second time at the end of the run.
    """
    lab = VirtualTimeHarness(tmp_path, accounts=1, begin="2026-01-01", end="2026-03-31")
    lab.datasets, lab.store_seconds = (HOURLY,), 3.0
    lab.limits = Limits(Pace(Rate(2, 1.0), 1, concurrency=4), daily_quota=1000)
    publish = publishing.publish
    asked: list[int] = []

    def noted(*args: Any) -> Any:
        asked.append(len(lab.net.calls))
        return publish(*args)

    monkeypatch.setattr(publishing, "publish", noted)
    with in_virtual_time(lab):
        assert lab.run().exit_code is Exit.DONE
    march, february, january = asked
    assert 31 <= march < 31 + 28
    assert 31 + 28 <= february < january == 90

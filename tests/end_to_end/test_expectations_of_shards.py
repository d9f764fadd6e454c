"""Expectations of a run in shards or processes: the sum of their counts decides."""

from __future__ import annotations

from pathlib import Path

import pytest

import harvester
from harvester.core.calendar import parse_day
from tests.support.faulty_wechat import Late
from tests.support.run_harness import DAILY, appid
from tests.support.shared_runs import END, Workplace, workplace

KEY = f"expectation/{DAILY}/complete_by"


def harvested(place: Workplace, way: str) -> harvester.Result:
    """Run into an output of its own, in two processes or in two shards whose results are merged."""
    place.options["output"] = {"path": str(place.folder / way), "buckets": 4}
    if way == "processes":
        return harvester.run(place.manifest(), processes=2)
    shards = [harvester.run(place.manifest(), shard=f"{number}/2") for number in (1, 2)]
    # One of them lacks a sixth of its accounts.
    assert any(each.attention for each in shards)
    return harvester.Result.merge(shards)


@pytest.mark.parametrize("way", ["processes", "shards"])
def test_expectations_are_judged_by_the_sum(tmp_path: Path, way: str) -> None:
    """One account of twelve may be late if 90% are expected, and two may not."""
    end = parse_day(END)
    with workplace(tmp_path) as place:
        place.options["expect"] = {"all": {"complete_by": {"time": "12:00", "share": "90%"}}}
        late = Late(appid=appid(1), begin=end, end=end, days=10_000, unready=True)
        place.world.add_data_fault(late)
        one = harvested(place, way)
        place.world.add_data_fault(
            Late(appid=appid(2), begin=end, end=end, days=10_000, unready=True)
        )
        place.folder /= "two"
        place.folder.mkdir()
        two = harvested(place, way)
    assert (one.exit_code, one.reasons, one.attention) == (75, ("not_ready",), ())
    [met] = one.record.expectations
    assert (met.accounts, met.there, met.lacking) == (12, 11, (appid(1),))
    [item], [unmet] = two.attention, two.record.expectations
    assert (two.exit_code, item.key) == (76, KEY)
    assert [label.appid for label in item.accounts] == [appid(1), appid(2)] == [*unmet.lacking]
    assert item.advice.startswith(
        "2026-03-20: 10 of 12 accounts (83.3%) have the day, expected 90%"
    )

"""A fortnight with expectations: what run, gate, status, report and metrics say on each day.

A dataset that is late, one that falls empty, a quiet holiday, and a client with ten years to fetch.
The table of docs/alerts.md is this story.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

import harvester
from harvester.cli import invoke
from harvester.core.calendar import Day, instant, parse_day, today
from harvester.runs import clock as run_clock
from tests.cli.test_until_complete import Life
from tests.support.faulty_wechat import FaultyRules, FaultyWeChat, Late, Outage
from tests.support.run_harness import appid
from tests.support.sandboxes import serve_in_thread

ACCOUNTS = 20
MONDAY = parse_day("2026-05-18")
LATE = [appid(number) for number in (1, 2, 3)]
CLIENT = appid(21)
FALLS_EMPTY, IS_LATE = "user_summary", "user_cumulate"


class Noon(NamedTuple):
    """Answers after the run of a day: codes, attention, unmet expectations, report and metrics."""

    run: int
    attention: list[str]
    gate: int
    closed_by: list[str]
    unmet: list[str]
    judged: int
    sentence: str
    behind: int = 0
    backfill: int = 0


@dataclass
class Desk:
    """The manifest, the commands, and the WeChat that they meet."""

    folder: Path
    life: Life
    world: FaultyWeChat
    capsys: pytest.CaptureFixture[str]
    jobs: dict[str, Any]
    day: Day = MONDAY

    def write(self) -> str:
        """Save the manifest and return its path."""
        path = self.folder / "jobs.yaml"
        path.write_text(yaml.safe_dump(self.jobs))
        return str(path)

    def answer(self, *words: str) -> tuple[int, Any]:
        """Return the code and the JSON of a command."""
        code = invoke([words[0], self.write(), *words[1:], "--format", "json"])
        return code, json.loads(self.capsys.readouterr().out)

    def text(self, *words: str) -> str:
        """Return what a command prints."""
        invoke([words[0], self.write(), *words[1:]])
        return self.capsys.readouterr().out

    def noon(self) -> Noon:
        """Let the schedule run at one o'clock of the next day, then ask all readers."""
        self.day += 1
        self.life.jumped += max(0.0, instant(self.day, 13 * 60) - self.life())
        summary = self.folder / "summary.json"
        metrics = self.folder / "metrics.prom"
        files = ["--summary", str(summary), "--metrics", str(metrics)]
        run = invoke(["run", self.write(), *files, "--progress", "none"])
        self.capsys.readouterr()
        record = json.loads(summary.read_bytes())
        keys = [item["key"] for item in record["attention"]]
        gate, seen = self.answer("status", "--require", "yesterday")
        assert [item["key"] for item in seen["attention"]] == keys
        assert seen["expectations"] == record["expectations"]
        alone = harvester.status(output=self.folder / "output")
        assert alone.to_dict()["expectations"] == record["expectations"]
        unmet = [each for each in seen["expectations"] if not each["met"]]
        return Noon(
            int(run),
            keys,
            int(gate),
            [each["dataset"] for each in seen["gate"]["expectations"]],
            [f"{each['day']} {each['there']}/{each['accounts']}" for each in unmet],
            max((each["accounts"] for each in seen["expectations"]), default=0),
            self.sentence(),
            *self.measured(metrics.read_text(), len(unmet), len(keys)),
        )

    def measured(self, text: str, unmet: int, troubles: int) -> tuple[int, int]:
        """Return by how many days the worst dataset is behind, and the days of backfill."""
        found: dict[str, list[float]] = {}
        for family in text_string_to_metric_families(text):
            found[family.name] = [sample.value for sample in family.samples]
        assert found.get("harvester_expectation_met", []).count(0) == unmet
        assert sum(found["harvester_attention"]) == troubles
        newest = min(found["harvester_newest_complete_day_timestamp_seconds"])
        return self.day - 1 - today(newest), int(sum(found["harvester_backfill"]))

    def sentence(self) -> str:
        """Return how many accounts are complete and late, as the page of the output says it."""
        said = self.text("report", "--html", str(self.folder / "page.html"))
        [complete] = re.findall(r"\d+ of \d+ accounts complete", said)
        [late] = re.findall(r"\d+ late", said)
        return f"{complete}, {late}"

    def silence(self, begin: Day, end: Day) -> None:
        """Take the rows of days out of one dataset of all accounts."""
        self.world.add_data_fault(Outage(datasets=(FALLS_EMPTY,), begin=begin, end=end))


@pytest.fixture
def desk(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Desk]:
    """Twenty accounts and the last month of two datasets, of which one must not fall empty."""
    life = Life(began=instant(MONDAY, 12 * 60))
    world = FaultyWeChat(FaultyRules(), life)
    monkeypatch.setattr(run_clock, "boot_seconds", life.elapsed)
    monkeypatch.setattr(run_clock, "time", SimpleNamespace(time=life))
    with serve_in_thread(world) as address:
        jobs = {
            "api": {"base_url": address},
            "defaults": {"credential": {"secret": "${file:secret}"}},
            "accounts": [{"appid": appid(number)} for number in range(1, ACCOUNTS + 1)],
            "jobs": [{"datasets": [FALLS_EMPTY, IS_LATE], "begin_date": "2026-04-20"}],
            "limits": {
                "per_token": {"rate": "10000/s", "burst": 1000},
                "daily_quota": 200,
                "daily_reserve": 0,
            },
            "expect": {
                "all": {"complete_by": "12:00", "quiet": ["2026-05-24..2026-05-25"]},
                FALLS_EMPTY: {"min_share_with_rows": "50%", "gate": "closed"},
            },
            "output": "output",
        }
        (tmp_path / "secret").write_text("the-secret\n")
        yield Desk(tmp_path, life, world, capsys, jobs)


@pytest.mark.slow
def test_days_that_no_exit_code_tells(desk: Desk) -> None:
    """A person hears of what is late and what fell empty, and of no holiday and no new client."""
    assert desk.noon() == Noon(0, [], 0, [], [], 20, "20 of 20 accounts complete, 0 late")

    # Wednesday: one dataset is a day late for three accounts of twenty, and 95% are expected.
    late = Late(datasets=(IS_LATE,), begin=desk.day, end=desk.day, days=1, unready=True)
    for name in LATE:
        desk.world.add_data_fault(replace(late, appid=name))
    key, sentence = f"expectation/{IS_LATE}/complete_by", "17 of 20 accounts complete, 3 late"
    assert desk.noon() == Noon(76, [key], 76, [], ["2026-05-19 17/20"], 20, sentence, behind=1)
    assert f"new: expectation, 3 accounts ({', '.join(LATE)}), {IS_LATE}: 2026-05-19: 17 of 20" in (
        " ".join(desk.text("status").split())
    )

    # Thursday and Friday: that day is there, and the other dataset has no rows of any account. On
    # the first day WeChat may still add some; on the second the run succeeds, and says it too.
    desk.silence(desk.day, desk.day + 1)
    key, sentence = (
        f"expectation/{FALLS_EMPTY}/min_share_with_rows",
        "20 of 20 accounts complete, 0 late",
    )
    found = Noon(76, [key], 76, [FALLS_EMPTY], ["2026-05-20 0/20"], 20, sentence)
    assert desk.noon() == found
    assert desk.noon() == found._replace(run=0, gate=3, unmet=["2026-05-21 0/20"])
    shown = " ".join(desk.text("status", "--require", "yesterday").split())
    assert "all of them are there expectation not met: user_summary: 2026-05-21: 0 of 20" in shown

    # Saturday and Sunday: the rows are back.
    fine = Noon(0, [], 0, [], [], 20, sentence)
    assert [desk.noon(), desk.noon()] == [fine, fine]

    # Monday and Tuesday: no rows of a holiday that the manifest calls quiet. Nothing is judged.
    desk.silence(desk.day, desk.day + 1)
    assert desk.noon() == fine._replace(run=75, gate=75, judged=0)
    assert desk.noon() == fine._replace(judged=0)
    assert desk.noon() == fine

    # Thursday to Saturday: a client with ten years, of which the quota allows a part a day.
    desk.jobs["accounts"].append({"appid": CLIENT})
    years = {"datasets": [FALLS_EMPTY, IS_LATE], "accounts": [CLIENT], "begin_date": "2016-06-01"}
    desk.jobs["jobs"].append(years)
    backfill = fine._replace(run=75, gate=75, sentence="20 of 21 accounts complete, 0 late")
    first, second = desk.noon(), desk.noon()
    assert (first.backfill, second.backfill) == (4_496, 1_717)
    assert [each._replace(backfill=0) for each in (first, second)] == [backfill, backfill]
    assert desk.noon() == Noon(0, [], 0, [], [], 21, "21 of 21 accounts complete, 0 late")

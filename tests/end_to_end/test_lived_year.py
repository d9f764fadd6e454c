"""Daily runs through lives of WeChat's: late days, corrections, holes, holidays, kills, outages.

No row of any life is lost, wrong or invented, and a hole is said while it lasts: by day for a small
life, by night for larger ones.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.nights import by_night
from tests.support.wechat_life import Fill

FEW = ["user_summary", "user_cumulate", "interface_summary_hour"]
ORDERS = [fill.value for fill in Fill]
SAID = "empty_everywhere"
"""The problem that a run tells of days that are empty for all accounts."""


def lived(folder: Path, **scope: Any) -> dict[str, Any]:
    """Return the report of a life that another process lived, because runs are forked there."""
    given = json.dumps({**scope, "folder": str(folder)})
    command = [sys.executable, "-m", "tests.support.lived_year", given]
    done = subprocess.run(command, capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, Any] = json.loads(done.stdout)
    check(found)
    return found


def check(life: dict[str, Any]) -> None:
    """Check that no row is lost or wrong, and that no run by a doubtful clock ends with 0."""
    assert life["bugs"] == 0
    assert (life["missing"], life["wrong"]) == (0, 0), (life["lost"], life["spoilt"])
    assert life["extra"] == 0
    assert set(life["codes"]) <= {"0", "3", "75", "76", "killed"}
    assert not life["attention"]["hidden"]
    assert life["last_codes"][-1] == "0"
    apart = ("machine", "Date of all")
    clocks = [event for event in life["events"] if event["what"].startswith(apart)]
    assert not [event for event in clocks if "0" in event["codes"]]


def check_said(life: dict[str, Any]) -> None:
    """Check that a hole of all accounts is said from its first run on, which ends with 75."""
    hole = next(event for event in life["events"] if event["what"].startswith("hole"))
    runs = [run for run in life["runs"] if run[0] > hole["begin"] and run[1] != "killed"]
    assert SAID in runs[0][2]
    assert runs[0][1] == "75"


@pytest.mark.slow
def test_a_life_of_some_weeks(tmp_path: Path) -> None:
    """Twelve accounts, a hole of three days, a killed run, an outage, a lost secret."""
    life = lived(tmp_path, accounts=12, days=45, hole=3, datasets=FEW)
    assert {"killed", "75"} <= set(life["codes"])
    told = {event["what"]: event for event in life["events"]}
    assert "unreachable" in told["outage"]["said"]
    assert told["lost secret"]["missing"] == 0
    check_attention(life)


NEEDS_A_PERSON = re.compile(r"refused/\w+/40125|clock|empty_everywhere/\w+")


def check_attention(life: dict[str, Any]) -> None:
    """Check that a person is called for what needs one, in time, and for nothing else."""
    days, begins = life["attention"]["days"], 0
    for event in life["events"]:
        runs = [run for run in life["runs"] if event["begin"] < run[0] <= event["end"]]
        if event["what"] == "lost secret":
            begins += 1
            first = next(run[0] for run in runs if "refused" in run[2])
            assert first in {day for key in days if key.endswith("/40125") for day in days[key]}
        elif event["what"].startswith(("machine", "Date", "hole")):
            begins += 1
    assert [key for key in days if not NEEDS_A_PERSON.fullmatch(key)] == []
    assert life["attention"]["new_days"] <= 2 * begins


@pytest.mark.slow
@pytest.mark.timeout(6 * 3600)
@pytest.mark.parametrize("fill", ORDERS)
def test_a_year_of_forty_accounts(tmp_path: Path, fill: str) -> None:
    """Four holes, two holidays, and each trouble of a run some ten times."""
    life = lived(tmp_path, accounts=40, days=400, fill=fill)
    # Of the articles alone three days in four are empty and are asked at four ages.
    assert life["without_news"] <= 0.40, life["news_by_dataset"]
    assert life["memory_growth"] <= 1.1
    check_attention(life)


@pytest.mark.timeout(6 * 3600)
@pytest.mark.parametrize(
    ("accounts", "hole", "fill"),
    by_night(
        (accounts, hole, fill)
        for accounts, holes in ((6, (1, 3, 9, 28)), (300, (3, 28)))
        for hole in holes
        for fill in ORDERS
    ),
)
def test_an_empty_stretch_of_all_accounts(
    tmp_path: Path, accounts: int, hole: int, fill: str
) -> None:
    """WeChat answers nothing about some days, and fills them later."""
    days = 20 + 2 * hole + 40
    life = lived(
        tmp_path, story="hole", accounts=accounts, days=days, hole=hole, fill=fill, datasets=FEW
    )
    check_said(life)


SHARED = {"shards": 2, "buckets": 4}


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    "more",
    by_night(
        [
            {"accounts": 6, "hole": 3, "kills": True},
            {"accounts": 6, "hole": 28, "kills": True, "fill": Fill.NEWEST_FIRST.value},
            # Of each shard there are more than five accounts.
            {"accounts": 24, "hole": 9, **SHARED},
            {"accounts": 24, "hole": 9, "kills": True, **SHARED},
            {"accounts": 1, "hole": 3},
            {"accounts": 6, "hole": 3, "alone": True},
            {"accounts": 6, "hole": 3, "alone": True, "kills": True, **SHARED},
            {"accounts": 40, "hole": 9, "alone": True, "fill": Fill.NEWEST_FIRST.value},
        ]
    ),
)
def test_an_empty_stretch_in_other_circumstances(tmp_path: Path, more: dict[str, Any]) -> None:
    """With shards, with runs that are killed between asking and publishing, and of one account."""
    lived(tmp_path, story="hole", days=100, datasets=FEW, **more)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_holiday_costs_little(tmp_path: Path) -> None:
    """Eight days without rows of all accounts cost few calls, and the code is 75 on one of them."""
    calm, holiday = (
        lived(tmp_path, story=story, accounts=40, days=120) for story in ("calm", "holiday")
    )
    assert calm["codes"] == {"0": 122}
    assert holiday["calls"] <= 1.02 * calm["calls"]
    assert holiday["codes"] == {"0": 121, "75": 1}

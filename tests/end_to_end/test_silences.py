"""Silences of WeChat's: rows that a house lacks after each run, in short stories and in a life.

`benchmarks silence` lives the whole life. Here are the stories, a small life, and its foundations.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harvester.core.calendar import month_of, today
from tests.support import silence_scenes as scenes
from tests.support.life_stories import Scope, Trouble, story_of
from tests.support.silence_scenes import Morning
from tests.support.silence_watch import MonthMasks, Watch
from tests.support.silent_life import OTHER, SILENT, SilentLife
from tests.support.silent_year import scope_of


def lacking_under_0(mornings: list[Morning], begin: int) -> list[int]:
    """Return the rows that are missing after each run that ends with 0, from one run on."""
    return [each.missing for each in mornings[begin:] if each.exit_code == 0 and each.missing]


@pytest.mark.long
def test_a_silent_backfill_loses_no_row(tmp_path: Path) -> None:
    """WeChat answers nothing in the hour of the first run alone."""
    mornings = scenes.silent_backfill(tmp_path, 4)
    assert mornings[0].missing
    assert not lacking_under_0(mornings, begin=1)
    assert mornings[-1].missing == 0


@pytest.mark.long
def test_a_newcomer_beside_others_loses_no_row(tmp_path: Path) -> None:
    """All answers of a new account are empty in the hour of its first run."""
    mornings = scenes.silent_newcomer(tmp_path, 6)
    assert mornings[2].missing
    assert not lacking_under_0(mornings, begin=3)
    assert mornings[-1].missing == 0


@pytest.mark.long
def test_answers_that_are_empty_by_chance_lose_no_row(tmp_path: Path) -> None:
    """3% of the answers are empty by chance."""
    mornings = scenes.empty_by_chance(tmp_path, 4)
    assert not lacking_under_0(mornings, begin=1)
    assert mornings[-1].missing == 0


@pytest.mark.long
def test_all_accounts_get_the_days_of_an_outage(tmp_path: Path) -> None:
    """Two days come four days late for all accounts at once."""
    mornings = scenes.outage(tmp_path, 9)
    assert not lacking_under_0(mornings, begin=1)
    assert mornings[-1].missing == 0


@pytest.mark.long
def test_an_empty_house_is_never_complete(tmp_path: Path) -> None:
    """No answer of any account ever has a row."""
    assert [each.exit_code for each in scenes.empty_house(tmp_path)] == [75, 75, 76, 76, 76]


def lived(folder: Path, **scope: Any) -> dict[str, Any]:
    """Return the report of a life that another process lived, because runs are forked there."""
    given = json.dumps({**scope, "folder": str(folder)})
    command = [sys.executable, "-m", "tests.support.silent_year", given]
    done = subprocess.run(command, capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def check(life: dict[str, Any]) -> None:
    """Check that no row is invented, and that no day lacks rows without a fault of WeChat's."""
    assert life["bugs"] == 0
    assert life["rows_extra"] == 0
    assert {*life["rows_missing"], *life["rows_wrong"]} <= {
        "whole days",
        "partial hours",
        "corrected",
    }
    assert OTHER not in life["by_kind"]


@pytest.mark.long
def test_a_small_life_of_silences(tmp_path: Path) -> None:
    """Its faults are the same whatever was asked before: the life is lived twice.

    After its last age no day lacks its rows.
    """
    size = {"accounts": 4, "days": 12, "backfill": 20, "settling": [1, 29]}
    once, twice = (lived(tmp_path, **size) for _ in range(2))
    check(once)
    assert once["lacking"] > 0
    ends = "seconds", "runs"
    assert {**once, **dict.fromkeys(ends)} == {**twice, **dict.fromkeys(ends)}


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_life_of_silences(tmp_path: Path) -> None:
    """Eight accounts and 45 mornings with all faults."""
    check(lived(tmp_path, accounts=8, days=45))


# The foundations of the life, and its judge.

_SCOPE = scope_of({})


def life() -> SilentLife:
    """Return the whole life."""
    found = story_of(_SCOPE).life
    assert isinstance(found, SilentLife)
    return found


def count_of(whole: SilentLife, dataset: str, appid: str, day: int, name: str) -> int:
    """Return the sum of a number of all rows of a day."""
    rows = [{**row, **row.get("detail", {})} for row in whole.truth(dataset, appid, day)]
    return sum(row[name] for row in rows)


GUIDED = {
    "interface_summary_hour": ("interface_summary", "callback_count"),
    "upstream_msg_hour": ("upstream_msg", "msg_count"),
    "article_read": ("biz_summary", "read_user"),
    "article_share": ("biz_summary", "share_user"),
    "article_total_detail": ("biz_summary", "send_page_count"),
}


def test_guides_agree_with_their_tables_but_for_liars() -> None:
    """A count above 0 stands for rows, and the sum of hours is the count of their day."""
    whole, liars = life(), set()
    whole.until = -math.inf
    days = range(_SCOPE.first, _SCOPE.last, 7)
    for dataset, (guide, name) in GUIDED.items():
        for appid in whole.appids:
            for day in days:
                told = count_of(whole, guide, appid, day, name)
                rows = whole.truth(dataset, appid, day)
                agrees = bool(told) == bool(rows)
                if dataset.endswith("_hour") and not whole.is_partial(dataset, appid, day):
                    agrees &= told == count_of(whole, dataset, appid, day, name)
                if not agrees:
                    liars.add(appid)
    assert len(liars) == len(whole.appids) // 20
    assert {appid for appid in whole.appids if whole.role(appid).lies} == liars


def test_every_fault_of_the_life_happens() -> None:
    """Each kind of silence delays days, and each kind of trouble hits a morning."""
    whole = life()
    days = range(_SCOPE.first, _SCOPE.last)
    kinds = {
        whole.delay(name, appid, day)[1]
        for name in SILENT
        for appid in whole.appids
        for day in days
    }
    assert kinds == {"", "late", *(silence.kind for silence in whole.silences)}
    assert len(whole.silences) == 3
    troubles = story_of(_SCOPE).troubles.values()
    for name in ("is_skipped", "kill", "kill_publishing", "budget", "skew"):
        assert any(getattr(each, name) for each in troubles)
    assert any(each.dates.seconds for each in troubles)


def test_the_judge_counts_what_a_whole_run_could_have() -> None:
    """A day counts from the morning of a whole run after its rows appeared, until it has rows."""
    scope = Scope(
        accounts=1, days=3, datasets=("user_cumulate",), story="established", settling=(1,)
    )
    whole = story_of(scope).life
    assert isinstance(whole, SilentLife)
    watch, first = Watch(scope, whole), scope.first
    [appid] = whole.appids
    watch.look(first, Trouble(is_skipped=True), None)
    assert (sum(watch.lacking.values()), watch.excused) == (0, 31)
    every = (1 << 31) - 1
    watch.read([MonthMasks("user_cumulate", month_of(first - 1), {appid: (every, every)})])
    assert today(whole.appears_at("user_cumulate", appid, first)) == first + 1
    watch.look(first + 1, Trouble(is_skipped=True), None)
    assert watch.excused == 32
    assert [each.day for each in watch.lost()] == [first, first + 1]

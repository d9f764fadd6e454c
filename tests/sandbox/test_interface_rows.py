from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.catalogue import CATALOGUE
from harvester.core.calendar import FIRST_DAY, parse_day
from harvester.sandbox.data import expected_rows
from tests.support.sandboxes import BUSY, QUIET

appids = st.integers(0, 2**64 - 1).map(lambda number: f"wx{number:016x}")
days = st.integers(FIRST_DAY, FIRST_DAY + 5_000)

MONDAY = parse_day("2024-06-03")


def callbacks(appid: str, day: int) -> int:
    """Return the number of callbacks of an account's day."""
    return sum(row["callback_count"] for row in expected_rows("interface_summary", appid, day))


def digest_of_the_past() -> str:
    """Return a digest of a few hundred rows, 16 letters long."""
    rows = [
        expected_rows(dataset, f"wx{number:016x}", MONDAY - 85 * number)
        for number in range(40)
        for dataset in ("interface_summary", "interface_summary_hour")
    ]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16]


def test_rows_look_as_wechat_sends_them() -> None:
    """Rows have WeChat's members in WeChat's order, and ref_hour is the hour times a hundred."""
    first, *_, last = expected_rows("interface_summary_hour", BUSY, MONDAY)
    assert list(first) == [c.name for c in CATALOGUE["interface_summary_hour"].columns]
    assert (first["ref_date"], first["ref_hour"], last["ref_hour"]) == ("2024-06-03", 0, 2300)
    (day,) = expected_rows("interface_summary", BUSY, MONDAY)
    assert list(day) == [c.name for c in CATALOGUE["interface_summary"].columns]


def test_the_past_never_changes() -> None:
    """These rows are the same on every machine and under every version of Python and harvester."""
    assert digest_of_the_past() == "437c91b421fab60e"


def test_the_past_is_the_same_in_every_process() -> None:
    """Another process with another hash seed sees the same rows."""
    code = "from tests.sandbox.test_interface_rows import digest_of_the_past as f; print(f())"
    root = Path(__file__).parents[2]
    printed = subprocess.check_output([sys.executable, "-c", code], text=True, cwd=root)
    assert printed.split() == [digest_of_the_past()]


@given(appids, days)
def test_the_day_is_the_sum_of_its_hours(appid: str, day: int) -> None:
    """The daily row adds up the hourly ones and takes their maximum; no hours, no row."""
    hours = expected_rows("interface_summary_hour", appid, day)
    rows = expected_rows("interface_summary", appid, day)
    assert bool(rows) == bool(hours)
    for row in rows:
        for column in ("callback_count", "fail_count", "total_time_cost"):
            assert row[column] == sum(hour[column] for hour in hours)
        assert row["max_time_cost"] == max(hour["max_time_cost"] for hour in hours)


@given(appids, days)
def test_every_hour_is_plausible(appid: str, day: int) -> None:
    """Each hour once and in order, with traffic, no more failures than calls, times that fit."""
    hours = expected_rows("interface_summary_hour", appid, day)
    numbers = [hour["ref_hour"] for hour in hours]
    assert numbers == sorted(set(numbers))
    assert set(numbers) <= set(range(0, 2400, 100))
    for hour in hours:
        count, longest = hour["callback_count"], hour["max_time_cost"]
        assert 0 <= hour["fail_count"] <= count
        assert 0 < longest <= hour["total_time_cost"] <= count * longest
        assert longest < 5_050
        assert count > 0


def test_traffic_follows_week_and_night() -> None:
    """A busy account sleeps at night and rests at one end of the week."""
    hours = expected_rows("interface_summary_hour", BUSY, MONDAY)
    assert hours[4]["callback_count"] * 5 < hours[20]["callback_count"]
    week = [callbacks(BUSY, day) for day in range(MONDAY, MONDAY + 70)]
    weekends = sum(count for n, count in enumerate(week) if n % 7 >= 5) / 2
    workdays = sum(count for n, count in enumerate(week) if n % 7 < 5) / 5
    assert not 0.8 < weekends / workdays < 1.2


def test_accounts_grow() -> None:
    """Ten years later a busy account has more traffic."""
    then = sum(callbacks(BUSY, FIRST_DAY + n) for n in range(28))
    now = sum(callbacks(BUSY, FIRST_DAY + 3_640 + n) for n in range(28))
    assert now > then


def test_accounts_differ_in_size() -> None:
    """Among forty accounts the biggest has ten thousand times the traffic of the smallest."""
    sizes = [
        sum(callbacks(f"wx{number:016x}", day) for day in range(MONDAY, MONDAY + 28))
        for number in range(60)
    ]
    assert max(sizes) > 10_000 * min(sizes)


def test_quiet_accounts_have_gaps() -> None:
    """A quiet account has days without a row and hours without a row."""
    counts = [
        len(expected_rows("interface_summary_hour", QUIET, day))
        for day in range(MONDAY, MONDAY + 60)
    ]
    assert 0 in counts
    assert 0 < max(counts) < 24


def test_unknown_datasets_have_no_past() -> None:
    """Rows of a dataset that is not in the catalogue raise KeyError."""
    with pytest.raises(KeyError):
        expected_rows("interface_sumary", BUSY, MONDAY)

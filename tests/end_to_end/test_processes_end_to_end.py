"""`run --processes` through a platform, into an object store, and with a shard that is locked."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import duckdb
import pytest

import harvester
from harvester.storage import locks
from harvester.verbs.project import open_project
from tests.end_to_end.test_platform_end_to_end import (
    ACCOUNTS,
    FROM_A_FILE,
    FROM_THE_PLATFORM,
    SECRET,
    platform_world,
)
from tests.support.claims import claim
from tests.support.counting_wechat import StrictRules
from tests.support.emulated_platform import (
    AUTHORIZER_LIST_PATH,
    AUTHORIZER_TOKEN_PATH,
    COMPONENT_TOKEN_PATH,
)
from tests.support.run_harness import BOTH, DAILY, columns, days_between, expected
from tests.support.shared_runs import Workplace, workplace
from tests.support.store_backends import output_in


@pytest.mark.parametrize(
    "accounts",
    [
        pytest.param(FROM_THE_PLATFORM, id="list"),
        pytest.param(FROM_A_FILE, id="file", marks=pytest.mark.slow),
    ],
)
def test_the_platform_is_asked_once_for_all_processes(tmp_path: Path, accounts: str) -> None:
    """One token of its own, at most one list, and one refresh of each account."""
    with platform_world(tmp_path, accounts) as world:
        file = tmp_path / "jobs.yaml"
        file.write_text(file.read_text() + "output: {path: output, buckets: 8}\n")
        command = [sys.executable, "-m", "harvester", "run", "jobs.yaml", "--processes", "2"]
        done = subprocess.run(
            [*command, "--log-level", "debug"],
            cwd=tmp_path,
            env={**os.environ, "PLATFORM_SECRET": SECRET, "PYTHONPATH": str(Path.cwd())},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    paths = world.counters.paths
    assert paths[COMPONENT_TOKEN_PATH] == 1
    assert paths[AUTHORIZER_LIST_PATH] == (accounts is FROM_THE_PLATFORM)
    assert paths[AUTHORIZER_TOKEN_PATH] == len(ACCOUNTS)
    assert not world.counters.errcodes
    assert SECRET not in done.stderr
    out = harvester.open(tmp_path / "output")
    assert out.arrow(DAILY).count_rows() == int(out.runs().column("rows")[0].as_py())


@pytest.mark.long
def test_two_processes_write_to_an_object_store(
    tmp_path: Path, s3_address: str, s3_keys: None
) -> None:
    """One record, its changes and every row; a second run has nothing to do."""
    store = output_in(s3_address)
    with workplace(tmp_path) as place:
        place.options = {
            "output": {"path": str(store.path), "endpoint": store.endpoint, "buckets": 4}
        }
        found = harvester.run(place.manifest(), processes=2)
        again = harvester.run(place.manifest(), processes=2)
    assert (found.outcome, found.rows) == ("complete", place.expected_rows())
    assert (again.outcome, again.requests) == ("complete", 0)
    out = harvester.open(str(store.path), endpoint=store.endpoint)
    assert out.arrow(DAILY).count_rows() == found.rows
    assert out.verify().undamaged
    assert [run["run_id"] for run in out.runs().to_pylist()] == [found.run_id, again.run_id]


def test_the_summary_names_the_shard_that_is_missing(tmp_path: Path) -> None:
    """Beside the figures of the others; 76, because the other run has held it for months."""
    with workplace(tmp_path) as place:
        tree = open_project(place.path()).tree
        with locks.hold(tree, [1], claim("other", "2026-01-01T00:00:00Z")):
            run = place.start()
            _, err = run.communicate()
    assert run.returncode == 76
    assert "\n  shard 2/2: 0001-of-0004: another run works on this bucket: " in err
    assert "\nunfinished: run again " in err


def run_at_once(place: Workplace, output: Path, runs: Sequence[Sequence[str]]) -> list[str]:
    """Run commands at the same time, all of which must end with 0; return what each one said."""
    place.world.reset()
    begun = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "harvester", "run", str(place.path())),
                *("--output", str(output), "--progress", "none", *options),
            ],
            env={**os.environ, "PYTHONPATH": str(Path.cwd())},
            stderr=subprocess.PIPE,
            text=True,
        )
        for options in runs
    ]
    told = [run.communicate()[1] for run in begun]
    assert [run.returncode for run in begun] == [0] * len(begun), told
    return told


@pytest.mark.slow
def test_two_thousand_accounts_in_processes_and_in_shards(
    tmp_path: Path, duck: duckdb.DuckDBPyConnection
) -> None:
    """Two datasets of a month: each row and each call once, no rate exceeded, either way.

    In one command with two processes, and as four shards at the same time.
    """
    ways = {
        "processes": [["--processes", "2"]],
        "shards": [["--shard", f"{number}/4"] for number in range(1, 5)],
    }
    with workplace(tmp_path, StrictRules(window_limit=(10, 1.0), latency=0.02)) as place:
        place.accounts, place.days = 2_000, ("2026-03-01", "2026-03-30")
        job = {"datasets": [*BOTH], "begin_date": place.days[0], "end_date": place.days[1]}
        place.options = {"jobs": [job], "limits": {}, "output": {"path": "out", "buckets": 8}}
        for name, runs in ways.items():
            told = run_at_once(place, tmp_path / name, runs)
            assert all(text.count("complete: everything wanted is covered") == 1 for text in told)
            assert place.calls() == place.accounts * (1 + 30)
            assert not place.world.counters.errcodes
            assert max(place.world.peak_load().values()) <= 10
            assert len(list((tmp_path / name / "_harvester/runs").glob("*.json"))) == len(runs)
    days = days_between(*place.days)
    for dataset in BOTH:
        names = ", ".join(columns(dataset))
        for first in range(0, place.accounts, 250):
            group = place.appids[first : first + 250]
            truth = expected(dataset, group, days)
            for name in ways:
                files = f"read_parquet('{tmp_path / name / dataset}/ref_month=*/*.parquet')"
                query = f"select {names} from {files} where appid between ? and ?"
                rows = duck.execute(query, [group[0], group[-1]]).fetchall()
                assert sorted(rows) == truth

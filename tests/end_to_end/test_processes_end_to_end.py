"""`run --processes` through a platform, into an object store, and with a shard that is locked."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import harvester
from harvester.operations.project import open_project
from harvester.sandbox.platform import (
    AUTHORIZER_LIST_PATH,
    AUTHORIZER_TOKEN_PATH,
    COMPONENT_TOKEN_PATH,
)
from harvester.storage import locks
from tests.end_to_end.test_platform_end_to_end import (
    ACCOUNTS,
    FROM_A_FILE,
    FROM_THE_PLATFORM,
    SECRET,
    platform_world,
)
from tests.support.run_harness import DAILY
from tests.support.shared_runs import workplace
from tests.support.store_backends import output_in


@pytest.mark.parametrize("accounts", [FROM_THE_PLATFORM, FROM_A_FILE], ids=["list", "file"])
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
    """Beside the figures of the others; 75, because the other run will end."""
    with workplace(tmp_path) as place:
        tree = open_project(place.path()).tree
        with locks.hold(tree, [1], run_id="other", since="2026-01-01T00:00:00Z"):
            run = place.start()
            _, err = run.communicate(timeout=60)
    assert run.returncode == 75
    assert "\n  shard 2/2: 0001-of-0004: another run works on this bucket: " in err
    assert "\nunfinished: run again " in err

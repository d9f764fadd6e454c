"""The examples for Airflow, run in environments of their own: retries at the right moment."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import harvester
from harvester.testing import Sandbox, sandbox
from tests.support.doc_pages import ROOT
from tests.support.example_tools import (
    AIRFLOW,
    AIRFLOW_2,
    absent_lines,
    needs_airflow,
    needs_airflow_2,
)

EXAMPLE = ROOT / "examples/airflow"

# Runs a DAG until nothing is left to do at this moment, and prints its tasks as JSON.
PROGRAM = '''
import json, sys, time
from airflow.utils import db

file, dag_id = sys.argv[1:]
db.initdb()
try:
    from airflow.dag_processing.dagbag import DagBag
except ImportError:
    from airflow.models.dagbag import DagBag
try:
    bag = DagBag(file)
except TypeError:
    bag = DagBag(file, include_examples=False)
assert not bag.import_errors, bag.import_errors
dag = bag.dags[dag_id]


class Waiting(Exception):
    """Nothing can be run now."""


def wait(seconds, sleep=time.sleep):
    if sys._getframe(1).f_code.co_name == "test":
        raise Waiting
    sleep(seconds)


time.sleep = wait
try:
    dag.test()
except Waiting:
    pass

from airflow.models.taskinstance import TaskInstance
from airflow.models.taskreschedule import TaskReschedule
from airflow.utils.session import create_session

found = []
with create_session() as session:
    for ti in session.query(TaskInstance).filter(TaskInstance.dag_id == dag_id):
        delay = getattr(ti, "retry_delay_override", None)
        found.append({
            "task": ti.task_id,
            "state": str(ti.state and getattr(ti.state, "value", ti.state)),
            "at": delay and ti.next_retry_datetime().isoformat(),
        })
    moments = [row.reschedule_date.isoformat() for row in session.query(TaskReschedule)]
print("FOUND", json.dumps({"tasks": found, "reschedules": moments, "dags": sorted(bag.dags)}))
'''


def run_dag(python: str, file: str, dag_id: str, wechat: Sandbox, folder: Path) -> dict[str, Any]:
    """Run a DAG with an Airflow, and return the tasks that it left, and their log."""
    manifest = wechat.manifest(["interface_summary"], output=str(folder / "output"))
    manifest["output"] = {"path": manifest["output"], "buckets": 4}
    (folder / "jobs.yaml").write_text(json.dumps(manifest))
    (folder / "program.py").write_text(PROGRAM)
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "HOME": str(folder),
        "AIRFLOW_HOME": str(folder / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(EXAMPLE),
        "WECHAT_MANIFEST": str(folder / "jobs.yaml"),
        "WECHAT_HARVESTER": str(Path(sys.executable).with_name("harvester")),
    }
    command = [f"{python}/bin/python", str(folder / "program.py"), str(EXAMPLE / file), dag_id]
    done = subprocess.run(
        command, env=environ, capture_output=True, text=True, check=False, timeout=280
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("FOUND ")]
    assert lines, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(lines[-1].removeprefix("FOUND "))
    return {**found, "log": done.stdout + done.stderr}


def is_after_midnight(moment: str) -> bool:
    """Test whether a moment is five minutes after the next midnight in Beijing."""
    at = datetime.fromisoformat(moment).astimezone(UTC)
    now = datetime.fromtimestamp(time.time(), UTC)
    wanted = now.replace(hour=16, minute=5, second=0, microsecond=0)
    wanted += timedelta(days=1) if now.hour >= 16 else timedelta()
    return abs(at - wanted) < timedelta(seconds=30)


@pytest.mark.parametrize("file", ["retry_policy_dags.py", "sensor_dags.py"])
def test_a_file_has_both_schedules(file: str) -> None:
    """The last days twice a day, and a backfill that begins when quotas are new."""
    tree = ast.parse((EXAMPLE / file).read_text())
    schedules = {
        ast.unparse(word.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "dag"
        for word in node.keywords
        if word.arg == "schedule"
    }
    assert schedules == {"'40 2,6 * * *'", "'10 16 * * *'"}


def test_the_policy_is_five_statements() -> None:
    """It reads the moment of the error, and needs to know nothing else."""
    tree = ast.parse((EXAMPLE / "retry_policy_dags.py").read_text())
    [policy] = [node for node in ast.walk(tree) if getattr(node, "name", "") == "evaluate"]
    assert isinstance(policy, ast.FunctionDef)
    inner = [node for node in ast.walk(policy) if isinstance(node, ast.stmt)]
    assert len(inner) - 1 <= 5


DAILY = [
    pytest.param(AIRFLOW, "retry_policy_dags.py", "wechat_daily", marks=needs_airflow),
    pytest.param(AIRFLOW_2, "sensor_dags.py", "wechat_daily_by_sensor", marks=needs_airflow_2),
]


@pytest.mark.slow
@pytest.mark.parametrize(("python", "file", "dag_id"), DAILY)
def test_the_daily_harvest_ends_at_once(
    python: str, file: str, dag_id: str, tmp_path: Path
) -> None:
    """One task per shard, and a gate after them; the last days are there."""
    with sandbox(accounts=4) as wechat:
        found = run_dag(python, file, dag_id, wechat, tmp_path)
        assert [task["state"] for task in found["tasks"]] == ["success"] * 3
        assert wechat.server.calls.total() == 4
    rows = harvester.open(tmp_path / "output").arrow("interface_summary").count_rows()
    assert 0 < rows <= 4 * 3


BACKFILL = [
    pytest.param(AIRFLOW, "retry_policy_dags.py", "wechat_backfill", marks=needs_airflow),
    pytest.param(AIRFLOW_2, "sensor_dags.py", "wechat_backfill_by_sensor", marks=needs_airflow_2),
]


@pytest.mark.slow
@pytest.mark.parametrize(("python", "file", "dag_id"), BACKFILL)
def test_a_backfill_waits_for_quota(python: str, file: str, dag_id: str, tmp_path: Path) -> None:
    """Each shard is asked again five minutes after midnight in Beijing, and no sooner."""
    with sandbox(accounts=8) as wechat:
        wechat.fail("*", 45009)
        found = run_dag(python, file, dag_id, wechat, tmp_path)
        states = {task["state"] for task in found["tasks"]}
        if "reschedule" in str(states):
            assert states == {"up_for_reschedule"}
            moments = found["reschedules"]
        else:
            assert states == {"up_for_retry"}
            moments = [task["at"] for task in found["tasks"]]
        assert len(moments) == 2
        assert all(map(is_after_midnight, moments)), moments


@needs_airflow
@pytest.mark.slow
def test_a_backfill_that_no_run_completes_fails(tmp_path: Path) -> None:
    """Refused accounts end it, and no retry is spent; its log says which, why, and what to do."""
    with sandbox(accounts=8) as wechat:
        wechat.fail("*", 48001)
        found = run_dag(AIRFLOW, "retry_policy_dags.py", "wechat_backfill", wechat, tmp_path)
        assert {task["state"] for task in found["tasks"]} == {"failed"}
    assert not [*absent_lines(EXAMPLE / "README.md", found["log"])]

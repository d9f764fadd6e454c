"""The example for Dagster, run in a virtual environment of its own."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from harvester.testing import Sandbox, sandbox
from tests.support.doc_pages import ROOT
from tests.support.example_tools import DAGSTER, absent_lines, needs_dagster

# Materialises the selected assets, and prints what Dagster knows of them afterwards.
PROGRAM = """
import json, sys
import dagster as dg
import definitions

selection = sys.argv[1:] or None
done = dg.materialize(
    [definitions.wechat],
    instance=dg.DagsterInstance.ephemeral(),
    selection=selection,
    raise_on_error=False,
)
found = {
    event.asset_key.to_user_string(): {
        name: value.value for name, value in event.materialization.metadata.items()
    }
    for event in done.get_asset_materialization_events()
}
checks = {
    event.asset_key.to_user_string(): event.passed for event in done.get_asset_check_evaluations()
}
retries = sum(event.event_type_value == "STEP_UP_FOR_RETRY" for event in done.all_events)
schedules = [each.name for each in definitions.defs.get_repository_def().schedule_defs]
told = {"success": done.success, "assets": found, "checks": checks, "retries": retries}
print("FOUND", json.dumps({**told, "schedules": schedules}))
"""


def materialise(wechat: Sandbox, folder: Path, *names: str) -> dict[str, Any]:
    """Materialise assets of two datasets, and return what Dagster knows of them, and its log."""
    manifest = wechat.manifest(["interface_summary", "user_summary"], output=str(folder / "output"))
    (folder / "jobs.yaml").write_text(json.dumps(manifest))
    (folder / "program.py").write_text(PROGRAM)
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "PYTHONPATH": f"{ROOT}:{ROOT / 'examples/dagster'}",
        "WECHAT_MANIFEST": str(folder / "jobs.yaml"),
        "DAGSTER_DISABLE_TELEMETRY": "yes",
    }
    command = [f"{DAGSTER}/bin/python", str(folder / "program.py"), *names]
    done = subprocess.run(
        command, env=environ, capture_output=True, text=True, check=False, timeout=280
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("FOUND ")]
    assert lines, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(lines[-1].removeprefix("FOUND "))
    return {**found, "log": done.stdout + done.stderr}


pytestmark = [needs_dagster, pytest.mark.slow]


def test_each_dataset_is_an_asset(tmp_path: Path) -> None:
    """With what the run did to it; one of them can be materialised by itself."""
    with sandbox(accounts=2) as wechat:
        first = materialise(wechat, tmp_path, "user_summary")
        assert first["success"]
        assert list(first["assets"]) == ["user_summary"]
        found = materialise(wechat, tmp_path)
        calls = wechat.server.calls.total()
    assert found["success"]
    assert found["schedules"] == ["wechat_daily"]
    assert found["checks"] == {"interface_summary": True, "user_summary": True}
    told = found["assets"]["interface_summary"]
    assert (told["outcome"], told["accounts"]) == ("complete", 2)
    # Yesterday is wanted from the hour on at which WeChat has it.
    assert told["days_wanted"] in (58, 60)
    assert told["days_missing"] == 0
    assert told["files_replaced"] == len(told["months_replaced"].split(", "))
    assert told["new_rows"] > 0
    # The other one was whole already.
    assert found["assets"]["user_summary"]["new_rows"] == 0
    assert calls == 2 * (1 + 5)


def test_refused_accounts_fail_the_step(tmp_path: Path) -> None:
    """The other asset is there all the same; the check of this one says what is missing.

    The log says whose it is, why, and what to do.
    """
    with sandbox(accounts=2) as wechat:
        wechat.fail(wechat.accounts[0], 48001, dataset="user_summary")
        found = materialise(wechat, tmp_path)
    assert not found["success"]
    assert found["checks"] == {"interface_summary": True, "user_summary": False}
    told = found["assets"]["user_summary"]
    assert told["days_missing"] == told["days_wanted"] / 2 in (29, 30)
    assert not [*absent_lines(ROOT / "examples/dagster/README.md", found["log"])]


def test_a_spent_quota_is_left_to_the_next_tick(tmp_path: Path) -> None:
    """No step waits until midnight."""
    with sandbox(accounts=2) as wechat:
        wechat.fail("*", 45009)
        found = materialise(wechat, tmp_path)
    assert found["success"]
    assert found["retries"] == 0
    assert found["checks"] == {"interface_summary": False, "user_summary": False}

"""The example for GitHub Actions: its shards, its commands, its outputs."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import harvester
from harvester.cli import app
from harvester.core.exit_codes import Exit
from harvester.testing import sandbox
from tests.support.doc_pages import ROOT
from tests.support.example_tools import needs_tools, tool

WORKFLOW = ROOT / "examples/github-actions/harvest.yml"


def jobs() -> dict[str, Any]:
    """Return the jobs of the workflow."""
    found: dict[str, Any] = yaml.safe_load(WORKFLOW.read_text())["jobs"]
    return found


def step(job: str, name: str) -> dict[str, Any]:
    """Return a step of a job by its id."""
    [found] = [step for step in jobs()[job]["steps"] if step.get("id") == name]
    assert isinstance(found, dict)
    return found


def test_the_matrix_has_every_shard_once() -> None:
    """Each with a group of its own, which no other tick ends."""
    shard = jobs()["shard"]
    names = shard["strategy"]["matrix"]["shard"]
    assert names == [f"{number}/{len(names)}" for number in range(1, len(names) + 1)]
    assert "matrix.shard" in shard["concurrency"]["group"]
    assert shard["concurrency"]["cancel-in-progress"] is False
    assert shard["strategy"]["fail-fast"] is False


def test_actions_are_those_that_this_repository_runs() -> None:
    """Pinned by their commits, and kept up to date with them."""
    ours = (ROOT / ".github/workflows/ci.yml").read_text()
    used = [step["uses"] for job in jobs().values() for step in job["steps"] if "uses" in step]
    assert used
    assert all(f"uses: {each} #" in ours for each in used)


def test_a_step_runs_harvester_by_itself() -> None:
    """The signals of a cancelled job reach it, and its command and variables are known."""
    run = step("shard", "harvest")
    word, *command = shlex.split(run["run"])
    assert word == "exec"
    _, bound, _ = app.parse_args(command[1:], exit_on_error=False, print_error=False)
    assert bound.args
    known = {
        variable
        for argument in app["run"].assemble_argument_collection()
        for variable in argument.parameter.env_var or ()
    }
    assert {name for name in run["env"] if name.startswith("HARVESTER_")} <= known


def test_a_shard_leaves_its_own_summary_on_the_page(tmp_path: Path) -> None:
    """The run writes it, so no step of the example does."""
    assert "GITHUB_STEP_SUMMARY" not in WORKFLOW.read_text()
    page = tmp_path / "page.md"
    with sandbox(accounts=8) as wechat:
        manifest = wechat.manifest(["interface_summary"], output=str(tmp_path / "output"))
        manifest["output"] = {"path": manifest["output"], "buckets": 4}
        (tmp_path / "jobs.yaml").write_text(json.dumps(manifest))
        run = step("shard", "harvest")
        environ = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "GITHUB_ACTIONS": "true",
            "GITHUB_STEP_SUMMARY": str(page),
            **{name: value for name, value in run["env"].items() if "${{" not in value},
            "HARVESTER_SHARD": "2/4",
        }
        command = ["bash", "-e", "-c", run["run"]]
        done = subprocess.run(command, cwd=tmp_path, env=environ, check=False)
    assert done.returncode == Exit.DONE
    assert "## harvester run: nothing is wanted" in page.read_text()
    assert "of shard 2/4: " in page.read_text()


@pytest.mark.parametrize("is_whole", [True, False])
def test_the_last_job_asks_the_files(is_whole: bool, tmp_path: Path) -> None:  # noqa: FBT001
    """Its outputs say whether all is there, and from when on a run obtains more."""
    if not shutil.which("jq"):
        pytest.skip("jq is not installed")
    with sandbox(accounts=2) as wechat:
        manifest = wechat.manifest(["interface_summary"], output=str(tmp_path / "output"))
        if not is_whole:
            wechat.fail("*", 45009)
        harvester.run(manifest)
    (tmp_path / "jobs.yaml").write_text(json.dumps(manifest))
    outputs = tmp_path / "outputs"
    environ = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "GITHUB_OUTPUT": str(outputs),
    }
    # As GitHub starts the shell of a step.
    command = ["bash", "-e", "-c", step("complete", "gate")["run"]]
    done = subprocess.run(command, cwd=tmp_path, env=environ, check=False)
    assert done.returncode == Exit.DONE
    told = dict(line.split("=", 1) for line in outputs.read_text().splitlines())
    assert told["complete"] == ("true" if is_whole else "false")
    assert bool(told["retry_at"]) is not is_whole


@needs_tools
@pytest.mark.slow
@pytest.mark.parametrize("command", [("actionlint",), ("zizmor", "--offline")], ids=" ".join)
def test_the_workflow_has_no_finding(command: tuple[str, ...], tmp_path: Path) -> None:
    """Of two linters, each of which finds the fault of a copy."""
    folder = tmp_path / ".github/workflows"
    folder.mkdir(parents=True)
    text = WORKFLOW.read_text()
    pinned = next(line for line in text.splitlines() if "uses: actions/checkout@" in line)
    faulty = (
        text.replace("runs-on:", "run-on:")
        if command == ("actionlint",)
        else (text.replace(pinned, "      - uses: actions/checkout@main"))
    )
    for given, is_fine in ((text, True), (faulty, False)):
        file = folder / "harvest.yml"
        file.write_text(given)
        done = subprocess.run(
            [tool(command[0]), *command[1:], str(file)], capture_output=True, text=True, check=False
        )
        assert (done.returncode == 0) is is_fine, done.stdout + done.stderr

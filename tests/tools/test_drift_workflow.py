"""The weekly workflow that tells where WeChat's documentation and the catalogue differ."""

from __future__ import annotations

import base64
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOW = yaml.safe_load((ROOT / ".github" / "workflows" / "drift.yml").read_text("utf-8"))
JOBS = WORKFLOW["jobs"]

REPORT = "getusersummary: span: the page says 3, the catalogue 7 days\n1 differences in 21 pages\n"

# It keeps issues as files: the body of the last create or edit, and each command in a log.
GH = """\
#!/bin/bash
echo "$*" >> log.txt
case "$1 $2" in
  "issue list") if [ -f open ]; then echo 7; fi ;;
  "issue create" | "issue edit") touch open; cp body.md told.md ;;
esac
"""


def run_step(step: dict[str, Any], place: Path, **environ: str) -> int:
    """Run a step's script as the runner does, with the programs of a folder first."""
    path = f"{place}:{os.environ['PATH']}"
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
    return subprocess.run(command, cwd=place, env={"PATH": path, **environ}, check=False).returncode


def program(path: Path, text: str) -> None:
    """Write an executable."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    path.chmod(0o755)


def test_it_runs_once_a_week() -> None:
    """On one day of the week, and never twice at a time."""
    [schedule] = WORKFLOW[True]["schedule"]  # YAML reads `on` as true
    minute, hour, day, month, weekday = schedule["cron"].split()
    assert (day, month, len(weekday)) == ("*", "*", 1)
    assert minute.isdigit()
    assert hour.isdigit()
    assert WORKFLOW["concurrency"] == {"group": "drift", "cancel-in-progress": False}


@pytest.mark.parametrize(
    ("code", "expected", "handed_on"), [(0, 0, ""), (3, 0, REPORT), (75, 75, ""), (1, 1, "")]
)
def test_only_a_difference_is_handed_on(
    code: int, expected: int, handed_on: str, tmp_path: Path
) -> None:
    """A difference leads to the next job; a page that was not fetched, or a bug, is a failure."""
    (tmp_path / "report.txt").write_text(REPORT, "utf-8")
    program(tmp_path / ".venv/bin/python", f"#!/bin/bash\ncat report.txt\nexit {code}\n")
    output = tmp_path / "output.txt"
    output.touch()
    [step] = [step for step in JOBS["compare"]["steps"] if step.get("id") == "check"]
    assert run_step(step, tmp_path, GITHUB_OUTPUT=str(output)) == expected
    encoded = output.read_text("utf-8").strip().removeprefix("report=")
    assert base64.b64decode(encoded).decode() == handed_on
    assert JOBS["compare"]["outputs"]["report"] == "${{ steps.check.outputs.report }}"
    assert JOBS["tell"]["if"] == "needs.compare.outputs.report != ''"


def test_one_issue_is_open_at_a_time(tmp_path: Path) -> None:
    """The first week opens an issue, later weeks write its body anew."""
    program(tmp_path / "gh", GH)
    [step] = JOBS["tell"]["steps"]
    for week, report in enumerate([REPORT, f"```\n@everybody\n{REPORT}", REPORT]):
        encoded = base64.b64encode(report.encode()).decode()
        assert run_step(step, tmp_path, REPORT=encoded, TITLE="They differ") == 0
        told = (tmp_path / "told.md").read_text("utf-8")
        assert told.endswith("".join(f"    {line}\n" for line in report.splitlines())), week
    log = (tmp_path / "log.txt").read_text("utf-8").splitlines()
    changes = [line for line in log if line.startswith(("issue create", "issue edit"))]
    assert changes == [
        "issue create --title They differ --label catalogue-drift --body-file body.md",
        "issue edit 7 --body-file body.md",
        "issue edit 7 --body-file body.md",
    ]

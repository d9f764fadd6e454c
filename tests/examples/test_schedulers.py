"""The examples for one machine: what cron mails, and what systemd counts as a failure."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest

from harvester.core.exit_codes import Exit
from harvester.testing import Sandbox, sandbox
from tests.support.doc_pages import ROOT

CRON = ROOT / "examples/cron/harvester.cron"
SYSTEMD = ROOT / "examples/systemd"


def crontab() -> tuple[dict[str, str], str]:
    """Return the variables of the crontab, and the command of its only line."""
    text = CRON.read_text("utf-8")
    variables = dict(re.findall(r"^([A-Z_]+)=(.*)$", text, re.MULTILINE))
    [command] = re.findall(r"^40 2,6 \* \* \* harvester (.*)$", text, re.MULTILINE)
    # cron ends a line at a percent sign that has no backslash before it.
    assert "%" not in command.replace(r"\%", "")
    return variables, command.replace(r"\%", "%")


def mail(wechat: Sandbox, folder: Path) -> str:
    """Run the line as cron does, on an output of its own, and return what would be mailed."""
    variables, command = crontab()
    manifest = folder / "jobs.yaml"
    output = str(folder / "output")
    manifest.write_text(json.dumps(wechat.manifest(["interface_summary"], output=output)))
    assert "/etc/harvester/jobs.yaml" in command
    command = command.replace("/etc/harvester/jobs.yaml", str(manifest))
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    environ = {**variables, "PATH": path, "PYTHONPATH": str(ROOT), "HOME": str(folder)}
    done = subprocess.run(
        ["/bin/sh", "-c", command], env=environ, capture_output=True, text=True, check=True
    )
    assert not done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("errcode", "said"), [(0, ""), (45009, ""), (48001, "48001"), (40125, "40125")]
)
def test_cron_mails_what_needs_a_person(tmp_path: Path, errcode: int, said: str) -> None:
    """A finished run and one that goes on later are silent; a refusal is told with its advice."""
    with sandbox(accounts=2) as wechat:
        if errcode:
            wechat.fail("*", errcode)
        found = mail(wechat, tmp_path)
    assert (said in found) if said else (found == "")


def unit(name: str) -> ConfigParser:
    """Return a unit of systemd."""
    parser = ConfigParser(strict=False, interpolation=None, delimiters=("=",))
    parser.optionxform = str  # type: ignore[method-assign, assignment]
    parser.read(SYSTEMD / name)
    return parser


def test_the_table_of_systemd_says_what_the_unit_does() -> None:
    """Each exit code is there; a success starts no alert."""
    accepted = {0, *map(int, unit("harvester.service")["Service"]["SuccessExitStatus"].split())}
    page = (SYSTEMD / "README.md").read_text("utf-8")
    rows = re.findall(r"^\| ([\d, ]+) \| .* \| (\w+): ?.*\|$|^\| (0) \|", page, re.MULTILINE)
    told = {
        int(code): said or "succeeded"
        for cell, said, nought in rows
        for code in (cell or nought).split(",")
    }
    assert set(told) == {*Exit} - {Exit.SIGINT, Exit.SIGHUP}
    assert {code for code, said in told.items() if said == "succeeded"} == accepted


def test_systemd_gives_a_harvest_time_and_no_right() -> None:
    """The run ends before its unit is killed, and a stopped one has time to publish."""
    service = unit("harvester.service")["Service"]
    assert "--max-duration 3h" in service["ExecStart"]
    assert (service["TimeoutStartSec"], service["TimeoutStopSec"]) == ("4h", "30s")
    assert (service["CapabilityBoundingSet"], service["DynamicUser"]) == ("", "yes")
    assert unit("harvester.service")["Unit"]["OnFailure"] == "harvester-alert.service"


def test_the_service_may_read_the_manifest_that_root_installs() -> None:
    """It runs as a user of its own; the AppSecrets alone are closed to all but root."""
    page = (SYSTEMD / "README.md").read_text("utf-8")
    found = re.findall(r"^install -D -m (\d+) \S+ (\S+)$", page, re.MULTILINE)
    open_to_all = {path: bool(int(mode, 8) & 0o004) for mode, path in found}
    assert open_to_all == {
        "/etc/harvester/jobs.yaml": True,
        "/etc/harvester/secrets/wx0000000000000001": False,
    }


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd-analyze")
def test_systemd_knows_every_line(tmp_path: Path) -> None:
    """No unknown key and no wrong value; a misspelt one is told."""
    for file in SYSTEMD.glob("harvester*"):
        text = file.read_text("utf-8").replace("/opt/harvester/bin/harvester", "/bin/true")
        (tmp_path / file.name).write_text(text.replace("/usr/bin/logger", "/bin/true"))
    files = sorted(map(str, tmp_path.iterdir()))
    verify = ["systemd-analyze", "verify", "--man=no", *files]
    said = subprocess.run(verify, capture_output=True, text=True, check=False)
    ours = [line for line in said.stderr.splitlines() if str(tmp_path) in line]
    assert not ours
    calendar = unit("harvester.timer")["Timer"]["OnCalendar"]
    environ = {**os.environ, "TZ": "UTC"}
    shown = subprocess.run(
        ["systemd-analyze", "calendar", calendar],
        capture_output=True,
        text=True,
        check=True,
        env=environ,
    ).stdout
    assert re.search(r"0[26]:40:00 UTC", shown)

"""Each verb once, as a user types it: the main job of an installation."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

GONE = "wx0000000000000002"
MANIFEST = """
version: 1
api: {base_url: sandbox}
defaults: {credential: {secret: "${WECHAT_SECRET}"}}
accounts:
  - {appid: wx0000000000000001, name: Acme Service}
  - {appid: wx0000000000000002, name: Harbour Bank}
jobs:
  - datasets: [interface_summary, user_summary, upstream_msg_hour, article_total_detail]
    begin_date: -40d
output: out
"""

FIRST = (
    "init other.yaml",
    "schema",
    "datasets",
    "datasets article_total_detail",
    "explain 45009",
    "check jobs.yaml",
    "plan jobs.yaml",
    "run jobs.yaml",
    "run jobs.yaml",
    "status jobs.yaml --require ready",
    "status --output out --by account --format json",
    "fetch wx0000000000000001 interface_summary yesterday",
    "changes jobs.yaml",
    "sql --output out --engine duckdb",
    "report jobs.yaml --html page.html",
    "verify jobs.yaml",
    "rewrite jobs.yaml --to out-2 --buckets 2",
)
EXPORTS = {"deltalake": "delta", "pyiceberg": "iceberg"}
"""Packages of formats. One that is not installed is not tried."""


def harvester(folder: Path, line: str) -> str:
    """Return what a command prints; one that does not end with 0 fails the test."""
    home = {"HOME": str(folder), "PATH": os.environ["PATH"], "WECHAT_SECRET": "0" * 32}
    command = [sys.executable, "-m", "harvester", *line.split()]
    found = subprocess.run(
        command, cwd=folder, env=home, capture_output=True, check=False, text=True, timeout=120
    )
    assert found.returncode == 0, f"{line}: {found.returncode}\n{found.stdout}{found.stderr}"
    return found.stdout


@pytest.mark.long
def test_each_verb_works_as_it_is_typed(tmp_path: Path) -> None:
    """On an output with days that are final, provisional, and deleted for good."""
    (tmp_path / "jobs.yaml").write_text(MANIFEST, "utf-8")
    for line in FIRST:
        harvester(tmp_path, line)
    assert '"provisional"' in harvester(tmp_path, "status jobs.yaml --format json")
    for package, name in EXPORTS.items():
        if importlib.util.find_spec(package):
            harvester(tmp_path, f"export lake-{name} --to {name} --output out")
    without = [line for line in MANIFEST.splitlines() if GONE not in line]
    (tmp_path / "jobs.yaml").write_text("\n".join(without), "utf-8")
    harvester(tmp_path, f"forget jobs.yaml --accounts {GONE}")
    assert GONE not in harvester(tmp_path, "status jobs.yaml --by account --all")
    harvester(tmp_path, "run jobs.yaml")

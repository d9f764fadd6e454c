"""Release workflow: its order, its SBOM and checksums, and the linter of workflows."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from harvester import __version__
from tests.release.test_package import RELEASE, released
from tests.release.test_wheelhouse import pins
from tests.support.doc_pages import ROOT
from tools.release.wheelhouse import PINS

WORKFLOW = ROOT / ".github/workflows/release.yml"

PUBLISHING = {"attest", "image", "index", "page"}
"""Jobs that may write; tests/verbs/test_packaging.py has what."""


def jobs() -> dict[str, Any]:
    """Return the jobs of the release workflow."""
    found: dict[str, Any] = yaml.safe_load(WORKFLOW.read_text("utf-8"))["jobs"]
    return found


def test_what_was_tested_is_published() -> None:
    """One job builds, another one tests that, and nothing is published without both."""
    found = jobs()
    assert set(found) == {"build", "test", *PUBLISHING}
    runs = {name: [step.get("run", "") for step in job["steps"]] for name, job in found.items()}
    assert [name for name, steps in runs.items() if ".ci/release build" in steps] == ["build"]
    assert [name for name, steps in runs.items() if ".ci/release test" in steps] == ["test"]
    assert found["test"]["needs"] == "build"
    assert {name for name, job in found.items() if job.get("needs") == "test"} == {
        *PUBLISHING - {"page"}
    }
    assert {*found["page"]["needs"]} == PUBLISHING - {"page"}


def test_a_person_allows_what_is_published() -> None:
    """The jobs that may write wait in an environment, where the repository names who allows it."""
    environments = {name: job.get("environment") for name, job in jobs().items()}
    assert environments == {"build": None, "test": None, **dict.fromkeys(PUBLISHING, "release")}


def test_a_tag_alone_starts_a_release() -> None:
    """No branch, no pull request and no person with a form."""
    # YAML reads `on` as true.
    workflow: dict[Any, Any] = yaml.safe_load(WORKFLOW.read_text("utf-8"))
    assert workflow[True] == {"push": {"tags": ["v[0-9]*"]}}


@pytest.mark.slow
def test_zizmor_finds_nothing(tmp_path: Path) -> None:
    """The linter of workflows, offline: what it would ask GitHub for is not looked at."""
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path)], check=True)
    given = ("--require-hashes", "-r", str(ROOT / ".ci/release.txt"))
    subprocess.run([str(tmp_path / "bin/pip"), "install", "-q", *given], check=True)
    options = ("--offline", "--persona=pedantic", "--no-progress")
    zizmor = [str(tmp_path / "bin/zizmor"), *options, str(ROOT / ".github")]
    done = subprocess.run(zizmor, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(not RELEASE, reason="no release is tested")
def test_the_sbom_has_all_that_is_installed() -> None:
    """Each pin with its version, licence and address, and harvester itself."""
    found = released()
    assert found
    folder = found.wheel.parents[1] / "release"
    sbom = json.loads((folder / "sbom.cdx.json").read_text("utf-8"))
    assert (sbom["bomFormat"], sbom["specVersion"]) == ("CycloneDX", "1.6")
    named = {part["name"].lower().replace("_", "-"): part for part in sbom["components"]}
    assert set(pins(PINS)) <= {*named}
    for name, pin in pins(PINS).items():
        assert pin.startswith(f"=={named[name]['version']} ")
        assert named[name]["purl"].startswith(f"pkg:pypi/{name}@")
        assert named[name].get("licenses"), name
    assert sbom["metadata"]["component"]["name"] == "wechat-harvester"
    assert sbom["metadata"]["component"]["version"] == __version__


@pytest.mark.skipif(not RELEASE, reason="no release is tested")
def test_the_checksums_are_right() -> None:
    """Of every file of the release and of the index."""
    root = Path(RELEASE)
    lines = (root / "release/SHA256SUMS").read_text("utf-8").splitlines()
    named = {line.split()[1] for line in lines}
    files = {file.name for folder in ("dist", "release") for file in (root / folder).iterdir()}
    assert named == files - {"SHA256SUMS"}
    assert all(re.fullmatch(r"[0-9a-f]{64}  \S+", line) for line in lines)

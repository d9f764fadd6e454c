"""Environment variables that look like options of the command."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import harvester
from harvester.cli import invoke, variables

PACKAGE = Path(harvester.__file__).parent


def test_every_variable_of_an_option_is_known() -> None:
    """One that is missing in the list would be warned of although it sets an option."""
    files = [PACKAGE / "planning/engine_shard.py", *(PACKAGE / "cli").rglob("*.py")]
    texts = "".join(file.read_text("utf-8") for file in files)
    used = set(re.findall(r"\"HARVESTER_(\w+)\"", texts))
    assert sorted(used) == variables.OPTIONS.split()


def test_an_unknown_variable_is_warned_of(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the nearest known one; those that Kubernetes sets for a service are none of ours."""
    for name in ("ACCOUNT", "ZZZZ", "SERVICE_HOST", "PORT", "PORT_80_TCP", "OUTPUT"):
        monkeypatch.setenv(f"HARVESTER_{name}", "x")
    monkeypatch.setenv("HARVESTER_DATASET", "")
    assert invoke(["explain", "45009"]) == 0
    assert caplog.messages == [
        "unknown variable `HARVESTER_ACCOUNT`: did you mean `HARVESTER_ACCOUNTS`?",
        "unknown variable `HARVESTER_ZZZZ`: it sets no option",
    ]

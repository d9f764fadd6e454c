"""Parts of a valid manifest that are probably not meant: each verb that reads one warns of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from harvester.cli import invoke
from harvester.core.exit_codes import Exit
from tests.support.run_harness import DAILY, appid

DOUBTFUL = f"""\
api: {{base_url: sandbox}}
accounts:
  - {{appid: {appid(1)}, name: Same, tags: ["retail,food"]}}
  - {{appid: {appid(2)}, name: Same}}
jobs: [{{datasets: [{DAILY}], begin_date: -2d}}]
datasets: {{{DAILY}: {{span: 60}}, upstream_msg_week: {{span: 60}}}}
"""
WARNINGS = (
    "the tag `retail,food` has a comma",
    "2 accounts have the name `Same`",
    f"`span` of {DAILY} is 60, and WeChat's page says at most 30 days",
    "`span` of upstream_msg_week is 60, and WeChat's page says at most 1 day\n",
    "holds the manifest",
)


@pytest.mark.parametrize(
    "command", ["plan", "status", "run --progress none", "check", "check --offline"]
)
def test_doubts_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str) -> None:
    """Once each, and the exit code is as without them."""
    (tmp_path / "jobs.yaml").write_text(DOUBTFUL + "output: .\n")
    verb, *more = command.split()
    assert invoke([verb, str(tmp_path / "jobs.yaml"), *more]) == Exit.DONE
    printed = "".join(capsys.readouterr())
    assert [printed.count(text) for text in WARNINGS] == [1] * len(WARNINGS)


def test_a_sound_manifest_raises_no_doubt(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The output is beside it, names differ, and a span may be smaller than WeChat's."""
    text = DOUBTFUL.replace("Same, tags", "Other, tags").replace("retail,food", "retail")
    (tmp_path / "jobs.yaml").write_text(text.replace("60", "1") + "output: out\n")
    assert invoke(["plan", str(tmp_path / "jobs.yaml")]) == Exit.DONE
    assert "note:" not in capsys.readouterr().out

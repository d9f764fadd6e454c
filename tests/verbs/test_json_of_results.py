"""``to_dict()`` of every public result, and what the command of the same verb prints as JSON."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

import harvester
from harvester.cli import invoke
from harvester.verbs.changes import changes
from harvester.verbs.forget import forget
from harvester.verbs.rewrite import rewrite
from harvester.verbs.verify import verify

ACCOUNT = "wx0000000000000001"

VERBS: dict[str, tuple[Callable[[Any, Path], Any], tuple[str, ...]]] = {
    "plan": (lambda given, _: harvester.plan(given), ()),
    "check": (lambda given, _: harvester.check(given), ()),
    "status": (
        lambda given, _: harvester.status(given, require="yesterday"),
        ("--require", "yesterday"),
    ),
    "fetch": (
        lambda given, _: harvester.fetch(given, ACCOUNT, "user_summary", "-2d"),
        (ACCOUNT, "user_summary", "-2d", "-2d"),
    ),
    "verify": (lambda given, _: verify(given), ()),
    "rewrite": (lambda given, to: rewrite(given, to=to), ()),
    "forget": (
        lambda given, _: forget(given, accounts=ACCOUNT, before="2020-01-01", dry_run=True),
        ("--accounts", ACCOUNT, "--before", "2020-01-01", "--dry-run"),
    ),
}
"""The function of each verb that prints JSON, and the arguments of the command."""

DAYS = {"before", "begin", "begin_date", "complete_on", "day", "end", "end_date", "newest_day"}
"""Members of results that are days."""

_MOVING = re.compile(
    r"\d{4}-\d\d-\d\dT[\d:]+Z|\d{8}T\d{6}Z-\w+|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-\w+"
    r'|"used": \d+, "remain": \d+|new-\d'
)
"""Moments, ids of runs, calls of the day, new places, which differ from call to call."""


def still(value: Any) -> str:
    """Return a value for JSON without what differs from call to call."""
    return _MOVING.sub("", json.dumps(value))


@pytest.fixture
def harvested(manifest: dict[str, Any], tmp_path: Path) -> Path:
    """A manifest with an output of two datasets."""
    manifest["jobs"][0]["datasets"] = ["user_summary", "interface_summary"]
    path = tmp_path / "jobs.yaml"
    path.write_text(json.dumps(manifest))
    assert harvester.run(path).exit_code == 0
    return path


@pytest.mark.parametrize("verb", VERBS)
def test_to_dict_is_what_the_command_prints(
    verb: str, harvested: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Member by member, in the same order."""
    call, words = VERBS[verb]
    found = call(harvested, tmp_path / "new-1")
    if verb == "rewrite":
        words = ("--to", str(tmp_path / "new-2"))
    invoke([verb, *words, str(harvested), "--format", "json"])
    printed = json.loads(capsys.readouterr().out)
    assert still(found.to_dict()) == still(printed)


def days_in(value: Any) -> Iterator[object]:
    """Yield the members of a result, and of what is in it, that are named as days."""
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        for each in value:
            yield from days_in(each)
    elif dataclasses.is_dataclass(value) or hasattr(value, "_fields"):
        is_tuple = hasattr(value, "_fields")
        names = value._fields if is_tuple else [each.name for each in dataclasses.fields(value)]
        for name in names:
            member = getattr(value, name)
            if name in DAYS:
                yield member
            else:
                yield from days_in(member)


@pytest.mark.parametrize("verb", ["plan", "check", "status", "fetch", "forget"])
def test_days_of_results_are_dates(verb: str, harvested: Path, tmp_path: Path) -> None:
    """Or None. In JSON they are text, 2026-01-31."""
    for partition in (tmp_path / "output" / "user_summary").glob("*/*"):
        partition.unlink()
    found = [*days_in(VERBS[verb][0](harvested, tmp_path / "new"))]
    assert any(found)
    assert {type(day) for day in found} <= {date, type(None)}


def test_a_result_is_the_summary_of_the_command(harvested: Path, tmp_path: Path) -> None:
    """The run record, but for what took other time."""
    summary = tmp_path / "summary.json"
    found = harvester.run(harvested).to_dict()
    invoke(["run", str(harvested), "--summary", str(summary)])
    printed = json.loads(summary.read_text())
    assert [*found] == [*printed]
    differ = {name for name in found if still(found[name]) != still(printed[name])}
    assert differ <= {"seconds"}


def test_changes_are_the_lines_of_the_command(
    harvested: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line for each, and the cursor."""
    found, cursor = changes(harvested)
    invoke(["changes", str(harvested)])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines == [*(change.to_dict() for change in found), {"cursor": cursor}]

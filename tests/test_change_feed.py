"""The run records as others follow them: whatever was replaced stands in one of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harvester.errors import Exit, UsageError
from harvester.model import Limits
from harvester.store import files, records
from tests.lab import FAST, HOURLY, Lab, files_of


class Killed(BaseException):
    """The end of a process, as far as one process can play it."""


def lab_of(root: Path) -> Lab:
    """Four files over two months."""
    return Lab(root, accounts=2, begin="2026-03-30", end="2026-04-02")


def die(lab: Lab, patch: pytest.MonkeyPatch, at: int) -> bool:
    """A run that ends just before its flush number ``at``; whether it got so far."""
    left = at
    sync = files.sync

    def mortal(path: Path) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise Killed
        sync(path)

    patch.setattr(files, "sync", mortal)
    try:
        lab.run()
    except (Killed, BaseExceptionGroup):
        return True
    return False


def all_records(lab: Lab) -> list[dict[str, Any]]:
    """Every run record of an output, oldest first."""
    return [
        json.loads(path.read_bytes())
        for path in sorted((lab.root / "_harvester/runs").glob("*.json"))
    ]


def told(lab: Lab) -> set[tuple[str, str, str]]:
    """Path, account and day of all that stands in the feed."""
    return {
        (item["path"], name, day)
        for record in all_records(lab)
        for item in record["published"]
        for name in item["appids"]
        for day in item["days"]
    }


def test_whatever_a_killed_run_replaced_stands_in_a_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before any flush, then run again: the records name every file, account and day."""
    whole = lab_of(tmp_path / "whole")
    whole.run()
    at, died = 0, True
    while died:
        at += 1
        lab = lab_of(tmp_path / str(at))
        with monkeypatch.context() as patch:
            died = die(lab, patch, at)
        assert lab.run().exit_code is Exit.DONE
        assert len(list(files_of(lab.root))) == 4
        assert told(lab) == told(whole), f"killed before flush {at}"
    assert at > 10


def killed_with_a_record(root: Path, patcher: pytest.MonkeyPatch) -> tuple[Lab, dict[str, Any]]:
    """A run that was killed as soon as it had written its record, and that record."""
    at = 0
    while True:
        at += 1
        lab = lab_of(root / str(at))
        with patcher.context() as patch:
            assert die(lab, patch, at)
        if found := all_records(lab):
            return lab, found[0]


def test_a_killed_run_leaves_a_record_that_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its state stays ``running``, without an exit code; a finished run's record has both."""
    lab, killed = killed_with_a_record(tmp_path, monkeypatch)
    assert (killed["state"], killed["exit_code"], killed["reasons"]) == ("running", None, [])
    assert killed["published"]
    lab.advance(1.0)
    lab.run()
    newest = records.last(lab.tree, 1)[0]
    assert (newest.state, newest.exit_code) == ("finished", 0)


def test_what_was_recovered_is_told_although_the_plan_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that publishes leftovers and then refuses its plan has a record with exit code 2."""
    lab = Lab(tmp_path, datasets=(HOURLY,), accounts=1)
    with monkeypatch.context() as patch:
        assert die(lab, patch, 3)
    lab.limits = Limits(FAST.per_token, max_requests=1)
    with pytest.raises(UsageError):
        lab.run()
    record = all_records(lab)[-1]
    assert (record["state"], record["exit_code"], record["reasons"]) == ("finished", 2, ["usage"])

"""Run records: whatever a run replaced stands in one of them, killed or not."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from harvester.core.config.settings import Limits
from harvester.core.errors import StoreError, UsageError
from harvester.core.exit_codes import Exit
from harvester.runs import watchers
from harvester.runs.harvest import execute
from harvester.runs.record.record import Record
from harvester.runs.run_log import RunLog
from harvester.runs.runtime import RunOptions
from harvester.runs.stream import Stream, Told
from harvester.runs.user_files import UserFile, json_text
from harvester.sandbox import Rules
from harvester.storage.backends import atomic_files
from harvester.storage.layout import Tree
from harvester.storage.publication import Published
from harvester.storage.state import run_records
from harvester.storage.state.packed_lines import unpack
from tests.support.nights import by_night
from tests.support.output_helpers import entries_of_logs
from tests.support.run_harness import FAST, HOURLY, RunHarness, files_of, run_state


class Killed(BaseException):
    """The end of a process, as far as one process can play it."""


def lab_of(root: Path) -> RunHarness:
    """Four files over two months."""
    return RunHarness(root, accounts=2, begin="2026-03-30", end="2026-04-02")


def die(lab: RunHarness, patch: pytest.MonkeyPatch, at: int) -> bool:
    """A run that ends just before its flush number ``at``; whether it got so far."""
    left = at
    sync = atomic_files.sync

    def mortal(path: Path) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise Killed
        sync(path)

    patch.setattr(atomic_files, "sync", mortal)
    try:
        lab.run()
    except (Killed, BaseExceptionGroup):
        return True
    return False


def killed_before_publishing(
    made: Callable[[Path], RunHarness], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> RunHarness:
    """Return the harness of a run of hourly rows that ended as soon as answers were durable."""
    at = 0
    while True:
        at += 1
        lab = made(folder / str(at))
        lab.datasets = (HOURLY,)
        with monkeypatch.context() as patch:
            assert die(lab, patch, at)
        if list((lab.root / "_harvester/raw").glob("*/*.group")):
            lab.advance(1.0)
            return lab


def runs_of(lab: RunHarness) -> Path:
    """The folder of the records."""
    return lab.root / "_harvester/runs"


def all_records(lab: RunHarness) -> list[dict[str, Any]]:
    """Every run record of an output, oldest first."""
    return [json.loads(path.read_bytes()) for path in sorted(runs_of(lab).glob("*.json"))]


def told(lab: RunHarness) -> set[tuple[str, str, str]]:
    """Path, account and day of all that stands in the feed."""
    return {
        (item.path, name, day)
        for item in entries_of_logs(lab.tree.store)
        for name in item.appids
        for day in item.days
    }


@pytest.mark.long
@pytest.mark.parametrize("step", [3, *by_night([1])])
def test_whatever_a_killed_run_replaced_stands_in_the_feed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Killed before any flush, then run again: the feed names every file, account and day."""
    whole = lab_of(tmp_path / "whole")
    whole.run()
    at, died = 0, True
    while died:
        at += step
        lab = lab_of(tmp_path / str(at))
        with monkeypatch.context() as patch:
            died = die(lab, patch, at)
        assert lab.run().exit_code is Exit.DONE
        assert len(list(files_of(lab.root))) == 4
        assert told(lab) == told(whole), f"killed before flush {at}"
    assert at > 10


def run_with_copy(lab: RunHarness, copy: Path) -> Record:
    """A run whose record is wanted elsewhere too."""
    stream = Stream(Record.begun(lab.manifest().file, lab.now()), lab.now)
    books = RunLog(stream, [UserFile("--summary", copy, json_text)])
    books.begin_files(lambda _: None)
    execute(run_state(lab.manifest(), lab.tree, RunOptions(), lab.world(), books))
    return books.stream.own


def killed_with_an_entry(root: Path, patcher: pytest.MonkeyPatch) -> tuple[RunHarness, Path]:
    """A run that was killed when it had noted what it replaced first, and that entry."""
    at = 0
    while True:
        at += 1
        lab = lab_of(root / str(at))
        with patcher.context() as patch:
            assert die(lab, patch, at)
        if entries := sorted(runs_of(lab).parent.glob("changes/*/rounds/*"))[1:]:
            return lab, entries[0]


def test_a_killed_run_leaves_a_record_that_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its state stays ``running``, without an exit code; a finished run's record has both.

    What it replaced stands in the feed.
    """
    lab, entry = killed_with_an_entry(tmp_path, monkeypatch)
    noted, *_ = map(json.loads, unpack(entry.read_bytes()))
    [killed] = all_records(lab)
    assert (killed["state"], killed["exit_code"], killed["reasons"]) == ("running", None, [])
    lab.advance(1.0)
    lab.run()
    [first, second] = all_records(lab)
    assert (first, second["state"], second["exit_code"]) == (killed, "finished", 0)
    assert (noted["path"], noted["run_id"]) in {
        (item.path, item.run_id) for item in entries_of_logs(lab.tree.store)
    }
    assert [path.suffix for path in runs_of(lab).iterdir()] == [".json", ".json"]


def test_the_feed_has_days_accounts_and_rows(tmp_path: Path) -> None:
    """Each file with the days and the accounts that have news in it."""
    lab = lab_of(tmp_path)
    done = lab.run()
    [record] = all_records(lab)
    assert len(record["published"]) == len(done.published) == 4
    assert record["published"] == [each._asdict() for each in done.published]
    for item, short in zip(entries_of_logs(lab.tree.store), done.published, strict=True):
        assert item.appids == tuple(sorted(lab.appids))
        assert len(item.days) == 2
        assert {day[:7] for day in item.days} == {item.ref_month}
        assert (item.path, item.rows_before, item.rows_after) == short[2:5]


def test_keeping_books_costs_the_same_for_every_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many files a run replaces: one round, a record at either end."""
    named: list[str] = []
    settle = atomic_files.replace_durably

    def settled(temp: Path, final: Path) -> None:
        if {"runs", "changes"}.intersection(final.parts) and "_harvester" in final.parts:
            named.append(final.suffix)
        settle(temp, final)

    monkeypatch.setattr(atomic_files, "replace_durably", settled)
    lab = RunHarness(tmp_path, accounts=1, begin="2025-10-01", datasets=(HOURLY,))
    done = lab.run()
    assert named == [".json", ".zst", ".zst", ".json"]
    assert len(done.published) == 6


def test_a_run_under_way_keeps_its_record_fresh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests and refusals so far stand in it, also when nothing is published yet."""
    monkeypatch.setattr(watchers, "CHECKPOINT_SECONDS", 0.001)
    rules = Rules(latency=0.02)
    lab = RunHarness(tmp_path, accounts=2, end="2026-03-02", datasets=(HOURLY,), rules=rules)
    lab.sandbox.fail(lab.appids[1], 48001)
    seen: list[dict[str, Any]] = []
    kept = run_records.write

    def write(*args: Any, **kwargs: Any) -> None:
        kept(*args, **kwargs)
        seen.append(args[2])

    monkeypatch.setattr(run_records, "write", write)
    run_with_copy(lab, tmp_path / "copy.json")
    first, *_, last = seen
    assert (first["state"], first["requests"], last["state"]) == ("running", 0, "finished")
    assert any(each["state"] == "running" and each["exceptions"] for each in seen)
    assert json.loads((tmp_path / "copy.json").read_bytes()) == all_records(lab)[0]


def test_a_record_that_cannot_be_written_in_the_end_changes_no_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The run ends well, its log has the reason, and the feed has what was replaced."""
    lab = lab_of(tmp_path)
    lab.sandbox.fail(lab.appids[1], 48001)
    kept = run_records.write

    def full(tree: Tree, run_id: str, record: dict[str, Any], *rest: Any, **more: Any) -> None:
        if record["state"] == "finished":
            raise StoreError("disk: No space left on device", "make room")
        kept(tree, run_id, record, *rest, **more)

    with monkeypatch.context() as patch:
        patch.setattr(run_records, "write", full)
        done = run_with_copy(lab, tmp_path / "copy.json")
    assert done.exit_code is Exit.INCOMPLETE
    assert "No space left on device; make room" in caplog.text
    copy = json.loads((tmp_path / "copy.json").read_bytes())
    assert (copy["exit_code"], len(copy["published"])) == (3, 4)
    assert {item["path"] for item in copy["published"]} == {path for path, _, _ in told(lab)}


def test_a_recovered_file_is_told_before_the_next_one_is_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that dies in between has told what it published: its successor finds it no more."""
    lab = killed_before_publishing(lab_of, tmp_path, monkeypatch)
    context = lab.world()
    stream = Stream(Record.begun(lab.manifest().file, context.clock.started_at), context.clock)
    files = []

    def note(told: Told) -> None:
        if isinstance(told.fact, Published):
            files.append(len([*lab.root.glob(f"{HOURLY}/*/*.parquet")]))

    stream.listeners.append(note)
    execute(run_state(lab.manifest(), lab.tree, RunOptions(), context, RunLog(stream)))
    assert files == [1, 2]


def test_what_was_recovered_is_told_although_the_plan_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that publishes leftovers and then refuses its plan has a record with exit code 2."""
    lab = killed_before_publishing(partial(RunHarness, accounts=1), tmp_path, monkeypatch)
    lab.end = "2026-04-30"
    lab.limits = Limits(FAST.per_token, max_requests=1)
    with pytest.raises(UsageError):
        lab.run()
    record = all_records(lab)[-1]
    assert (record["state"], record["exit_code"], record["reasons"]) == ("finished", 2, ["usage"])
    assert record["published"]

"""The owners of buckets, as `status --owners` lists them."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import threading
from pathlib import Path

import pytest

from harvester.cli import invoke
from harvester.core.errors import Busy
from harvester.core.exit_codes import Exit
from harvester.storage.backends import flock
from harvester.storage.backends.claims import Owner
from harvester.storage.locks import hold
from tests.support.claims import claim
from tests.support.output_helpers import tree_at
from tests.support.store_backends import Outputs

SINCE = "2026-01-01T00:00:00Z"
MANIFEST = """
api: {{base_url: sandbox}}
accounts: [{{appid: wx0000000000000001}}]
jobs: [{{datasets: interface_summary, begin_date: -3d}}]
output: {{path: "{path}", buckets: 4}}
"""


def owners(outputs: Outputs) -> list[Owner]:
    """Return the owners of the buckets of an output."""
    return list(outputs(4).store.owners())


def test_the_holders_of_buckets(outputs: Outputs) -> None:
    """Each held bucket has a line: the run, its host, its shard and since when."""
    assert owners(outputs) == []
    with hold(outputs(4), [1, 2], claim("ours", SINCE, shard="2/4")):
        found = owners(outputs)
        assert [owner.bucket for owner in found] == ["0001-of-0004", "0002-of-0004"]
        for owner in found:
            assert (owner.host, owner.pid) == (socket.gethostname(), os.getpid())
            assert (owner.since, owner.run_id, owner.shard) == (SINCE, "ours", "2/4")
            is_leased = isinstance(outputs.output.path, str)
            assert (owner.renewed_at is not None) is is_leased
            assert (owner.lease_ends_at or "") >= (owner.renewed_at or "")
    assert owners(outputs) == []


def test_the_list_of_owners(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As text and as JSON; null and no line unless it was asked for."""
    manifest = tmp_path / "jobs.yaml"
    manifest.write_text(MANIFEST.format(path=tmp_path / "output"))

    def status(*words: str) -> str:
        assert invoke(["status", str(manifest), *words]) == Exit.DONE
        return capsys.readouterr().out

    with hold(tree_at(tmp_path / "output", 4), [3], claim("theirs", SINCE, shard="4/4")):
        text = status("--owners")
        told = json.loads(status("--owners", "--format", "json"))
    line = next(line for line in text.splitlines() if "0003-of-0004" in line)
    for word in (socket.gethostname(), f"pid {os.getpid()}", SINCE, "run theirs", "shard 4/4"):
        assert word in line
    [owner] = told["owners"]
    assert (owner["bucket"], owner["run_id"], owner["since"]) == ("0003-of-0004", "theirs", SINCE)
    assert "no run holds a bucket" in status("--owners")
    assert "\nowners" not in status()
    assert json.loads(status("--format", "json"))["owners"] is None


def test_a_list_of_owners_keeps_no_run_away(tmp_path: Path) -> None:
    """It shares the lock for an instant, and a busy machine can make that instant a long one.

    The note of the run before, which had another number of shards, means nothing by then.
    """
    tree = tree_at(tmp_path)
    with hold(tree, [0], claim("first", shard="1/2")):
        pass
    path = tmp_path / "_harvester/locks/0000-of-0001.lock"
    with path.open() as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        threading.Timer(0.3, fcntl.flock, (looking, fcntl.LOCK_UN)).start()
        with hold(tree, [0], claim("next", shard="1/1")):
            assert [owner.run_id for owner in tree.store.owners()] == ["next"]


def test_a_run_that_is_stopped_waits_for_no_list_of_owners(tmp_path: Path) -> None:
    """A stop ends every wait for a lock."""
    tree = tree_at(tmp_path)
    with hold(tree, [0], claim("first")):
        pass
    with (tmp_path / "_harvester/locks/0000-of-0001.lock").open() as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        stopped = claim("next", is_stopped=lambda: True)
        with pytest.raises(Busy), hold(tree, [0], stopped):
            pass


def test_a_program_that_shares_a_lock_for_long_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run ends as one that finds another run there."""
    monkeypatch.setattr(flock, "_LONGEST_LOOK", 0.05)
    tree = tree_at(tmp_path)
    with hold(tree, [0], claim("first")):
        pass
    with (tmp_path / "_harvester/locks/0000-of-0001.lock").open() as foreign:
        fcntl.flock(foreign, fcntl.LOCK_SH)
        with pytest.raises(Busy), hold(tree, [0], claim("next")):
            pass


def test_owners_of_a_folder_that_may_only_be_read(tmp_path: Path) -> None:
    """Nothing is created and nothing is written."""
    tree = tree_at(tmp_path)
    with hold(tree, [0], claim("ours")):
        path = tmp_path / "_harvester/locks/0000-of-0001.lock"
        path.chmod(0o400)
        before = path.stat()
        assert [owner.run_id for owner in tree.store.owners()] == ["ours"]
        assert path.stat() == before
    (path.parent / "0001-of-0002.lock").write_text("not a note")
    assert list(tree.store.owners()) == []


def test_waiting_for_a_lock_on_a_disk(tmp_path: Path) -> None:
    """With a timeout a run waits until the other one ends."""
    tree = tree_at(tmp_path)
    first = hold(tree, [0], claim("first"))
    first.__enter__()
    release = threading.Timer(0.4, first.__exit__, (None, None, None))
    release.start()
    with hold(tree, [0], claim("second", timeout=30.0)):
        assert [owner.run_id for owner in tree.store.owners()] == ["second"]
    release.join()

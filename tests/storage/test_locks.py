from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from harvester.core.config.settings import Output
from harvester.core.errors import Busy, StoreError, UsageError
from harvester.core.exit_codes import Exit
from harvester.core.hold import UNLOSABLE
from harvester.storage.backends import lease
from harvester.storage.backends.claims import Owner
from harvester.storage.layout import open_tree
from harvester.storage.locks import hold
from tests.support.claims import claim
from tests.support.output_helpers import tree_at
from tests.support.store_backends import Outputs, conditions_sent

LOCKS = "_harvester/locks"
SINCE = "2026-05-01T02:00:00Z"

HOLDER = """
import sys
from pathlib import Path
from harvester.storage.locks import hold
from tests.support.output_helpers import tree_at
from tests.support.claims import claim
with hold(tree_at(Path(sys.argv[1]), 4), [1, 2], claim("theirs", "2026-01-01T00:00:00Z")):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds buckets 1 and 2 of 4 until its stdin ends or it is killed."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    root = Path(__file__).parents[2]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=root) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_the_lock_file_names_its_holder(tmp_path: Path) -> None:
    """The lock's file names host, process, start and run, and outlives the lock."""
    tree, locks = tree_at(tmp_path, 4), tmp_path / LOCKS
    with hold(tree, [3, 0, 3], claim("ours", SINCE)):
        pass
    assert sorted(path.name for path in locks.iterdir()) == [
        "0000-of-0004.lock",
        "0003-of-0004.lock",
    ]
    assert json.loads((locks / "0003-of-0004.lock").read_text()) == {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "since": SINCE,
        "run": "ours",
        "shard": None,
    }


def test_a_held_bucket_is_busy(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    """A bucket another process holds is busy, the error names it, and ours are let go again."""
    tree = tree_at(tmp_path, 4)
    with pytest.raises(Busy) as caught, hold(tree, [0, 1], claim("ours", SINCE)):
        pass
    assert f"pid {holder.pid}" in str(caught.value)
    assert "since 2026-01-01T00:00:00Z, run theirs" in str(caught.value)
    assert caught.value.exit_code is Exit.AGAIN
    with hold(tree, [0, 3], claim("ours", SINCE)):
        pass


def test_a_killed_process_holds_no_lock(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    """The lock of a process that was killed is free at once."""
    holder.kill()
    holder.wait()
    with hold(tree_at(tmp_path, 4), [1, 2], claim("ours", SINCE)):
        pass


def test_one_process_cannot_hold_a_bucket_twice(tmp_path: Path) -> None:
    """Two runs in one process exclude each other too; released, a bucket can be held again."""
    tree = tree_at(tmp_path)
    with (
        hold(tree, [0], claim("first", SINCE)),
        pytest.raises(Busy, match="run first"),
        hold(tree, [0], claim("second", SINCE)),
    ):
        pass
    with hold(tree, [0], claim("third", SINCE)):
        pass


def test_a_lock_file_without_a_holder(tmp_path: Path) -> None:
    """A holder that has not written its name yet is no reason to fail in another way."""
    tree = tree_at(tmp_path)
    with hold(tree, [0], claim("first", SINCE)):
        (tmp_path / LOCKS / "0000-of-0001.lock").write_text("[]")
        with (
            pytest.raises(Busy, match="does not name it yet"),
            hold(tree, [0], claim("second", SINCE)),
        ):
            pass


def test_a_folder_where_the_lock_belongs(tmp_path: Path) -> None:
    """A lock that cannot be opened is a StoreError with advice."""
    tree = tree_at(tmp_path)
    (tmp_path / LOCKS / "0000-of-0001.lock").mkdir(parents=True)
    with pytest.raises(StoreError) as caught, hold(tree, [0], claim("ours", SINCE)):
        pass
    assert "move it away" in caught.value.advice


def test_a_disk_without_locks_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message has the system's reason, and says where an output can be locked."""

    def flock(descriptor: int, kind: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(StoreError) as caught, hold(tree_at(tmp_path), [0], claim("ours")):
        pass
    assert os.strerror(errno.ENOLCK) in caught.value.problem
    assert "put the output on a local disk" in caught.value.advice


def test_another_number_of_buckets_is_refused(outputs: Outputs) -> None:
    """Its locks have other names, and its files as well: both runs would publish every row."""
    told = "this run has buckets: 3, and a run with buckets: 2 is at work: .*run theirs"
    with hold(outputs(2), [1], claim("theirs")):
        with pytest.raises(UsageError, match=told), hold(outputs(3), [0, 2], claim("ours")):
            pass
        with hold(outputs(2), [0], claim("beside")):
            pass
    with hold(outputs(3), [0, 2], claim("ours")):
        pass


def test_of_two_numbers_of_buckets_at_once_at_most_one_goes_on(
    outputs: Outputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each run looks for others once it has its own locks, so one of them sees the other."""
    both, done = threading.Barrier(2, timeout=60), threading.Barrier(2, timeout=60)
    kind = type(outputs().store)
    owners, ends = kind.owners, list[str]()

    def owners_at_once(self: object, *given: Callable[[str], bool]) -> list[Owner]:
        both.wait()
        return [*owners(self, *given)]  # type: ignore[arg-type]

    monkeypatch.setattr(kind, "owners", owners_at_once)

    def run(count: int) -> None:
        try:
            with hold(outputs(count), range(count), claim(f"of {count}")):
                ends.append("held")
                done.wait()
        except UsageError:
            ends.append("refused")
            done.wait()

    other = threading.Thread(target=run, args=[2])
    other.start()
    run(3)
    other.join()
    assert "refused" in ends


def test_a_dead_run_with_another_number_of_buckets(s3_output: Output) -> None:
    """The lease of a killed run counts until it ends by the clock of the store."""
    tree = open_tree(s3_output)
    note = {**claim("dead").note(), "lease": 0.5}
    tree.store.put(f"{LOCKS}/0001-of-0002.lease", json.dumps(note).encode())
    refused = 0
    while refused < 1000:
        try:
            with hold(tree, [0], claim("ours")):
                break
        except UsageError:
            refused += 1
    assert refused < 1000


def leases_sent(output: Output) -> dict[str, list[dict[str, str]]]:
    """Return the conditions of each put of a lease by name, oldest first."""
    sent = conditions_sent(output)
    return {name: puts for name, puts in sent.items() if name.endswith(lease.SUFFIX)}


@pytest.fixture
def often_renewed(s3_output: Output, monkeypatch: pytest.MonkeyPatch) -> Output:
    """An output whose leases are renewed each second, and no slow machine loses them."""
    monkeypatch.setattr(lease, "RENEWED_AFTER", 1 / 600)
    return replace(s3_output, lease=600.0)


def test_the_puts_of_a_lease(s3_output: Output, often_renewed: Output) -> None:
    """At most one for each bucket in a second here, from the first one on, and one at the end.

    At 30 seconds that is one in ten.
    """
    output = replace(often_renewed, buckets=2)
    begun = time.monotonic()
    with hold(open_tree(output), [0, 1], claim("ours")) as tree:
        assert tree.hold is not UNLOSABLE
        while any(len(sent) < 3 for sent in leases_sent(s3_output).values()):
            time.sleep(0.1)
        assert tree.hold.is_good()
    seconds = time.monotonic() - begun
    puts = leases_sent(s3_output)
    assert len(puts) == 2
    for sent in puts.values():
        assert 3 <= len(sent) - 1 <= 1 + seconds / 1.0
        assert [*sent[0]] == ["HTTP_IF_NONE_MATCH"]
        assert all([*each] == ["HTTP_IF_MATCH"] for each in sent[1:])


def test_a_lease_is_renewed_while_the_program_is_busy(
    s3_output: Output, often_renewed: Output
) -> None:
    """By a thread of its own: neither an event loop nor a publish has time for it."""
    with hold(open_tree(often_renewed), [0], claim("ours")) as tree:
        assert tree.hold is not UNLOSABLE
        while any(len(sent) < 3 for sent in leases_sent(s3_output).values()):
            sum(range(10_000_000))
        assert tree.hold.is_good()

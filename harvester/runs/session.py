"""Sessions of work on an output: buckets are locked and the work is recorded."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from harvester.core.errors import UsageError
from harvester.runs import facts
from harvester.runs.clock import CheckedClock
from harvester.runs.record.labels import engine_labels
from harvester.runs.record.record import Record
from harvester.runs.run_log import RunLog, recorded
from harvester.runs.stream import Stream
from harvester.storage import locks
from harvester.storage.backends.claims import Claim
from harvester.storage.layout import Tree


def new_run_log(manifest: Path, clock: CheckedClock, copy: Path | None = None) -> RunLog:
    """Return the log of a run that began with its clock; it writes ``copy`` too."""
    stream = Stream(Record.begun(manifest, clock.started_at), clock)
    stream.report(facts.Begun(engine_labels(os.environ)))
    return RunLog(stream, copy)


def locked(
    tree: Tree, buckets: Iterable[int], stream: Stream, lock_timeout: float | None
) -> AbstractContextManager[Tree]:
    """Hold the locks of buckets for the block; yields the held tree. Raises as `locks.hold`.

    It waits no longer once the run is to stop.
    """
    _make_folder(tree)
    run, stop = stream.own, stream.stop
    claim = Claim(run.run_id, stream.now, run.shard, lock_timeout, lambda: stop.code is not None)
    return locks.hold(tree, buckets, claim)


def _make_folder(tree: Tree) -> None:
    """Make the folder of an output on a disk. Raises UsageError if that cannot be."""
    root = getattr(tree.store, "root", None)
    if not isinstance(root, Path):
        return
    try:
        root.mkdir(parents=True, exist_ok=True)
        flaw = "" if os.access(root, os.W_OK | os.X_OK) else "it is not writable"
    except OSError as error:
        flaw = error.strerror or type(error).__name__
    if flaw:
        place = tree.store.display_path()
        raise UsageError(
            f"{place}: the output cannot be written there: {flaw}",
            "name another folder as `output.path` or --output, or correct its permissions",
        )


@contextmanager
def locked_and_recorded(
    run_log: RunLog, tree: Tree, own: list[int], lock_timeout: float | None
) -> Iterator[Tree]:
    """Hold the locks of buckets and keep the log open until the block ends.

    Raises as `locks.hold`, StoreError, and UsageError for a journal of a newer version.
    """
    held = locked(tree, own, run_log.stream, lock_timeout)
    # The log is closed under the locks: the next holder must find it complete.
    with held as mine, recorded(run_log):
        run_log.open(tree, own)
        yield mine

"""Sessions of work on an output: buckets are locked and the work is recorded."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from harvester.core import calendar
from harvester.operations.clock import CheckedClock
from harvester.operations.record.labels import engine_labels
from harvester.operations.record.run_events import RunEvents
from harvester.operations.record.run_log import RunLog, recorded
from harvester.operations.record.summary import Summary, start_summary
from harvester.storage import locks
from harvester.storage.layout import Tree


def new_run_log(
    manifest: Path,
    clock: CheckedClock,
    copy: Path | None = None,
    events: RunEvents | None = None,
) -> RunLog:
    """Return the log of a run that began with its clock; ``copy`` is a file for its record too."""
    run_log = RunLog(start_summary(manifest, clock.started_at), clock, copy, events)
    run_log.summary.identified(labels=engine_labels(os.environ))
    return run_log


def locked(tree: Tree, buckets: Iterable[int], run: Summary) -> AbstractContextManager[None]:
    """Hold the locks of buckets until the block ends. Raises Busy and StoreError."""
    since = calendar.utc_text(run.started_at)
    return locks.hold(tree, buckets, run_id=run.run_id, since=since)


@contextmanager
def locked_and_recorded(run_log: RunLog, tree: Tree, own: list[int]) -> Iterator[None]:
    """Hold the locks of buckets and keep the log open until the block ends.

    Raises Busy if another run holds one of them, StoreError, and UsageError for a journal of a
    newer version.
    """
    with locked(tree, own, run_log.summary), recorded(run_log):
        run_log.open(tree, own)
        yield

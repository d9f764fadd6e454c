"""Work on an output: it is recorded, and other runs are kept away from its buckets meanwhile."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from harvester.core import calendar
from harvester.operations.record.run_log import RunLog, recorded
from harvester.operations.record.summary import Summary
from harvester.operations.runtime import SteadyClock, start_summary
from harvester.storage import locks
from harvester.storage.layout import Tree


def new_books(manifest: Path, clock: SteadyClock, copy: Path | None = None) -> RunLog:
    """Return the books of a run that began with its clock; ``copy`` is where a record goes too."""
    return RunLog(start_summary(manifest, clock.started_at), clock, copy)


def locked(tree: Tree, buckets: Iterable[int], run: Summary) -> AbstractContextManager[None]:
    """Hold buckets for a run until the block ends. Raises Busy and StoreError."""
    since = calendar.utc_text(run.started_at)
    return locks.hold(tree, buckets, run_id=run.run_id, since=since)


@contextmanager
def working(books: RunLog, tree: Tree, own: list[int]) -> Iterator[RunLog]:
    """Hold buckets and keep books of what is done to them. Raises Busy and StoreError."""
    with locked(tree, own, books.summary), recorded(books):
        books.open(tree, own)
        yield books

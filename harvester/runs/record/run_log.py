"""Changes of the files by a run, and the record of how the run went.

The record is written when the run begins, at checkpoints and when it ends; a run that is killed
leaves a record that says ``running``. Replaced files go to the change logs of their buckets, an
entry each, and are copied into the final record.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from harvester.core.calendar import Clock
from harvester.core.errors import StoreError, UsageError
from harvester.runs.record.run_events import RunEvents
from harvester.runs.record.run_record import as_record, feed_entry
from harvester.runs.record.summary import Summary
from harvester.storage.layout import Tree
from harvester.storage.publication import Published
from harvester.storage.state import run_records
from harvester.storage.state.change_log import ChangeLog, ChangesOfShards

COPY_ADVICE = "name another file with --summary"

_log = logging.getLogger("harvester.run")


class OpenRecord(NamedTuple):
    """The place of a record and its changes; ``bucket`` is one that the run holds."""

    tree: Tree
    bucket: int
    changes: ChangeLog


class RunLog:
    """The changes and the record of one run. Safe for concurrent threads.

    ``now`` is in seconds since the Unix epoch, ``events`` tells of what happens, and ``copy`` is a
    file of the user that gets the record too, also of a run that ends before it has begun.
    """

    def __init__(
        self,
        summary: Summary,
        now: Clock,
        events: RunEvents | None = None,
        copy: Path | None = None,
    ) -> None:
        self.summary = summary
        self.now = now
        self.events = events or RunEvents()
        self._copy = copy
        self._place: OpenRecord | None = None
        self._closed = False
        self._lock = threading.Lock()

    def begin_copy(self, refuse: Callable[[Path], None]) -> None:
        """Write the record to the user's file, if there is one, before the first request.

        Raises UsageError if ``refuse`` does or if the file cannot be written; then nothing is
        written to it later either.
        """
        with self._lock:
            copy, self._copy = self._copy, None
            if copy is None:
                return
            refuse(copy)
            try:
                run_records.write_file(copy, self._as_record())
                is_refused = copy.exists() and not os.access(copy, os.W_OK)
            except StoreError as error:
                raise UsageError(f"--summary {error.problem}", error.advice) from None
            if is_refused:
                raise UsageError(f"--summary {copy}: this user may not write there", COPY_ADVICE)
            self._copy = copy

    def open(self, tree: Tree, own: list[int], *, is_new: bool = False) -> None:
        """Begin a record, and open the change logs of these buckets; only with their locks held.

        ``is_new`` begins the logs of a tree that is being made. Raises StoreError, and UsageError
        for a log of a newer version.
        """
        with self._lock:
            changes = ChangeLog(tree, self.summary.run_id, self.now)
            self._place = OpenRecord(tree, own[0], changes)
            self._write(self._place)
            changes.open(map(tree.bucket_label, own), is_new=is_new)

    def open_for_shards(self, tree: Tree, bucket: int) -> ChangesOfShards:
        """Begin a record for shards that keep change logs of their own, and return those.

        A process of the run must hold the bucket. Raises StoreError.
        """
        with self._lock:
            changes = ChangesOfShards(tree, self.summary.run_id, self.now)
            self._place = OpenRecord(tree, bucket, changes)
            self._write(self._place)
            return changes

    def restart(self) -> None:
        """Go on with an open record under the summary's new id, in the place of the old record.

        Raises StoreError. If the run is killed meanwhile, the old record stays as a killed run's.
        """
        with self._lock:
            if self._place is None:
                return
            changes = self._place.changes
            former = changes.run_id
            changes.rename(self.summary.run_id)
            self._write(self._place)
            run_records.delete(self._place.tree, former)

    def announce(self, item: Published) -> None:
        """Note, durably, a change of which no raw group is left if it is not recorded.

        Called before the change, with the file as it will be. Raises StoreError.
        """
        with self._lock:
            if self._place is not None:
                self._place.changes.announce(feed_entry(item))

    def record_published(self, item: Published) -> None:
        """Add a changed file to its log, durably, and to the summary. Raises StoreError."""
        with self._lock:
            if self._place is not None:
                self._place.changes.add(feed_entry(item))
            news = self.summary.file_published(item)
            self.events.published(self.summary, item, self.now())
        for line in news:
            _log.warning("%s", line)

    def write(self) -> None:
        """Write a checkpoint of the record. A store error is logged: the run itself meets it."""
        with self._lock, log_store_errors():
            if self._place is not None and not self._closed:
                self._write(self._place)

    def close(self, *, patience: float = -1.0) -> None:
        """Write the final record with the changes, once, and fold the change logs.

        If it cannot be written the error is logged, and the next run records the changes. Waits
        up to ``patience`` seconds for another thread, or without end if that is negative; a thread
        that holds the lock for longer writes the record itself.
        """
        if not self._lock.acquire(timeout=patience):
            return
        try:
            if not self._closed:
                self._closed = self.summary.finished = True
                self._close()
        finally:
            self._lock.release()

    def _close(self) -> None:
        record = self._as_record()
        if self._place is None:
            self._copy_to_user(record)
            return
        tree, bucket, changes = self._place
        self._copy_to_user(record, changes.entries())
        with log_store_errors():
            run_records.write(tree, self.summary.run_id, record, changes.entries(), bucket=bucket)
            changes.close()
            run_records.drop_old(tree, self.now())

    def _write(self, place: OpenRecord) -> None:
        record = self._as_record()
        run_records.write(place.tree, self.summary.run_id, record, bucket=place.bucket)
        self._copy_to_user(record)

    def _as_record(self) -> dict[str, Any]:
        self.summary.ended_at = self.now()
        return as_record(self.summary)

    def _copy_to_user(self, record: dict[str, Any], feed: Iterable[dict[str, Any]] = ()) -> None:
        if self._copy is not None:
            with log_store_errors():
                run_records.write_file(self._copy, record, feed)


@contextmanager
def recorded(run_log: RunLog) -> Iterator[None]:
    """Close the log of a run however the block ends, with the error if it fails."""
    try:
        yield
    except Exception as error:
        run_log.summary.ended_by(error)
        run_log.events.failed(run_log.summary, error, run_log.now())
        run_log.close()
        raise
    run_log.close()


@contextmanager
def log_store_errors() -> Iterator[None]:
    """Log a StoreError of the block, because the run itself meets it too."""
    try:
        yield
    except StoreError as error:
        _log.error("the run record is not written: %s; %s", error.problem, error.advice)

"""Journal of the files that a run replaces, and the record of how the run went.

The record is written when the run begins, at checkpoints and when it ends; a run that is killed
leaves a record that says ``running``. Replaced files go to the journal, an entry each, and are
copied into the final record, so no entry is written more than twice however long the run is.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from harvester.core.calendar import Clock
from harvester.core.config import Manifest
from harvester.core.errors import StoreError
from harvester.operations.record import summary_file
from harvester.operations.record.run_events import RunEvents
from harvester.operations.record.run_record import as_record, feed_entry
from harvester.operations.record.summary import Summary
from harvester.storage.layout import Tree
from harvester.storage.publish import Published
from harvester.storage.state import run_records
from harvester.storage.state.publish_journal import Journal

_log = logging.getLogger("harvester.run")


class _OpenRecord(NamedTuple):
    """The place of a record and its journal; ``bucket`` is one that the run holds."""

    tree: Tree
    bucket: int
    journal: Journal


class RunLog:
    """The journal and the record of one run. Safe for concurrent threads.

    ``now`` is in seconds since the Unix epoch; ``copy`` is a file that gets the record too, and
    ``events`` tells of what happens.
    """

    def __init__(
        self,
        summary: Summary,
        now: Clock,
        copy: Path | None = None,
        events: RunEvents | None = None,
    ) -> None:
        self.summary = summary
        self.now = now
        self.events = events or RunEvents()
        self._copy = copy
        self._place: _OpenRecord | None = None
        self._closed = False
        self._lock = threading.Lock()

    def begin_copy(self, manifest: Manifest) -> None:
        """Write the record to the user's file, before the first request.

        Raises UsageError if the file cannot be written, lies inside of the output, or is read for
        the manifest; then nothing is written to it later either.
        """
        with self._lock:
            copy, self._copy = self._copy, None
            if copy is not None:
                summary_file.refuse_place(copy, manifest)
                summary_file.begin(copy, self._as_record())
            self._copy = copy

    def open(self, tree: Tree, own: list[int]) -> None:
        """Begin a record, and take over the journals of dead runs; only with these buckets locked.

        Raises StoreError, and UsageError for a journal of a newer version.
        """
        with self._lock:
            self._place = _OpenRecord(tree, own[0], Journal(tree, self.summary.run_id, own[0]))
            self._write(self._place)
            self._place.journal.take_over(own)

    def restart(self, own: list[int]) -> None:
        """Go on with an open record under the summary's new id, in the place of the old record.

        Raises StoreError. If the run is killed meanwhile, the old record stays as a killed run's.
        """
        with self._lock:
            if self._place is None:
                return
            tree, bucket, journal = self._place
            self._place = _OpenRecord(tree, bucket, Journal(tree, self.summary.run_id, bucket))
            self._write(self._place)
            self._place.journal.take_over(own)
            run_records.delete(tree, journal.run_id)

    def record_published(self, item: Published) -> None:
        """Add a replaced file to the journal, durably, and to the summary. Raises StoreError."""
        with self._lock:
            if self._place is not None:
                self._place.journal.add(feed_entry(item))
            news = self.summary.file_published(item)
            self.events.published(self.summary, item, self.now())
        for line in news:
            _log.warning("%s", line)

    def write(self) -> None:
        """Write a checkpoint of the record. A store error is logged: the run itself meets it."""
        with self._lock, _log_store_errors():
            if self._place is not None and not self._closed:
                self._write(self._place)

    def close(self, *, patience: float = -1.0) -> None:
        """Write the final record with the entries of the journal, once.

        If it cannot be written the error is logged, and the next run takes the journal over. Waits
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
        tree, bucket, journal = self._place
        self._copy_to_user(record, journal.entries())
        with _log_store_errors():
            run_records.write(tree, self.summary.run_id, record, journal.entries(), bucket=bucket)
            journal.remove()

    def _write(self, place: _OpenRecord) -> None:
        record = self._as_record()
        run_records.write(place.tree, self.summary.run_id, record, bucket=place.bucket)
        self._copy_to_user(record)

    def _as_record(self) -> dict[str, Any]:
        self.summary.ended_at = self.now()
        return as_record(self.summary)

    def _copy_to_user(self, record: dict[str, Any], feed: Iterable[dict[str, Any]] = ()) -> None:
        if self._copy is not None:
            with _log_store_errors():
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
def _log_store_errors() -> Iterator[None]:
    try:
        yield
    except StoreError as error:
        _log.error("the run record is not written: %s; %s", error.problem, error.advice)

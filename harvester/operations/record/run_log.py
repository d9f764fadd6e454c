"""What a run leaves in writing: a journal of what it replaced, and a record of how it went.

The record is written when the run begins, now and then while it works, and when it ends; killed
at any moment, a run leaves one that says ``running``. What it replaced goes to the journal, one
entry a file, and stands in the record in the end, so that no entry is written more than twice
however long the run is.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from harvester.core.errors import HarvesterError, StoreError
from harvester.operations.record.run_record import as_record, feed_entry
from harvester.operations.record.summary import Summary
from harvester.storage.layout import Tree
from harvester.storage.publish import Published
from harvester.storage.state import run_records
from harvester.storage.state.publish_journal import Journal

_log = logging.getLogger("harvester.run")


class RunLog:
    """The journal and the record of one run. Any thread may call.

    ``now`` is in seconds since the Unix epoch; ``copy`` is where the user wants the record too.
    """

    def __init__(
        self, summary: Summary, now: Callable[[], float], copy: Path | None = None
    ) -> None:
        self.summary = summary
        self._now = now
        self._copy = copy
        self._place: _OpenRecord | None = None
        self._closed = False
        self._lock = threading.Lock()

    def open(self, tree: Tree, own: list[int]) -> None:
        """Begin a record, and take over what dead runs have replaced. Raises StoreError.

        Only for who holds these buckets.
        """
        with self._lock:
            self._place = _OpenRecord(tree, own[0], Journal(tree, self.summary.run_id, own[0]))
            self._write(self._place)
            self._place.journal.take_over(own)

    def record_published(self, item: Published) -> None:
        """Remember a file that was replaced, on the disk too. Raises StoreError."""
        with self._lock:
            if self._place is not None:
                self._place.journal.add(feed_entry(item))
            self.summary.note(item)

    def write(self) -> None:
        """The record as things stand. A disk that refuses it will end the run soon enough."""
        with self._lock, _log_store_errors():
            if self._place is not None and not self._closed:
                self._write(self._place)

    def close(self, *, patience: float = -1.0) -> None:
        """The record of a run that has ended, with everything it replaced; once and for all.

        If the disk refuses it, the run is what it was, and the next one takes the journal over. For
        so many seconds at most another thread is waited for; after that, that one writes it.
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
        self.summary.ended_at = self._now()
        record = as_record(self.summary)
        if self._place is None:
            self._copy_to_user_file(record)
            return
        tree, bucket, journal = self._place
        self._copy_to_user_file(record, journal.entries())
        with _log_store_errors():
            run_records.write(tree, self.summary.run_id, record, journal.entries(), bucket=bucket)
            journal.remove()

    def _write(self, place: _OpenRecord) -> None:
        self.summary.ended_at = self._now()
        record = as_record(self.summary)
        run_records.write(place.tree, self.summary.run_id, record, bucket=place.bucket)
        self._copy_to_user_file(record)

    def _copy_to_user_file(
        self, record: dict[str, Any], feed: Iterable[dict[str, Any]] = ()
    ) -> None:
        if self._copy is not None:
            with _log_store_errors():
                run_records.write_file(self._copy, record, feed)


class _OpenRecord(NamedTuple):
    """Where the books of a run are kept that holds its buckets."""

    tree: Tree
    bucket: int
    journal: Journal


@contextmanager
def recorded(books: RunLog) -> Iterator[None]:
    """Close the books of a run however the block ends, with the reason if it fails."""
    try:
        yield
    except Exception as error:
        if isinstance(error, HarvesterError):
            books.summary.failed = error
        else:
            books.summary.bugs += 1
        books.close()
        raise
    books.close()


@contextmanager
def _log_store_errors() -> Iterator[None]:
    try:
        yield
    except StoreError as error:
        _log.error("the run record is not written: %s; %s", error.problem, error.advice)

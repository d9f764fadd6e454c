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

from harvester.errors import StoreError
from harvester.publish import Published
from harvester.report.record import as_record, publication
from harvester.store import records
from harvester.store.journal import Journal
from harvester.store.layout import Tree
from harvester.summary import Summary

_log = logging.getLogger("harvester.run")


class Books:
    """The journal and the record of one run. Any thread may call.

    ``own`` are the buckets that the run holds; ``copy`` is where the user wants the record too.
    ``now`` is in seconds since the Unix epoch.
    """

    def __init__(
        self,
        tree: Tree,
        summary: Summary,
        own: list[int],
        now: Callable[[], float],
        copy: Path | None = None,
    ) -> None:
        self._tree = tree
        self._summary = summary
        self._own = own
        self._now = now
        self._copy = copy
        self._journal = Journal(tree, summary.run_id, own[0])
        self._lock = threading.Lock()

    def open(self) -> None:
        """Begin a record, and take over what dead runs have replaced. Raises StoreError."""
        with self._lock:
            self._summary.ended_at = self._now()
            self._keep()
            self._hand_over()
            self._journal.take_over(self._own)

    def note(self, item: Published) -> None:
        """Remember a file that was replaced, on the disk too. Raises StoreError."""
        with self._lock:
            self._journal.add(records.entry(publication(item)))
            self._summary.note(item)

    def write(self) -> None:
        """The record as things stand. A disk that refuses it will end the run soon enough."""
        with self._lock:
            self._summary.ended_at = self._now()
            with _complaining():
                self._keep()
            self._hand_over()

    def close(self) -> None:
        """The record of a run that has ended, with everything it replaced.

        If the disk refuses it, the run is what it was, and the next one takes the journal over.
        """
        with self._lock:
            self._summary.ended_at, self._summary.finished = self._now(), True
            self._hand_over(self._journal.entries())
            with _complaining():
                self._keep(self._journal.entries())
                self._journal.remove()

    def _keep(self, feed: Iterable[bytes] = ()) -> None:
        record = as_record(self._summary)
        records.write(self._tree, self._summary.run_id, record, feed, bucket=self._own[0])

    def _hand_over(self, feed: Iterable[bytes] = ()) -> None:
        hand_over(self._copy, self._summary, feed)


def hand_over(copy: Path | None, summary: Summary, feed: Iterable[bytes] = ()) -> None:
    """Write the record where the user wants it. That it fails is told, and changes nothing."""
    if copy is not None:
        with _complaining():
            records.write_file(copy, as_record(summary), feed)


@contextmanager
def _complaining() -> Iterator[None]:
    try:
        yield
    except StoreError as error:
        _log.error("the run record is not written: %s; %s", error.problem, error.advice)

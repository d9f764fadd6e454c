"""Changes of the files by a run, and the record of how the run went.

The record is written when the run begins, at checkpoints and when it ends; a run that is killed
leaves a record that says ``running``. Replaced files go to the change logs of their buckets, an
entry each, and are copied into the final record. Work on buckets is done under their locks.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from functools import partial
from math import inf
from pathlib import Path
from typing import Any

from harvester.core.config.settings import Manifest
from harvester.core.errors import HarvesterError, StoreError, UsageError
from harvester.core.exit_codes import Exit
from harvester.core.shortage import shortage
from harvester.runs import facts
from harvester.runs.attention_finder import attention_of, former_runs
from harvester.runs.clock import CheckedClock
from harvester.runs.record.events import bug_of
from harvester.runs.record.labels import engine_labels
from harvester.runs.record.record import Record, new_run_id
from harvester.runs.record.run_record import as_record, feed_entry
from harvester.runs.stream import Stream
from harvester.runs.user_files import UserFile
from harvester.storage import locks
from harvester.storage.backends.claims import Claim
from harvester.storage.derived import derived_runs
from harvester.storage.layout import Tree
from harvester.storage.publication import Published
from harvester.storage.state import manifests, record_folding, run_records
from harvester.storage.state.change_log import ChangeLog

_log = logging.getLogger("harvester.run")


class RunLog:
    """The changes and the record of one run. Safe for concurrent threads.

    The record is that of ``stream``. ``files`` of the user get it too, each in its own form, also
    if the run ends before it has begun. ``manifest`` is the one that the run works on, once it is
    read, and ``whole`` that one before it was narrowed, to be kept in the output. ``write_tables``
    brings the tables beside the datasets up to date, once the run has come to its own end. A run
    that has the lock of the first bucket ``folds`` older records.
    """

    def __init__(self, stream: Stream, files: Iterable[UserFile] = ()) -> None:
        self.stream = stream
        self.manifest: Manifest | None = None
        self.whole: Manifest | None = None
        self.write_tables: Callable[[], object] | None = None
        self.folds = False
        self._is_hurried = False
        self._files = [*files]
        self._changes: ChangeLog | None = None
        self._closed = False
        self._lock = threading.Lock()

    @property
    def run_id(self) -> str:
        """The id of the run."""
        return self.stream.own.run_id

    def begin_files(self, refuse: Callable[[UserFile], None]) -> None:
        """Write the user's files before the first request.

        Raises UsageError if ``refuse`` does or if a file cannot be written; then nothing is written
        to that file later either.
        """
        with self._lock:
            # Forgotten until each is known to be usable: a file that is refused stays as it is.
            files, self._files = self._files, []
            record = self._snapshot()
            for file in files:
                refuse(file)
                file.begin(record, as_record(record))
                self._files.append(file)

    def open(self, tree: Tree, own: list[int], *, is_new: bool = False) -> None:
        """Begin a record, and open the change logs of these buckets; only with their locks held.

        ``is_new`` begins the logs of a tree that is being made. Raises StoreError, and UsageError
        for a log of a newer version.
        """
        with self._lock:
            self._changes = ChangeLog(tree, self.run_id, self.stream.now)
            self._write(tree)
            self._changes.open(map(tree.bucket_label, own), is_new=is_new)
            self.folds |= 0 in own

    def correct_clock(self, offset: float) -> None:
        """Go on by a clock that is ``offset`` seconds ahead, and with a record of a new id.

        Raises StoreError. If the run is killed meanwhile, the old record stays as a killed run's.
        """
        run_id = new_run_id(self.stream.own.started_at + offset)
        self.stream.report(facts.ClockCorrected(offset, run_id))
        with self._lock:
            if self._changes is None:
                return
            former = self._changes.run_id
            # The new record first: a run that is killed in between leaves both, and not none.
            self._changes.run_id = self.run_id
            self._write(self._changes.tree)
            run_records.delete(self._changes.tree, former)

    def announce(self, item: Published) -> None:
        """Note, durably, a change of which no raw group is left if it is not recorded.

        Called before the change, with the file as it will be. Raises StoreError.
        """
        with self._lock:
            if self._changes is not None:
                self._changes.announce(feed_entry(item))

    def record_published(self, *items: Published) -> None:
        """Add changed files to their logs, durably, and to the facts of the run. Raises StoreError.

        For any thread: `Stream.drain` folds the fact.
        """
        with self._lock:
            # The log first: a fact that is told and not durable could be missed by followers.
            if self._changes is not None:
                self._changes.add(*map(feed_entry, items))
            self.stream.put(*items)

    def write(self) -> None:
        """Write a checkpoint of the record. A store error is logged: the run itself meets it."""
        with self._lock, log_store_errors():
            if self._changes is not None and not self._closed:
                self._write(self._changes.tree)

    def close(self, error: Exception | None = None) -> None:
        """End the run, once: write the final record with the changes, and fold the change logs.

        ``error`` has ended it. If the record cannot be written the error is logged, and the next
        run records the changes.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self.stream.drain()
        end = end_of(error, self.stream.now(), self.stream.stop.code)
        # Before the listeners, because who hears of the end may look for the record.
        self.stream.report(end, before=self._close)

    def final_write(self, patience: float) -> None:
        """Write the record of a run that a signal is about to kill, from the signal's thread.

        Waits up to ``patience`` seconds for another thread; one that holds the lock for longer
        writes the record itself.
        """
        if not self._lock.acquire(timeout=patience):
            return
        try:
            if not self._closed:
                self._closed = True
                # Earlier records and the kept manifest take longer than such a process has.
                self.manifest = self.whole = None
                self._is_hurried = True
                # Folded alone: the listeners belong to the thread of the run.
                code = self.stream.stop.code or Exit.SIGTERM
                self.stream.fold(end_of(None, self.stream.now(), code))
                self._close()
        finally:
            self._lock.release()

    def _close(self) -> None:
        with log_store_errors():
            self._find_attention()
        done = self.stream.record
        record = as_record(done)
        try:
            self._write_files(done, record)
        finally:
            # In any case: an error in what is made for the user must not cost the record.
            if self._changes is not None:
                self._end_record(self._changes, record)

    def _end_record(self, changes: ChangeLog, record: dict[str, Any]) -> None:
        tree = changes.tree
        with log_store_errors():
            # Not by a run that was refused, which changes nothing.
            if self.whole is not None and self.stream.own.failed is None:
                # One of a newer version stays as it is.
                with suppress(UsageError):
                    manifests.keep(tree, self.whole, self.stream.now())
            run_records.write(tree, self.run_id, record)
            try:
                self._write_tables()
                # The next run adds what is left out here.
                if self.stream.own.failed is None and not self._is_hurried:
                    _write(partial(derived_runs.update_runs, tree, record))
                    _write(partial(derived_runs.update_codes, tree))
            except Exception as error:
                # Or the record would call a run complete that ends as a bug, or short of memory.
                lack = shortage(error)
                self.stream.fold(end_of(lack or error, self.stream.now()))
                run_records.write(tree, self.run_id, as_record(self.stream.record))
                if lack is not None:
                    raise lack from None
                raise
            changes.close()
            if self.folds:
                record_folding.fold(tree, self.stream.now())

    def _write_tables(self) -> None:
        """Write the tables of the buckets, unless the run failed or is to end soon."""
        if self.write_tables and self.stream.own.failed is None and self.stream.stop.code is None:
            _write(self.write_tables)

    def _find_attention(self) -> None:
        """Add what the run leaves to a person, which earlier records date. Raises StoreError."""
        if self.manifest is not None:
            # A run without a place in the output compares itself with none.
            former = former_runs(self._changes.tree) if self._changes else ()
            found = attention_of(self.stream.record, self.manifest, former)
            self.stream.fold(facts.AttentionFound(found))

    def _write(self, tree: Tree) -> None:
        record = self._snapshot()
        members = as_record(record)
        run_records.write(tree, self.run_id, members)
        self._write_files(record, members)

    def _snapshot(self) -> Record:
        # A copy, because facts may go on being folded meanwhile.
        return replace(self.stream.snapshot(), ended_at=self.stream.now())

    def _write_files(self, record: Record, members: dict[str, Any]) -> None:
        for file in self._files:
            with log_store_errors(f"the file of {file.option}"):
                file.write(record, members)


def end_of(error: Exception | None, now: float, stopped_by: Exit | None = None) -> facts.Ended:
    """Return the end of a run; an error other than a HarvesterError is a bug."""
    if error is None or isinstance(error, HarvesterError):
        return facts.Ended(now, error, stopped_by=stopped_by)
    return facts.Ended(now, bug_of(error), bug=True, stopped_by=stopped_by)


@contextmanager
def recorded(run_log: RunLog) -> Iterator[None]:
    """Close the log of a run however the block ends, with the error if it fails.

    What the system refused to this process is raised as a Shortage.
    """
    try:
        yield
    except Exception as error:
        lack = shortage(error)
        run_log.close(lack or error)
        if lack is not None:
            raise lack from None
        raise
    run_log.close()


@contextmanager
def log_store_errors(what: str = "the run record") -> Iterator[None]:
    """Log a StoreError of the block, because the run itself meets it too."""
    try:
        yield
    except StoreError as error:
        _log.error("%s is not written: %s; %s", what, error.problem, error.advice)


def new_run_log(
    manifest: Path, clock: CheckedClock, files: Iterable[UserFile] = (), verb: str = "run"
) -> RunLog:
    """Return the log of a run that began with its clock; it writes ``files`` too."""
    stream = Stream(replace(Record.begun(manifest, clock.started_at), verb=verb), clock)
    stream.report(facts.Begun(engine_labels(os.environ)))
    return RunLog(stream, files)


def locked(
    tree: Tree, buckets: Iterable[int], stream: Stream, timeout: float | None, limit: float = inf
) -> AbstractContextManager[Tree]:
    """Hold the locks of buckets for the block; yields the held tree. Raises as `locks.hold`.

    It waits ``timeout`` seconds for another run, None for what is usual, at most ``limit``
    seconds, and no longer once the run is to stop.
    """
    _make_folder(tree)
    run, stop = stream.own, stream.stop
    claim = Claim(run.run_id, stream.now, run.shard, timeout, lambda: stop.code is not None, limit)
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
            "name another folder, or correct its permissions",
        )


@contextmanager
def locked_and_recorded(
    run_log: RunLog, tree: Tree, own: list[int], lock_timeout: float | None, limit: float = inf
) -> Iterator[Tree]:
    """Hold the locks of buckets and keep the log open until the block ends.

    Raises as `locks.hold`, StoreError, and UsageError for a journal of a newer version.
    """
    held = locked(tree, own, run_log.stream, lock_timeout, limit)
    # The log is closed under the locks: the next holder must find it complete.
    with held as mine, recorded(run_log):
        run_log.open(mine, own)
        yield mine


def _write(write: Callable[[], object]) -> None:
    """Write files of tables, or log why they stay as they are, such as one of a newer version."""
    try:
        write()
    except HarvesterError as error:
        _log.error("the tables are not up to date: %s; %s", error.problem, error.advice)

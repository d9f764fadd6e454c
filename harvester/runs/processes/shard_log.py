"""Log of one shard: the process that shares out the run writes the record of all shards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harvester.runs import facts
from harvester.runs.processes import messages
from harvester.runs.run_log import OpenRecord, RunLog, log_store_errors
from harvester.runs.stream import Stream


class ShardLog(RunLog):
    """The changes of one shard. ``ask`` puts a question to the process that writes the record."""

    def __init__(self, stream: Stream, ask: Callable[[messages.Question], Any]) -> None:
        super().__init__(stream)
        self._ask = ask

    def correct_clock(self, offset: float) -> None:
        """Go on under the id that all shards take after the clock was corrected."""
        # In all, because the other shards count from the machine's clock too.
        whole = self.stream.own.clock_offset + offset
        run_id = self._ask(messages.ClockMoved(whole))
        self.stream.report(facts.ClockCorrected(offset, run_id))
        with self._lock:
            if self._place is not None:
                self._place.changes.run_id = run_id

    def close(self, error: Exception | None = None) -> None:
        """End the shard, once, and wait until that is recorded. Raises EOFError."""
        is_first = not self._closed
        super().close(error)
        # The locks are released after this. A run that took the buckets sooner would find the
        # changes in their logs and no record of the run that made them.
        if is_first:
            self._ask(messages.Recorded())

    def _close(self) -> None:
        """Fold the change logs: the record is written elsewhere."""
        if self._place is not None:
            with log_store_errors():
                self._write_tables()
                self._place.changes.close()

    def _write(self, place: OpenRecord) -> None:
        """Write nothing: the facts are told as they happen."""

"""Log of one shard: the process that shares out the run writes the record of all shards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harvester.core.calendar import Clock
from harvester.core.errors import HarvesterError
from harvester.runs.processes import messages
from harvester.runs.record.merged_summary import without_secrets
from harvester.runs.record.run_events import RunEvents
from harvester.runs.record.run_log import OpenRecord, RunLog, log_store_errors
from harvester.runs.record.summary import Summary
from harvester.storage.layout import Tree


class ShardLog(RunLog):
    """The changes of one shard. ``bug`` is the internal error that ended it.

    ``tell`` sends a message to the process that writes the record, and ``ask`` waits for its
    answer.
    """

    def __init__(
        self,
        summary: Summary,
        now: Clock,
        tell: Callable[[messages.FromShard], None],
        ask: Callable[[messages.Question], Any],
        events: RunEvents,
    ) -> None:
        super().__init__(summary, now, events=events)
        self._tell = tell
        self._ask = ask
        self.bug: HarvesterError | None = None

    def open(self, tree: Tree, own: list[int], *, is_new: bool = False) -> None:
        """Tell that the buckets are locked, and open their change logs. Raises as `RunLog`."""
        self._tell(messages.Locked())
        super().open(tree, own, is_new=is_new)

    def restart(self) -> None:
        """Go on under the name that all shards take after the clock was corrected."""
        with self._lock:
            self.summary.renamed(self._ask(messages.ClockMoved(self.summary.clock_offset)))
            if self._place is not None:
                self._place.changes.rename(self.summary.run_id)

    def _close(self) -> None:
        """Report the end; once it is recorded, fold the change logs.

        They stay as they are if this process is alone by then: the next run records the changes.
        """
        self.events.ended(self.summary, self.now())
        changes = None if self._place is None else self._place.changes
        summary = without_secrets(self.summary)
        first = {} if changes is None else changes.first
        self._ask(messages.Ended(summary, self.summary.failed or self.bug, first))
        if changes is not None:
            with log_store_errors():
                changes.close()

    def _write(self, place: OpenRecord) -> None:
        """Write nothing: the counters are told as they change."""

"""State of one run: its manifest, its output and its options, and what the files have."""

from __future__ import annotations

from typing import NamedTuple

from harvester.core.config.settings import Manifest
from harvester.planning import wanted_days
from harvester.runs import runtime
from harvester.runs.run_log import RunLog
from harvester.runs.stream import Stream
from harvester.storage import coverage_scan, layout
from harvester.storage.account_scan import Scan


class RunState(NamedTuple):
    """Inputs of one run; ``own`` are the buckets of its shard, and the manifest has their accounts.

    ``whole`` is that part of the manifest before options narrowed it, for the tables.
    ``read_again`` returns both as of another time. ``grant`` is how many requests the run may make,
    None for any number. What happens goes to the facts of ``run_log``. ``as_of`` decides which days
    are wanted: it is the beginning of the run by the earlier clock.
    """

    manifest: Manifest
    whole: Manifest
    tree: layout.Tree
    options: runtime.RunOptions
    context: runtime.RunContext
    own: list[int]
    run_log: RunLog
    read_again: runtime.ReadAgain
    grant: int | None = None
    as_of: float = 0.0

    @property
    def stream(self) -> Stream:
        """The facts of the run."""
        return self.run_log.stream

    @property
    def started_at(self) -> float:
        """The moment at which the run began, by the clock that it goes by."""
        return self.stream.own.started_at

    @property
    def is_narrowed(self) -> bool:
        """Return whether options select less than the whole manifest."""
        manifest, whole = self.manifest, self.whole
        return (whole.names.keys(), whole.jobs) != (manifest.names.keys(), manifest.jobs)

    def with_paused(self, want: wanted_days.Wanted) -> wanted_days.Wanted:
        """Return the wanted days, and those of paused accounts: the tables have both."""
        if self.is_narrowed or not wanted_days.paused_accounts(self.whole):
            return want
        return wanted_days.wanted(self.whole, self.as_of, paused_too=True)

    def scan(self, want: wanted_days.Wanted) -> Scan:
        """Return what the files have now of the days of `with_paused`."""
        now, datasets = self.context.clock(), self.manifest.datasets
        return coverage_scan.read(self.tree, self.with_paused(want), now, datasets, self.own)

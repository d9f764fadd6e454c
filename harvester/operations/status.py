"""Status of an output: covered, missing, suspicious and quarantined days."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from harvester.core import calendar
from harvester.core.config import Manifest
from harvester.core.exit_codes import Exit
from harvester.core.model import DayRange
from harvester.core.results import PausedAccount
from harvester.operations.gate import Gate, Required, read_gate
from harvester.operations.record.account_report import DatasetSummary, summarise_states
from harvester.operations.record.next_requests import NO_REQUESTS, NextRequests, next_requests
from harvester.operations.runtime import Project
from harvester.planning import bucket_sizing, windows
from harvester.storage import coverage_scan, quarantine, unmanaged_files
from harvester.storage.coverage_scan import States, day_ranges_of
from harvester.storage.layout import Tree
from harvester.storage.publication import QuarantinedDay
from harvester.storage.state import run_records
from harvester.storage.state.run_records import RunRecord

LAST_RUNS = 5
"""Number of run records that are shown, newest first."""


@dataclass(frozen=True, slots=True)
class Status:
    """The state of all days that a manifest wants, read from the files alone.

    ``unusable`` counts the quarantined account-days without an earlier good answer. ``foreign`` are
    files in the datasets' folders that are not harvester's. ``gate`` is the answer about required
    days, if some were. ``paused`` accounts are in none of the others. ``next_requests`` is
    the price of a next run.
    """

    datasets: tuple[DatasetSummary, ...]
    gaps: tuple[DayRange, ...]
    suspicious: tuple[DayRange, ...]
    quarantined: tuple[QuarantinedDay, ...]
    unusable: int
    runs: tuple[RunRecord, ...]
    foreign: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    gate: Gate | None = None
    next_requests: NextRequests = NO_REQUESTS
    paused: tuple[PausedAccount, ...] = ()

    @property
    def complete(self) -> bool:
        """True if every day that is wanted and ready has a usable answer.

        A provisional answer is enough, so no day becomes a gap because midnight passed.
        """
        return not self.gaps and not self.unusable


def status(project: Project, required: Required | None = None) -> Status:
    """Read the status of a project from its files, and judge the required days.

    Raises StoreError, and UsageError for files of a newer version or another number of buckets.
    """
    return read(project.manifest, project.tree, project.clock.started_at, required)


def read(manifest: Manifest, tree: Tree, now: float, required: Required | None = None) -> Status:
    """Read the status at ``now``, in seconds since the Unix epoch. Raises as `status`."""
    want = windows.wanted(manifest, now)
    states = coverage_scan.read_states(tree, want, now)
    return Status(
        datasets=tuple(summarise_states(want, states)),
        gaps=tuple(_gaps(want, states)),
        suspicious=tuple(coverage_scan.suspicious(states)),
        quarantined=tuple(quarantined_days(tree, states)),
        unusable=sum(
            calendar.count_days(state.unanswered)
            for of_dataset in states.values()
            for state in of_dataset.values()
        ),
        runs=tuple(map(_with_outcome, run_records.last(tree, LAST_RUNS))),
        foreign=tuple(unmanaged_files.files(tree, want)),
        warnings=tuple(bucket_sizing.warnings(manifest, want)),
        next_requests=next_requests(manifest, want, states, calendar.today(now)),
        gate=required and read_gate(required, manifest, tree, now, states),
        paused=windows.paused_accounts(manifest),
    )


def _with_outcome(record: RunRecord) -> RunRecord:
    """Add the outcome to the record of an older release, which has the exit code alone."""
    known = {int(code): code.outcome.value for code in Exit}
    if record.outcome is not None or record.exit_code is None:
        return record
    return replace(record, outcome=known.get(record.exit_code))


def quarantined_days(tree: Tree, states: dict[str, dict[str, States]]) -> Iterator[QuarantinedDay]:
    """Yield the quarantined days among the wanted ones, with their reasons.

    The coverage decides: an answer in quarantine may be older than a good answer of its day.
    """
    for dataset, of_dataset in states.items():
        for entry in quarantine.entries(tree, dataset):
            appid = entry.answer.window.appid
            state = of_dataset.get(appid)
            if state is not None and calendar.has_day(state.quarantined, entry.day):
                yield QuarantinedDay(appid, dataset, entry.day, entry.reason)


def _gaps(want: windows.Wanted, states: dict[str, dict[str, States]]) -> Iterator[DayRange]:
    for dataset, of_dataset in want.items():
        for appid, wanted in of_dataset.items():
            yield from day_ranges_of(appid, dataset, wanted & ~states[dataset][appid].covered)

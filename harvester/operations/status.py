"""Coverage for people and schedulers: days that are there, missing or odd."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from harvester.core import calendar
from harvester.core.config import Manifest
from harvester.core.model import DayRange
from harvester.operations.record.account_report import DatasetSummary, summarise_states
from harvester.operations.runtime import Project
from harvester.planning import bucket_sizing, windows
from harvester.planning.windows import Wanted
from harvester.storage import coverage_scan, quarantine, unmanaged_files
from harvester.storage.coverage_scan import States, day_ranges_of
from harvester.storage.layout import Tree
from harvester.storage.publish import QuarantinedDay
from harvester.storage.state import run_records

LAST_RUNS = 5
"""So many run records are shown."""


@dataclass(frozen=True, slots=True)
class Status:
    """The state of everything a manifest wants, read from the files alone.

    ``unusable`` counts the quarantined days that have no good answer either. ``foreign`` are files
    in the datasets' folders that are not harvester's.
    """

    datasets: tuple[DatasetSummary, ...]
    gaps: tuple[DayRange, ...]
    suspicious: tuple[DayRange, ...]
    quarantined: tuple[QuarantinedDay, ...]
    unusable: int
    runs: tuple[run_records.RunRecord, ...]
    foreign: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """True if every day that is wanted and ready has an answer that can be used.

        It may be a provisional one of an earlier day: no day becomes a gap because midnight passed.
        """
        return not self.gaps and not self.unusable


def status(project: Project) -> Status:
    """Survey the files of a project. Raises StoreError."""
    return read(project.manifest, project.tree, project.clock.started_at)


def read(manifest: Manifest, tree: Tree, now: float) -> Status:
    """Survey the files. ``now`` is in seconds since the Unix epoch. Raises StoreError."""
    want = windows.wanted(manifest, now)
    states = coverage_scan.read_states(tree, want, calendar.today(now))
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
        runs=tuple(run_records.last(tree, LAST_RUNS)),
        foreign=tuple(unmanaged_files.files(tree, want)),
        warnings=tuple(bucket_sizing.warnings(manifest, want)),
    )


def quarantined_days(tree: Tree, states: dict[str, dict[str, States]]) -> Iterator[QuarantinedDay]:
    """Yield the quarantined days among those that are wanted, with their reasons.

    The files say which days these are: evidence may outlive its day.
    """
    for dataset, of_dataset in states.items():
        for entry in quarantine.entries(tree, dataset):
            appid = entry.answer.window.appid
            state = of_dataset.get(appid)
            if state is not None and calendar.has_day(state.quarantined, entry.day):
                yield QuarantinedDay(appid, dataset, entry.day, entry.reason)


def _gaps(want: Wanted, states: dict[str, dict[str, States]]) -> Iterator[DayRange]:
    for dataset, of_dataset in want.items():
        for appid, wanted in of_dataset.items():
            yield from day_ranges_of(appid, dataset, wanted & ~states[dataset][appid].covered)

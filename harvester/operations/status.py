"""Coverage for people and schedulers: days that are there, missing or odd."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from harvester import days, plan, sizes, survey
from harvester.core.config import Manifest
from harvester.core.model import Stretch
from harvester.operations.runtime import Project
from harvester.plan import Wanted
from harvester.publish import QuarantinedDay
from harvester.store import foreign, quarantine
from harvester.store.layout import Tree
from harvester.store.state import run_records
from harvester.summary import DatasetSummary, summarise_states
from harvester.survey import States, stretches

LAST_RUNS = 5
"""So many run records are shown."""


@dataclass(frozen=True, slots=True)
class Status:
    """The state of everything a manifest wants, read from the files alone.

    ``unusable`` counts the quarantined days that have no good answer either. ``foreign`` are files
    in the datasets' folders that are not harvester's.
    """

    datasets: tuple[DatasetSummary, ...]
    gaps: tuple[Stretch, ...]
    suspicious: tuple[Stretch, ...]
    quarantined: tuple[QuarantinedDay, ...]
    unusable: int
    runs: tuple[run_records.RunRecord, ...]
    foreign: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """True if every day that is wanted and ready has an answer that can be used.

        It may be a provisional one of an earlier day: no day becomes a gap because midnight passed.
        """
        return not self.gaps and not self.unusable


def status(project: Project) -> Status:
    """Survey the files of a project. Raises StoreError."""
    return read(project.manifest, project.tree, project.clock.started_at)


def read(manifest: Manifest, tree: Tree, now: float) -> Status:
    """Survey the files. ``now`` is in seconds since the Unix epoch. Raises StoreError."""
    want = plan.wanted(manifest, now)
    states = survey.read_states(tree, want, days.today(now))
    return Status(
        datasets=tuple(summarise_states(want, states)),
        gaps=tuple(_gaps(want, states)),
        suspicious=tuple(survey.suspicious(states)),
        quarantined=tuple(quarantined_days(tree, states)),
        unusable=sum(
            days.count_days(state.unusable)
            for of_dataset in states.values()
            for state in of_dataset.values()
        ),
        runs=tuple(run_records.last(tree, LAST_RUNS)),
        foreign=tuple(foreign.files(tree, want)),
        warnings=tuple(sizes.warnings(manifest, want)),
    )


def quarantined_days(tree: Tree, states: dict[str, dict[str, States]]) -> Iterator[QuarantinedDay]:
    """Yield the quarantined days among those that are wanted, with their reasons.

    The files say which days these are: evidence may outlive its day.
    """
    for dataset, of_dataset in states.items():
        for entry in quarantine.entries(tree, dataset):
            appid = entry.answer.window.appid
            state = of_dataset.get(appid)
            if state is not None and days.has_day(state.quarantined, entry.day):
                yield QuarantinedDay(appid, dataset, entry.day, entry.reason)


def _gaps(want: Wanted, states: dict[str, dict[str, States]]) -> Iterator[Stretch]:
    for dataset, of_dataset in want.items():
        for appid, wanted in of_dataset.items():
            yield from stretches(appid, dataset, wanted & ~states[dataset][appid].covered)

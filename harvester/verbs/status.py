"""Status of an output: covered, missing, suspicious and quarantined days."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from harvester.core import calendar
from harvester.core.calendar import DaySet
from harvester.core.config.settings import Manifest
from harvester.core.exit_codes import Exit
from harvester.core.results import PausedAccount
from harvester.planning import bucket_sizing, windows
from harvester.runs.record.account_report import DatasetSummary, summarise_states
from harvester.runs.record.next_requests import NO_REQUESTS, NextRequests, next_requests
from harvester.runs.runtime import Project
from harvester.storage import coverage_scan, unmanaged_files
from harvester.storage.backends.claims import Owner
from harvester.storage.coverage_scan import States
from harvester.storage.layout import Tree
from harvester.storage.publication import QuarantinedDay
from harvester.storage.state import run_records
from harvester.storage.state.run_records import RunRecord
from harvester.verbs.account_status import (
    AccountStatus,
    DaysOfAccount,
    MissingDays,
    account_days,
    account_statuses,
    missing_days,
)
from harvester.verbs.gate import Gate, Required, read_gate
from harvester.verbs.missing_days import ExplainedDays, RunHistory

LAST_RUNS = 5
"""Number of run records that are shown, newest first."""

SEARCHED_RUNS = 20
"""Maximum run records that are searched for the causes of missing days."""


@dataclass(frozen=True, slots=True)
class Status:
    """The state of all days that a manifest wants, read from the files alone.

    ``accounts`` has the worst ones first and the paused ones last. ``unusable`` counts the
    quarantined account-days without an earlier good answer. ``foreign`` are files in the datasets'
    folders that are not harvester's. ``gate`` is the answer about required days, if some were.
    ``paused`` accounts are in none of the others but ``accounts``. ``next_requests`` is the price
    of a next run. ``owners`` are the holders of buckets, None if they were not asked for.
    """

    datasets: tuple[DatasetSummary, ...]
    accounts: tuple[AccountStatus, ...]
    gaps: tuple[MissingDays, ...]
    suspicious: tuple[DaysOfAccount, ...]
    quarantined: tuple[QuarantinedDay, ...]
    unusable: int
    runs: tuple[RunRecord, ...]
    foreign: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    gate: Gate | None = None
    next_requests: NextRequests = NO_REQUESTS
    paused: tuple[PausedAccount, ...] = ()
    owners: tuple[Owner, ...] | None = None

    @property
    def complete(self) -> bool:
        """True if every day that is wanted and ready has a usable answer.

        A provisional answer is enough, so no day becomes a gap because midnight passed.
        """
        return not self.gaps and not self.unusable


def status(project: Project, required: Required | None = None, *, owners: bool = False) -> Status:
    """Read the status of a project from its files, and judge the required days.

    With ``owners`` the holders of buckets are read as well. Raises StoreError, and UsageError for
    files of a newer version or another number of buckets.
    """
    found = read(project.manifest, project.tree, project.clock.started_at, required)
    return replace(found, owners=tuple(project.tree.store.owners())) if owners else found


def read(manifest: Manifest, tree: Tree, now: float, required: Required | None = None) -> Status:
    """Read the status at ``now``, in seconds since the Unix epoch. Raises as `status`."""
    want, with_paused = (windows.wanted(manifest, now, paused_too=each) for each in (False, True))
    all_states = coverage_scan.read_states(tree, with_paused, now)
    states = {
        dataset: {appid: all_states[dataset][appid] for appid in of_dataset}
        for dataset, of_dataset in want.items()
    }
    names, history = manifest.names, RunHistory(manifest, tree, now, states)
    missing = list(_missing(want, history))
    return Status(
        datasets=tuple(summarise_states(want, states)),
        accounts=tuple(account_statuses(manifest, with_paused, all_states, missing, now)),
        gaps=tuple(missing_days(names, missing)),
        suspicious=tuple(account_days(names, _suspicious(states))),
        quarantined=tuple(coverage_scan.quarantined_days(tree, states)),
        unusable=sum(
            calendar.count_days(state.unanswered)
            for of_dataset in states.values()
            for state in of_dataset.values()
        ),
        runs=tuple(map(_with_outcome, run_records.last(tree, LAST_RUNS))),
        foreign=tuple(unmanaged_files.files(tree, want)),
        warnings=tuple(bucket_sizing.warnings(manifest, want)),
        next_requests=next_requests(manifest, want, states, calendar.today(now)),
        gate=required and read_gate(required, history),
        paused=windows.paused_accounts(manifest),
    )


def _with_outcome(record: RunRecord) -> RunRecord:
    """Add the outcome to the record of an older release, which has the exit code alone."""
    known = {int(code): code.outcome.value for code in Exit}
    if record.outcome is not None or record.exit_code is None:
        return record
    return replace(record, outcome=known.get(record.exit_code))


def _missing(want: windows.Wanted, history: RunHistory) -> Iterator[ExplainedDays]:
    """Yield the missing days with the cause that the last run which asked for them met."""
    missing = {
        (dataset, appid): lacking
        for dataset, of_dataset in want.items()
        for appid, wanted in of_dataset.items()
        if (lacking := wanted & ~history.states[dataset][appid].covered)
    }
    yield from history.explain(missing, SEARCHED_RUNS)
    for (dataset, appid), days in missing.items():
        if days:
            yield ExplainedDays(dataset, appid, days, history.now)


def _suspicious(states: dict[str, dict[str, States]]) -> Iterator[tuple[str, str, DaySet]]:
    for dataset, of_dataset in states.items():
        for appid, state in of_dataset.items():
            yield appid, dataset, state.suspicious

"""Coverage of the wanted days of a run, read from the files when it ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from harvester.core import calendar
from harvester.core.config.settings import Manifest
from harvester.planning import wanted_days
from harvester.runs.clock import CheckedClock
from harvester.runs.facts import CoverageRead
from harvester.runs.record import account_report
from harvester.runs.record.absent_rows import absent_rows
from harvester.runs.record.expectations import judge
from harvester.runs.record.members import MAX_SUSPICIOUS
from harvester.runs.record.next_requests import next_requests
from harvester.runs.record.record import Record
from harvester.scheduling.account_queue import AccountQueue
from harvester.storage import coverage_scan, layout
from harvester.storage.account_scan import Scan
from harvester.storage.empty_everywhere import empty_everywhere


class Harvested(NamedTuple):
    """The wanted days of a run, the gaps among them before it, and its queues.

    ``gaps`` are by dataset and appid. ``scan`` is what the files have after it, if it was read.
    """

    want: wanted_days.Wanted
    gaps: Mapping[tuple[str, str], calendar.DaySet]
    queues: Sequence[AccountQueue]
    scan: Scan | None = None


def read_coverage(
    record: Record,
    manifest: Manifest,
    tree: layout.Tree,
    harvested: Harvested,
    clock: CheckedClock,
) -> CoverageRead:
    """Read what the files have of the wanted days of a run. Raises StoreError.

    ``harvested`` has the wanted days, the gaps before, and the queues of the run.
    """
    (want, gaps, queues, scan), now = harvested, clock()
    states, _ = scan = scan or coverage_scan.read(tree, want, now, manifest.datasets)
    for (dataset, appid), days in gaps.items():
        states[dataset][appid].told = days
    accounts = tuple(account_report.with_trouble(want, states, record.abandoned, queues))
    lost = {(row.dataset, row.appid, reason) for row in accounts for reason in row.reasons}
    return CoverageRead(
        tuple(account_report.summarise_states(want, states, lost)),
        accounts,
        tuple(coverage_scan.quarantined_days(tree, states)),
        tuple(islice(coverage_scan.suspicious(states), MAX_SUSPICIOUS)),
        next_requests(manifest, want, states),
        clock.is_apart,
        tuple(empty_everywhere(scan, now)),
        judge(manifest, want, states, lost, now),
        absent_rows(manifest, states, now),
        tuple(account_report.beginnings(states, calendar.today(now))),
    )

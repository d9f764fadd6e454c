"""Reports of runs, as the command line prints them."""

from __future__ import annotations

from harvester.operations.plain import plain
from harvester.operations.record.account_report import DatasetSummary
from harvester.operations.record.causes import causes
from harvester.operations.record.next_requests import NextRequests, SuspiciousGaps
from harvester.operations.record.run_record import plain_row
from harvester.operations.record.summary import Summary
from harvester.operations.runtime import Position, Project, Watch, show_no_progress

__all__ = [
    "DatasetSummary",
    "NextRequests",
    "Position",
    "Project",
    "Summary",
    "SuspiciousGaps",
    "Watch",
    "causes",
    "plain",
    "plain_row",
    "show_no_progress",
]

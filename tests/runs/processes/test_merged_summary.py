"""Merging of shards: each counter and each flag of a summary is one of the whole run."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from harvester.core.errors import Busy, ProcessDied, StoreError
from harvester.core.exit_codes import Exit
from harvester.runs.record.account_report import DatasetSummary, DayCounts
from harvester.runs.record.merged_summary import (
    Counts,
    PlannedWork,
    ShardReport,
    plan_merged,
    shards_merged,
)
from harvester.runs.record.summary import Summary, start_summary

OF_THE_PARENT = {"started_at", "ended_at", "today", "finished", "stops_gracefully", "clock_offset"}
OF_THE_PLAN = {"windows", "account_days", "bound_seconds"}
NUMBERS = [
    member.name
    for member in fields(Summary)
    if type(member.default) in {int, float, bool} and member.name not in OF_THE_PARENT | OF_THE_PLAN
]


def new() -> Summary:
    """Return the summary of a run that begins."""
    return start_summary(Path("jobs.yaml"), 1e9)


def shard(number: int, summary: Summary | None = None, error: object = None) -> ShardReport:
    """Return the report of a shard that has ended."""
    report = ShardReport(f"{number}/2", summary=summary)
    report.error = error if isinstance(error, StoreError | Busy | ProcessDied) else None
    if summary is not None:
        report.counts = Counts.of(summary)
    return report


@pytest.mark.parametrize("name", NUMBERS)
def test_every_number_and_flag_is_merged(name: str) -> None:
    """Numbers are added, and a flag of one shard is one of the run."""
    one, two, whole = new(), new(), new()
    is_flag = isinstance(getattr(one, name), bool)
    setattr(one, name, False if is_flag else 2)
    setattr(two, name, True if is_flag else 3)
    shards_merged(whole, [shard(1, one), shard(2, two)])
    assert getattr(whole, name) == (True if is_flag else 5)


def test_plans_are_added_and_the_slowest_shard_bounds() -> None:
    """Shards run at the same time."""
    whole, reports = new(), [shard(1), shard(2), shard(3)]
    reports[0].plan = PlannedWork(10, 100, 3.0, "rate")
    reports[1].plan = PlannedWork(20, 200, 7.0, "cpu")
    plan_merged(whole, reports)
    assert (whole.windows, whole.account_days) == (30, 300)
    assert (whole.bound_seconds, whole.bound_by) == (7.0, "cpu")


def test_the_counts_of_dead_processes_stay() -> None:
    """The process in their place has counts of its own."""
    whole, report = new(), shard(1, new())
    report.counts, report.lost = Counts(requests=5), [Counts(requests=3), Counts(requests=2)]
    shards_merged(whole, [report])
    assert whole.requests == 10
    assert whole.shards[0].deaths == 2


def test_errors_of_shards_are_reasons_and_one_of_all_ends_the_run() -> None:
    """The most severe one, in the order of the exit codes."""
    whole, busy = new(), Busy("locked")
    shards_merged(whole, [shard(1, new(), busy), shard(2, new())])
    assert (whole.failed, whole.reasons()) == (None, {"locked": Exit.AGAIN})
    whole = new()
    shards_merged(whole, [shard(1, new(), busy), shard(2, error=ProcessDied("died"))])
    assert isinstance(whole.failed, ProcessDied)
    assert whole.exit_code is Exit.BUG
    assert [each.reasons for each in whole.shards] == [("locked",), ("died",)]


def test_the_days_of_a_dataset_are_added() -> None:
    """In the order in which the first shard has the datasets."""
    parts = [new(), new()]
    for part, datasets in zip(parts, (("b", "a"), ("b", "c")), strict=True):
        part.datasets = [DatasetSummary(name, 1, DayCounts(wanted=2, done=1)) for name in datasets]
    whole = new()
    shards_merged(whole, [shard(1, parts[0]), shard(2, parts[1])])
    assert [(row.dataset, row.accounts, row.days.wanted) for row in whole.datasets] == [
        ("b", 2, 4),
        ("a", 1, 2),
        ("c", 1, 2),
    ]

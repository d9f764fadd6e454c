"""A harvested output on either backend, opened as a user opens it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import harvester
from harvester.core.calendar import day_text
from harvester.core.config.settings import Output
from harvester.sandbox.data import Row, expected_rows
from tests.support.run_harness import BOTH, RunHarness, appid

DATASETS = (*BOTH, "upstream_msg_week", "biz_summary")
REJECTED = "2026-04-02"
"""A day of the second account whose answer does not fit."""


@dataclass(frozen=True)
class Lab:
    """A harvested output, opened, and a folder with its files for other readers."""

    harness: RunHarness
    output: harvester.Output
    folder: Path


def opened(place: Output) -> harvester.Output:
    """Open an output as a user does."""
    return harvester.open(place.path, endpoint=place.endpoint)


def harvest(root: Path, place: Output | None = None) -> RunHarness:
    """Eleven weeks of five accounts in two buckets, up to yesterday; a day of one is rejected."""

    def source(dataset: str, account: str, day: int) -> list[Row]:
        rows = [dict(row) for row in expected_rows(dataset, account, day)]
        if account == appid(2) and dataset == BOTH[0] and day_text(day) == REJECTED:
            rows = [{**row, "fail_count": "none"} for row in rows]
        return rows

    lab = RunHarness(
        root,
        output=place and replace(place, buckets=2),
        accounts=5,
        end=None,
        datasets=DATASETS,
        buckets=2,
        source=source,
    )
    lab.run()
    return lab

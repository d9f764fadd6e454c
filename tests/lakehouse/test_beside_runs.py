"""Exports while a run writes: each version has whole files, each of one moment."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from harvester.core.calendar import Day, day_text
from harvester.core.errors import LostRace
from harvester.core.model import bucket_of
from harvester.sandbox.data import Row
from harvester.verbs.lakehouse.copies import Copies
from harvester.verbs.lakehouse.export import Format
from tests.lakehouse.catalog_tables import LakePlace
from tests.lakehouse.exports import DAILY, Lakeside
from tests.support.lake_readers import LAKE_TABLES, rows_of_output
from tests.support.lake_stories import FORMATS

RUNS = 6
APRIL = "2026-04-01"


class Counting(Lakeside):
    """An output in which a run counts one more for a day in April than the run before it."""

    count = 0

    def _source(self, dataset: str, account: str, day: Day) -> list[Row]:
        rows = super()._source(dataset, account, day)
        is_counted = dataset == DAILY and day_text(day) == APRIL
        return [{**row, "callback_count": self.count} for row in rows] if is_counted else rows


@pytest.fixture(autouse=True)
def _installed(request: pytest.FixtureRequest) -> None:
    """Skip DuckLake without DuckDB's extensions."""
    if request.getfixturevalue("to") == "ducklake":
        request.getfixturevalue("extensions")


@pytest.fixture
def counting(tmp_path: Path) -> Counting:
    """Such an output after a first run."""
    made = Counting(tmp_path)
    made.harness.run()
    return made


def beside_runs(to: Format, side: Counting, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Export until the last run has ended, and once more; yield the versions of the table.

    A run begins while an export copies.
    """
    copying, real = Event(), Copies.copy

    def copy(copies: Copies, source: str) -> Any:
        copying.set()
        return real(copies, source)

    def run() -> None:
        for side.count in range(1, RUNS + 1):
            copying.wait()
            side.replace_rows(APRIL)
            copying.clear()

    monkeypatch.setattr(Copies, "copy", copy)
    runs = Thread(target=run)
    runs.start()
    is_last = False
    while not is_last:
        is_last = not runs.is_alive()
        try:
            tables = side.export(to).tables
        except LostRace:
            continue
        yield next(table.version for table in tables if table.name == DAILY)
    runs.join()


@pytest.mark.slow
@pytest.mark.parametrize("to", FORMATS)
def test_each_version_has_whole_files(
    to: Format, counting: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of each bucket those of one run, never older than in the version before."""
    versions = dict.fromkeys(beside_runs(to, counting, monkeypatch))
    assert len(versions) > 1
    before = {0: 0, 1: 0}
    for version in versions:
        rows = LakePlace(to, counting.place).rows(version)
        april = [row for row in rows if str(row["ref_date"]) == APRIL]
        assert (len(rows), len(april)) == (24, 6)
        for bucket, count in before.items():
            counts = {
                row["callback_count"] for row in april if bucket_of(row["appid"], 2) == bucket
            }
            assert len(counts) == 1
            assert count <= max(counts)
            before[bucket] = max(counts)
    assert {*before.values()} == {RUNS}
    reader = FORMATS[to](counting.place)
    for table in LAKE_TABLES:
        if found := reader.versions(table):
            expected = rows_of_output(counting.output, table, has_months=reader.has_months)
            assert reader.rows(table, found[-1]) == expected

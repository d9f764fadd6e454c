"""Two runs at once on one folder: one of them works, and the other one names it and stops."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from harvester.core.exit_codes import Exit
from tests.end_to_end.test_kills import sandbox_process, start, write_manifest
from tests.support.nights import by_night
from tests.support.run_harness import BOTH, appid, days_between, expected, published_rows


@pytest.mark.parametrize("times", [1, *by_night([50])])
@pytest.mark.long
def test_two_runs_at_once(tmp_path: Path, duck: duckdb.DuckDBPyConnection, times: int) -> None:
    """Started together they never both work: one ends with 75, and the files are exact."""
    with sandbox_process() as address:
        for number in range(times):
            folder = tmp_path / str(number)
            folder.mkdir()
            manifest = write_manifest(folder, address, 2)
            runs = [start(manifest) for _ in range(2)]
            assert sorted(run.wait() for run in runs) == [Exit.DONE, Exit.AGAIN]
            for dataset in BOTH:
                truth = expected(
                    dataset, [appid(1), appid(2)], days_between("2026-02-01", "2026-04-01")
                )
                assert published_rows(duck, folder / "output", dataset) == truth


@pytest.mark.parametrize("times", [1, *by_night([50])])
@pytest.mark.long
def test_two_first_runs_with_two_numbers_of_buckets(
    tmp_path: Path, duck: duckdb.DuckDBPyConnection, times: int
) -> None:
    """No file is there yet that tells which number is right, and still only one publishes."""
    with sandbox_process() as address:
        for number in range(times):
            folder = tmp_path / str(number)
            folder.mkdir()
            first = write_manifest(folder, address, 2, buckets=2).rename(folder / "first.yaml")
            runs = [start(each) for each in (first, write_manifest(folder, address, 2, buckets=3))]
            ends = sorted(run.wait() for run in runs)
            assert ends in ([Exit.DONE, Exit.USAGE], [Exit.USAGE, Exit.USAGE])
            if Exit.DONE in ends:
                days = days_between("2026-02-01", "2026-04-01")
                for dataset in BOTH:
                    truth = expected(dataset, [appid(1), appid(2)], days)
                    assert published_rows(duck, folder / "output", dataset) == truth
            else:
                assert not [*folder.glob("output/*/*/*.parquet")]

"""Files with field ids beside files of a build that knew none."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import harvester
from harvester.catalogue.field_ids import field_ids
from harvester.storage.layout import TABLES
from tests.support.field_ids import ids_in, write_no_ids
from tests.support.run_harness import RunHarness, published_rows

DATASETS = ("interface_summary", "article_read", "article_total_detail")


def harvested(root: Path, accounts: int = 2) -> RunHarness:
    """Return an output after its first run; some of its columns are lists."""
    made = RunHarness(root, accounts=accounts, datasets=DATASETS, begin="2026-03-20")
    made.run()
    return made


@pytest.fixture
def before_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunHarness:
    """An output without field ids."""
    with monkeypatch.context() as earlier:
        write_no_ids(earlier)
        return harvested(tmp_path / "before")


def schemas(root: Path) -> dict[str, list[pa.Schema]]:
    """Return the columns of all files by table."""
    names = (*DATASETS, *TABLES)
    return {
        name: [pq.read_schema(path) for path in (root / name).rglob("*.parquet")] for name in names
    }


def check_ids(root: Path) -> None:
    """Check that each file has the ids of the catalogue."""
    for name, found in schemas(root).items():
        assert found
        assert all(ids_in(schema) == field_ids(name) for schema in found), name


def test_files_without_ids_are_checked_and_merged(
    before_ids: RunHarness, tmp_path: Path, duck: duckdb.DuckDBPyConnection
) -> None:
    """Each file that changes gets them."""
    found = [schema for each in schemas(before_ids.root).values() for schema in each]
    assert not any(number for schema in found for number in ids_in(schema).values())
    output = harvester.open(before_ids.root)
    assert not output.verify().damaged
    before_ids.accounts = 3
    before_ids.run()
    check_ids(before_ids.root)
    assert not output.verify().damaged
    other = harvested(tmp_path / "other", accounts=3)
    for name in DATASETS:
        assert published_rows(duck, before_ids.root, name) == published_rows(duck, other.root, name)

"""Tables of DuckLake, as DuckDB reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from harvester.core.errors import UsageError
from harvester.verbs.lakehouse import ducklake
from harvester.verbs.lakehouse.tables import LakeTable, Swap, lake_tables
from tests.lakehouse.ducklake_tables import changed, export, listed, rows, run, snapshots
from tests.lakehouse.exports import DAILY, Lakeside

pytestmark = pytest.mark.usefixtures("extensions")


def test_each_table_has_the_rows_of_its_files(lakeside: Lakeside) -> None:
    """Of both datasets, and of the tables beside them."""
    done = export(lakeside)
    assert {each.name for each in done.tables} == {
        *("interface_summary", "interface_summary_hour", "accounts", "coverage", "codes", "runs")
    }
    for each in done.tables:
        assert rows(lakeside, each.name) == lakeside.rows(each.name)
    assert run(lakeside, f"select distinct ref_month from {DAILY} order by 1") == [
        ("2026-03",),
        ("2026-04",),
    ]


def test_columns_are_described(lakeside: Lakeside) -> None:
    """With types, comments and nullability of the catalogue."""
    export(lakeside)
    columns = "column_name, data_type, is_nullable, comment from duckdb_columns()"
    found = run(lakeside, f"select {columns} where table_name = '{DAILY}'")
    kinds = {name: (kind, nullable) for name, kind, nullable, _ in found}
    assert kinds["appid"] == ("VARCHAR", False)
    assert kinds["callback_count"] == ("BIGINT", True)
    assert all(comment for *_, comment in found)
    tables = dict(run(lakeside, "select table_name, comment from duckdb_tables()"))
    assert tables[DAILY].startswith(lake_tables()[DAILY].comment)


def test_nothing_new_makes_no_snapshot(lakeside: Lakeside) -> None:
    """However often it is repeated."""
    first = export(lakeside)
    before = snapshots(lakeside)
    again = export(lakeside)
    assert [each.version for each in again.tables] == [each.version for each in first.tables]
    assert not any(each.added or each.removed for each in again.tables)
    assert snapshots(lakeside) == before


def test_one_changed_file_is_swapped_and_older_snapshots_stay(lakeside: Lakeside) -> None:
    """In one snapshot, which has no list of deleted rows and no file of rows beside the copy."""
    version = changed(lakeside).version
    before, files = rows(lakeside), listed(lakeside)
    lakeside.harness.accounts = 1
    lakeside.replace_rows("2026-04-01")
    done = changed(lakeside)
    assert (done.added, done.removed) == (1, 1)
    assert rows(lakeside) == lakeside.rows() != before
    assert rows(lakeside, version=version) == before
    after = listed(lakeside)
    [gone], [new] = files.keys() - after, after.keys() - files
    assert gone.rpartition("-")[0] == new.rpartition("-")[0]
    assert {*after.values()} == {None}
    assert not list(lakeside.place.rglob("*-delete*"))
    assert all(path.startswith(f"{lakeside.place}/{DAILY}/ref_month=") for path in after)


def test_each_snapshot_has_what_was_published_then(lakeside: Lakeside) -> None:
    """Of one table, while other tables have snapshots between."""
    known = dict[str, list[dict[str, Any]]]()
    for day in ("2026-03-31", "2026-04-01", "2026-04-02"):
        known[changed(lakeside).version] = lakeside.rows()
        lakeside.replace_rows(day)
    known[changed(lakeside).version] = lakeside.rows()
    assert [rows(lakeside, version=version) for version in known] == [*known.values()]


def test_a_table_of_somebody_else_is_left_alone(lakeside: Lakeside) -> None:
    """With the name of a dataset."""
    export(lakeside, datasets=["interface_summary_hour"])
    run(lakeside, f"create table {DAILY} as select 1 as a")
    with pytest.raises(UsageError, match="was not made by harvester"):
        export(lakeside)
    assert run(lakeside, f"from {DAILY}") == [(1,)]


@pytest.mark.parametrize("inlined", [0, 10])
@pytest.mark.parametrize(
    "change", ["delete from {} where appid = '{}'", "update {} set ref_hour = 7 where appid = '{}'"]
)
def test_rows_that_others_changed_are_refused(
    lakeside: Lakeside, change: str, inlined: int
) -> None:
    """In files of their own, and in the catalog itself."""
    export(lakeside)
    run(lakeside, f"call lake.set_option('data_inlining_row_limit', {inlined})")
    run(lakeside, change.format("interface_summary_hour", lakeside.harness.appids[0]))
    with pytest.raises(UsageError, match="rows that another program changed"):
        export(lakeside)


def test_a_month_that_was_compacted_is_replaced_as_a_whole(lakeside: Lakeside) -> None:
    """Compaction keeps the cursor, and the other month stays compacted."""
    version = changed(lakeside).version
    before = rows(lakeside)
    run(lakeside, f"call ducklake_merge_adjacent_files('lake', '{DAILY}', schema => 'wechat')")
    compacted = listed(lakeside)
    assert len(compacted) == 2
    assert not changed(lakeside).added
    lakeside.harness.accounts = 1
    lakeside.replace_rows("2026-04-01")
    done = changed(lakeside)
    assert (done.added, done.removed) == (2, 1)
    assert len(listed(lakeside).keys() & compacted) == 1
    assert rows(lakeside) == lakeside.rows() != before
    assert rows(lakeside, version=version) == before


def test_a_new_column_is_added(lakeside: Lakeside, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of before have null there, and older snapshots do not have it."""
    version = changed(lakeside).version
    known = ducklake.Tables.commit

    def more(self: ducklake.Tables, table: LakeTable, base: Any, swap: Swap) -> str:
        extra = pa.field("tomorrow", pa.int64(), metadata={"comment": "new"})
        return known(self, table._replace(schema=table.schema.append(extra)), base, swap)

    monkeypatch.setattr(ducklake.Tables, "commit", more)
    lakeside.replace_rows("2026-04-01")
    export(lakeside)
    assert [row | {"tomorrow": None} for row in lakeside.rows()] == rows(lakeside)
    assert "tomorrow" not in rows(lakeside, version=version)[0]
    export(lakeside)


def files_of(folder: Path) -> list[Path]:
    """Return all files below a folder."""
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("kind", ["duckdb", "sqlite"])
def test_rows_that_were_deleted_for_good_are_named_until_they_are_gone(
    lakeside: Lakeside, kind: str
) -> None:
    """Older snapshots hold them, in files, and the catalog in its bounds."""
    catalog = f"sqlite:{lakeside.place}/catalog.sqlite" if kind == "sqlite" else None
    given = {"catalog": catalog} if catalog else {}
    first = export(lakeside, **given)
    gone = lakeside.forget_last()
    done = export(lakeside, **given)
    named = {each.name: each.holding for each in done.holding}
    assert named.keys() == {DAILY, "interface_summary_hour", "accounts", "coverage"}
    [made] = [each.version for each in first.tables if each.name == DAILY]
    [erased] = [each.version for each in done.tables if each.name == DAILY]
    assert named[DAILY] == [f"snapshot {each}" for each in range(int(made), int(erased))]
    assert rows(lakeside, catalog=catalog or "") == lakeside.rows()
    assert [path for path in files_of(lakeside.place) if gone.encode() in path.read_bytes()]
    again = export(lakeside, **given)
    assert {each.name: each.holding for each in again.holding} == named
    assert not export(lakeside, expire=True, **given).holding
    assert not export(lakeside, **given).holding
    for name in named:
        assert rows(lakeside, name, catalog=catalog or "") == lakeside.rows(name)
    assert not [path for path in files_of(lakeside.place) if gone.encode() in path.read_bytes()]
    lakeside.replace_rows("2026-04-01")
    export(lakeside, **given)
    assert rows(lakeside, catalog=catalog or "") == lakeside.rows()


def test_an_account_in_a_merged_file_is_deleted_for_good(lakeside: Lakeside) -> None:
    """It has no row in a dataset, and DuckLake's own files are not below the folder of copies."""
    lakeside.harness.accounts = 7
    lakeside.harness.sandbox.fail(lakeside.harness.appids[-1], 48001)
    lakeside.harness.run()
    export(lakeside)
    run(lakeside, "call ducklake_merge_adjacent_files('lake', 'accounts', schema => 'wechat')")
    lakeside.forget_last()
    assert "accounts" in {each.name for each in export(lakeside).holding}


def test_an_account_that_comes_after_expiry_is_found(lakeside: Lakeside) -> None:
    """The bounds of the whole table are those of its files, and no row is missed."""
    export(lakeside)
    lakeside.forget_last()
    export(lakeside)
    export(lakeside, expire=True)
    lakeside.replace_rows("2026-04-01")
    export(lakeside)
    for appid in lakeside.harness.appids:
        found = run(lakeside, f"select count(*) from {DAILY} where appid = '{appid}'")
        assert found == [(sum(row["appid"] == appid for row in lakeside.rows()),)]

"""Exports of DuckLake tables that race, fail, are killed, or go into an object store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from harvester.core.config.settings import Output
from harvester.core.errors import HarvesterError, LostRace, StoreError
from harvester.storage.layout import open_tree
from harvester.verbs.lakehouse import ducklake
from harvester.verbs.lakehouse.export import export as whole_export
from harvester.verbs.lakehouse.formats import Lake
from harvester.verbs.lakehouse.tables import Copy, LakeTable, Swap, lake_tables
from harvester.verbs.sql.duckdb_stores import reach_store
from tests.lakehouse.duck import connected
from tests.lakehouse.ducklake_tables import export, listed, opened
from tests.lakehouse.exports import DAILY, Lakeside, in_order

pytestmark = pytest.mark.usefixtures("extensions")


def tables(lakeside: Lakeside, catalog: str | None = None) -> ducklake.Tables:
    """Return a writer that holds no lock of harvester."""
    store = lakeside.harness.tree.store
    return ducklake.Tables(
        Lake(store, lakeside.place, ["0000-of-0002"], catalog, None, "wechat", lambda: 0.0)
    )


def empty_swap(cursor: str) -> Swap:
    """Return a swap that moves the cursor alone."""
    return Swap((), (), cursor, "", erases=False)


@pytest.fixture
def table() -> LakeTable:
    """The daily table."""
    return lake_tables()[DAILY]


@pytest.mark.parametrize("swap", ["the file of one bucket", "nothing"])
def test_of_two_exporters_with_one_base_one_wins(
    lakeside: Lakeside, table: LakeTable, tmp_path: Path, swap: str
) -> None:
    """Also if both change nothing but the cursor."""
    catalog = f"sqlite:{tmp_path}/catalog.sqlite"
    export(lakeside, catalog=catalog)
    first, second = tables(lakeside, catalog), tables(lakeside, catalog)
    base, other = first.state(table), second.state(table)
    assert base is not None
    assert base == other
    removed = [min(base.files)] if swap != "nothing" else []
    mine = empty_swap("first")
    first.commit(table, base, Swap((), removed, mine.cursor, "", erases=False))
    with pytest.raises(LostRace, match="faster"):
        second.commit(table, other, Swap((), removed, "second", "", erases=False))
    found = second.state(table)
    assert found is not None
    assert (found.cursor, len(found.files)) == ("first", len(base.files) - len(removed))


@pytest.mark.parametrize("catalog", [None, "sqlite:{}/catalog.sqlite"])
def test_a_file_that_comes_back_outlives_the_snapshots_in_which_it_was(
    lakeside: Lakeside, table: LakeTable, tmp_path: Path, catalog: str | None
) -> None:
    """Copies with the same bytes have the same name."""
    catalog = catalog and catalog.format(tmp_path)
    export(lakeside, **({"catalog": catalog} if catalog else {}))
    lake = tables(lakeside, catalog)
    base = lake.state(table)
    assert base is not None
    name, selection = min(base.files), base.selection or ""
    rows = pq.read_metadata(lakeside.place / DAILY / name).num_rows
    back = Copy(name, 0, rows, {}, table.schema)
    lake.commit(table, base, Swap((), [name], "gone", selection, erases=False))
    lake.commit(table, lake.state(table), Swap([back], (), "back", selection, erases=False))
    lake.expire(table)
    found = lake.state(table)
    assert found is not None
    assert found.files == base.files
    assert (lakeside.place / DAILY / name).is_file()


def test_of_two_exporters_in_one_moment_one_wins(
    lakeside: Lakeside, table: LakeTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other has read the table in its transaction before the first one committed."""
    export(lakeside)
    late = tables(lakeside)
    # A file of DuckDB has one program at a time, with any number of connections.
    cursor = late._con.cursor()
    with monkeypatch.context() as patch:
        patch.setattr(duckdb, "connect", lambda: cursor)
        patch.setattr(ducklake.Tables, "_attach", lambda _: None)
        early = tables(lakeside)
    base = late.state(table)
    assert base is not None
    overtaken(monkeypatch, late, lambda: early.commit(table, base, empty_swap("early")))
    with pytest.raises(LostRace, match="conflict"):
        late.commit(table, base, Swap((), [*base.files], "late", "", erases=False))
    found = late.state(table)
    assert found is not None
    assert (found.cursor, found.files) == ("early", base.files)


def overtaken(
    monkeypatch: pytest.MonkeyPatch, late: ducklake.Tables, early: Callable[[], object]
) -> None:
    """Let something happen in the middle of the transactions of a writer."""
    prepare, writers = ducklake.Tables._prepare, [late]

    def slow(self: ducklake.Tables, *given: Any) -> None:
        prepare(self, *given)
        if self in writers:
            writers.clear()
            early()

    monkeypatch.setattr(ducklake.Tables, "_prepare", slow)


def test_another_program_that_has_the_catalog_is_named(lakeside: Lakeside) -> None:
    """A file of DuckDB has one writer; the export is repeated later."""
    export(lakeside)
    with opened(lakeside), pytest.raises(LostRace, match="has the catalog in use"):
        export(lakeside)


def test_an_export_that_was_killed_is_repeated(
    lakeside: Lakeside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its copies are used, and there are no others then."""

    def killed(*given: Any) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ducklake.Tables, "commit", killed)
        with pytest.raises(KeyboardInterrupt):
            export(lakeside)
    left = lakeside.copies()
    assert left
    export(lakeside)
    assert lakeside.copies() == left
    assert {f"{lakeside.place}/{DAILY}/{name}" for name in lakeside.copies()} == {*listed(lakeside)}


def test_a_commit_that_fails_changes_nothing(lakeside: Lakeside, table: LakeTable) -> None:
    """Such as one of a file that is not there."""
    export(lakeside)
    writer = tables(lakeside)
    base = writer.state(table)
    assert base is not None
    name = "ref_month=2026-05/part-0000-of-0001-000000000000.parquet"
    missing = Copy(name, 1, 1, {}, table.schema)
    with pytest.raises(StoreError, match="DuckLake has refused"):
        writer.commit(table, base, Swap([missing], [*base.files], "c", "", erases=False))
    assert writer.state(table) == base


def test_a_password_of_a_catalog_is_never_shown(lakeside: Lakeside) -> None:
    """DuckDB quotes the address that it could not open."""
    secret = "/nowhere/pass-word-123"
    with pytest.raises(HarvesterError) as caught:
        export(lakeside, catalog=f"sqlite:{secret}")
    assert secret not in f"{caught.value!r} {caught.value.advice}"
    assert caught.value.__cause__ is None


def test_tables_in_an_object_store(
    lakeside: Lakeside, s3_output: Output, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The catalog is a database elsewhere. Expiry removes objects."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", str(s3_output.endpoint))
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    place, catalog = f"{s3_output.path}/lake", f"sqlite:{tmp_path}/catalog.sqlite"
    given: dict[str, Any] = {"to": "ducklake", "output": lakeside.output, "catalog": catalog}

    def found() -> list[dict[str, Any]]:
        with connected() as con:
            reach_store(con, place, "")
            con.execute(f"attach 'ducklake:{catalog}' as lake")
            table = con.sql(f"from lake.wechat.{DAILY}").to_arrow_table()
        return in_order(table.drop_columns(["ref_month"]))

    whole_export(place, **given)
    assert found() == lakeside.rows()
    lakeside.replace_rows("2026-04-01")
    whole_export(place, **given)
    assert found() == lakeside.rows()
    lakeside.forget_last()
    assert whole_export(place, **given).holding
    assert not whole_export(place, **given, expire=True).holding
    assert found() == lakeside.rows()
    store = open_tree(Output(path=place)).store
    copies = [file.name for file in store.list(DAILY) if file.name.endswith(".parquet")]
    with connected() as con:
        con.execute(f"attach 'ducklake:{catalog}' as lake")
        files = f"from ducklake_list_files('lake', '{DAILY}', schema => 'wechat')"
        listed = con.execute(f"select data_file {files}").fetchall()
    assert sorted(path for (path,) in listed) == [f"{place}/{name}" for name in sorted(copies)]

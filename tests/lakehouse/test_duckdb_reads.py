"""Tables as the extensions of DuckDB read them."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest
from pyiceberg.catalog.sql import SqlCatalog

from tests.lakehouse.duck import connected
from tests.lakehouse.exports import DAILY, Lakeside, in_order
from tests.support.doc_pages import ROOT, blocks

pytestmark = pytest.mark.usefixtures("extensions")


def read(table: str) -> list[dict[str, Any]]:
    """Return the rows of a table without the month."""
    with connected() as con:
        found = con.sql(f"from {table}").to_arrow_table()
    return in_order(
        found.drop_columns([name for name in found.column_names if name == "ref_month"])
    )


def test_delta(lakeside: Lakeside) -> None:
    """Each table, after a swap too, and a version of before."""
    done = lakeside.export("delta")
    [version] = [each.version for each in done.tables if each.name == DAILY]
    before = lakeside.rows()
    for _ in range(2):
        for each in done.tables:
            found = read(f"delta_scan('{lakeside.place}/{each.name}')")
            assert found == lakeside.rows(each.name)
        lakeside.replace_rows("2026-04-01")
        done = lakeside.export("delta")
    assert read(f"delta_scan('{lakeside.place}/{DAILY}', version => {version})") == before


def test_the_lines_of_the_page(lakeside: Lakeside, monkeypatch: pytest.MonkeyPatch) -> None:
    """As they stand there, but for the time."""
    lakeside.export("ducklake")
    lakeside.replace_rows("2026-04-01")
    lakeside.export("ducklake")
    monkeypatch.chdir(lakeside.place.parent)
    names: dict[str, Any] = {}
    for block in blocks(ROOT / "docs/ducklake.md", "python"):
        text = block.text.replace("'2026-06-01 08:00+08'", "now()")
        exec(text.replace("2026-05", "2026-04"), names)
    assert len(names["days"].fetchall()) == 2
    assert len(names["snapshots"].project("snapshot_id").fetchall()) > 2
    assert len(names["before"].to_arrow_table()) == len(lakeside.rows())


def test_iceberg(lakeside: Lakeside) -> None:
    """Each table, after a swap too, and a snapshot of before."""
    done = lakeside.export("iceberg")
    [version] = [each.version for each in done.tables if each.name == DAILY]
    before = lakeside.rows()
    for _ in range(2):
        for each in done.tables:
            assert read(f"iceberg_scan('{metadata_of(lakeside, each.name)}')") == lakeside.rows(
                each.name
            )
        lakeside.replace_rows("2026-04-01")
        done = lakeside.export("iceberg")
    path = metadata_of(lakeside, DAILY)
    assert read(f"iceberg_scan('{path}', snapshot_from_id => {version})") == before


def metadata_of(lakeside: Lakeside, name: str) -> str:
    """Return the path of a table's newest metadata."""
    uri = f"sqlite:///{lakeside.place}/catalog.db"
    with closing(SqlCatalog("harvester", uri=uri)) as catalog:
        return catalog.load_table(f"wechat.{name}").metadata_location

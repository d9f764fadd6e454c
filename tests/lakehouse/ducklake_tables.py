"""Tables of DuckLake as any user reads and changes them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import duckdb

from tests.lakehouse.duck import connected
from tests.lakehouse.exports import DAILY, Lakeside, in_order

export = partial(Lakeside.export, to="ducklake")
changed = partial(Lakeside.table, to="ducklake")


@contextmanager
def opened(lakeside: Lakeside, catalog: str = "") -> Iterator[duckdb.DuckDBPyConnection]:
    """Attach the catalog as any user does, and use the schema of the tables."""
    address = catalog or f"{lakeside.place}/catalog.ducklake"
    with connected() as con:
        con.execute(f"attach 'ducklake:{address}' as lake; use lake.wechat")
        yield con


def rows(
    lakeside: Lakeside, name: str = DAILY, version: str = "", catalog: str = ""
) -> list[dict[str, Any]]:
    """Return the rows of a table without the month."""
    at = f"at (version => {version})" if version else ""
    with opened(lakeside, catalog) as con:
        found = con.sql(f"from {name} {at}").to_arrow_table()
    return in_order(
        found.drop_columns([each for each in found.column_names if each == "ref_month"])
    )


def run(lakeside: Lakeside, statement: str) -> list[tuple[Any, ...]]:
    """Execute a statement as any user does."""
    with opened(lakeside) as con:
        return con.execute(statement).fetchall()


def snapshots(lakeside: Lakeside) -> list[int]:
    """Return the numbers of all snapshots."""
    found = run(lakeside, "select snapshot_id from ducklake_snapshots('lake') order by 1")
    return [number for (number,) in found]


def listed(lakeside: Lakeside) -> dict[str, str | None]:
    """Return the files of a table, and of each the list of its deleted rows."""
    files = f"from ducklake_list_files('lake', '{DAILY}', schema => 'wechat')"
    return dict(run(lakeside, f"select data_file, delete_file {files}"))

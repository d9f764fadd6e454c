"""Small outputs for the views of `harvester sql`, and connections that have loaded them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

REPORTS = (
    "followers_daily",
    "followers_by_source_daily",
    "reading_daily",
    "reading_by_source_daily",
    "articles_latest",
    "messages_daily",
    "server_daily",
)

MANIFEST: dict[str, Any] = {
    "version": 1,
    "api": {"base_url": "sandbox"},
    "accounts": [
        {"appid": "wx0000000000000001", "name": "One", "attributes": {"client": "Acme"}},
        {"appid": "wx0000000000000002", "name": "Two", "attributes": {"client": "Acme"}},
        {"appid": "wx0000000000000003", "name": "三", "attributes": {"client": "Other"}},
    ],
    "jobs": [{"datasets": "all", "begin_date": "-30d"}],
}


def manifest_of(folder: Path) -> dict[str, Any]:
    """Return a manifest of three accounts whose output is a folder."""
    return {**MANIFEST, "output": str(folder)}


def write(folder: Path, name: str, rows: pa.Table) -> None:
    """Put rows into the only file of a folder of an output, as a run does."""
    (folder / name).mkdir(parents=True, exist_ok=True)
    file = folder / name / ("codes.parquet" if name == "codes" else "part-0000-of-0001.parquet")
    pq.write_table(rows, file.with_suffix(".new"))
    file.with_suffix(".new").replace(file)


def loaded(script: str) -> duckdb.DuckDBPyConnection:
    """Return a connection that has executed a script."""
    con = duckdb.connect()
    con.execute(script)
    return con


def columns_of(con: duckdb.DuckDBPyConnection, view: str) -> list[str]:
    """Return the columns of a view."""
    return con.sql(f'select * from wechat."{view}"').columns

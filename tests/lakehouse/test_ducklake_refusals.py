"""Refusals of an export of DuckLake tables, before it needs an extension of DuckDB."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from harvester.core.errors import HarvesterError, UsageError
from harvester.verbs.lakehouse import ducklake
from harvester.verbs.lakehouse.formats import Lake
from harvester.verbs.sql import duckdb_stores
from tests.lakehouse.exports import Lakeside


def test_what_ducklake_does_not_have_is_refused(lakeside: Lakeside) -> None:
    """A warehouse, and a catalog in an object store."""
    with pytest.raises(UsageError, match="warehouse: DuckLake tables have none"):
        lakeside.export("ducklake", warehouse="one")
    lake = Lake(lakeside.harness.tree.store, "s3://bucket/x", [], None, None, "wechat", lambda: 0.0)
    with pytest.raises(UsageError, match="none can be in an object store"):
        ducklake.Tables(lake)
    assert not lakeside.place.exists()


def test_a_missing_extension_is_named(
    lakeside: Lakeside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is installed only if DuckDB may install by itself, and no empty place is left behind."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(duckdb_stores, "find_spec", lambda _: None)
    con = duckdb.connect(config={"autoinstall_known_extensions": "false"})
    monkeypatch.setattr(duckdb, "connect", lambda: con)
    with pytest.raises(HarvesterError, match="cannot load its extension ducklake") as caught:
        lakeside.export("ducklake")
    assert "install ducklake" in caught.value.advice
    assert "pip install duckdb-extension-ducklake" in caught.value.advice
    assert not lakeside.place.exists()
    assert "another format" in caught.value.advice

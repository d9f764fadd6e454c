"""DuckDB with extensions from packages, which there are for some of its versions."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import duckdb
import pytest

EXTENSIONS = (
    "ducklake",
    "sqlite_scanner",
    "postgres_scanner",
    "httpfs",
    "delta",
    "avro",
    "iceberg",
)
REQUIRED = os.environ.get("HARVESTER_REQUIRE_LAKEHOUSE", "") not in {"", "0"}
"""Read now, because each test starts without variables of harvester."""


def install_extensions(home: Path) -> None:
    """Install all extensions from their packages below a home; fetch nothing.

    Skips the test without them, or fails it if HARVESTER_REQUIRE_LAKEHOUSE is set, as at night.
    """
    with duckdb.connect(config={"home_directory": str(home)}) as con:
        for name in EXTENSIONS:
            found = importlib.util.find_spec(f"duckdb_extension_{name}")
            try:
                if found is None:
                    raise ImportError(f"the package of {name} is not installed")
                files = Path(str(found.origin)).parent.rglob("*.duckdb_extension")
                con.execute(f"install '{next(files)}'")
                con.execute(f"load {name}")
            except (ImportError, duckdb.Error) as error:
                why = f"no extensions for DuckDB {duckdb.__version__}, see .ci/full: {error}"
                pytest.fail(why) if REQUIRED else pytest.skip(why)


def connected() -> duckdb.DuckDBPyConnection:
    """Return a connection that uses the extensions of the home, and fetches none."""
    return duckdb.connect(config={"autoinstall_known_extensions": "false"})

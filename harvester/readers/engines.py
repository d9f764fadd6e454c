"""Readers of an output in other engines, which are loaded when they are first used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harvester.core.errors import HarvesterError, UsageError
from harvester.readers.output_place import OutputPlace
from harvester.verbs.sql.duckdb_stores import reach_store

if TYPE_CHECKING:
    import duckdb
    import polars as pl

_ENDPOINTS = {"s3": "aws_endpoint", "gs": "google_base_url", "az": "azure_storage_endpoint"}
"""The option of Polars for the address of a store."""

_INSTEAD = "or use .arrow() or .polars(), which need no extension"


def polars_frame(place: OutputPlace, paths: Sequence[str]) -> pl.LazyFrame:
    """Return the rows of these files. Raises HarvesterError if Polars is not installed."""
    try:
        import polars as pl  # noqa: PLC0415 - an extra that not every user has
    except ImportError:
        raise _missing("polars") from None
    return pl.scan_parquet(
        list(paths),
        # Each is a file's name, whatever characters are in it.
        glob=False,
        hive_partitioning=True,
        hive_schema={"ref_month": pl.String},
        storage_options=None if place.is_folder else _polars_options(place),
        # The variables of the environment, as a run reads them, and no other library's profiles.
        credential_provider=None,
    )


def duckdb_connection(
    place: OutputPlace, con: duckdb.DuckDBPyConnection | None, schema: object
) -> duckdb.DuckDBPyConnection:
    """Return a connection, or a new one, that reaches the place.

    Raises UsageError for arguments of `Output.duckdb` that are none, and HarvesterError if DuckDB
    or an extension that it needs is not installed.
    """
    try:
        import duckdb  # noqa: PLC0415 - an extra that not every user has
    except ImportError:
        raise _missing("duckdb") from None
    if not isinstance(schema, str) or not (con is None or hasattr(con, "execute")):
        problem = "con is no connection of DuckDB, or schema no text"
        raise UsageError(problem, "give what duckdb.connect() returns, and a name")
    used = duckdb.connect() if con is None else con
    if not place.is_folder:
        reach_store(used, str(place.path), _INSTEAD, place.endpoint, place.options)
    return used


def _missing(package: str) -> HarvesterError:
    return HarvesterError(f"{package} is not installed", f"pip install {package}")


def _polars_options(place: OutputPlace) -> dict[str, str]:
    options = dict(place.options)
    if place.endpoint is not None:
        scheme = str(place.path).partition("://")[0]
        options[_ENDPOINTS[scheme]] = place.endpoint
        if place.endpoint.startswith("http://"):
            options["allow_http"] = "true"
    return options

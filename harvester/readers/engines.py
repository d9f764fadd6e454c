"""Readers of an output in other engines, which are loaded when they are first used."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from os import environ
from typing import TYPE_CHECKING

from harvester.core.errors import HarvesterError, UsageError
from harvester.readers.output_place import OutputPlace

if TYPE_CHECKING:
    import duckdb
    import polars as pl

_EXTENSIONS = {"s3": "httpfs", "gs": "httpfs", "az": "azure"}
"""The DuckDB extension that reads a kind of object store."""

_SECRETS = {"s3": "s3", "gs": "gcs", "az": "azure"}
"""The type of a DuckDB secret for a kind of object store."""

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
        _reach_store(used, place)
    return used


def _missing(package: str) -> HarvesterError:
    return HarvesterError(f"{package} is not installed", f"pip install {package}")


def _polars_options(place: OutputPlace) -> dict[str, str]:
    options = dict(place.options)
    if place.endpoint is not None:
        options[_ENDPOINTS[_scheme(place)]] = place.endpoint
        if place.endpoint.startswith("http://"):
            options["allow_http"] = "true"
    return options


def _reach_store(con: duckdb.DuckDBPyConnection, place: OutputPlace) -> None:
    """Give a connection the extension and the secret for an object store. Raises HarvesterError.

    A secret that the connection has for this place is used as it is.
    """
    scheme = _scheme(place)
    _load(con, _EXTENSIONS[scheme], place)
    known = "select count(*) from which_secret(?, ?)"
    found = con.execute(known, [f"{place.path}/", _SECRETS[scheme]]).fetchone()
    if found is not None and found[0]:
        return
    if scheme != "s3":
        raise HarvesterError(
            f"{place.path}: DuckDB cannot use the credentials of this store",
            f"make a secret of type {_SECRETS[scheme]} in a connection and pass that, {_INSTEAD}",
        )
    given = _s3_settings(place)
    parts = ["type s3", *(f"{name} {_text(value)}" for name, value in given.items())]
    # Of the place, because a connection may have the views of several outputs.
    digest = hashlib.sha256(str(place.path).encode()).hexdigest()[:8]
    _execute(
        con,
        f"create or replace temporary secret harvester_{digest} ({', '.join(parts)})",
        f"{place.path}: DuckDB has refused the credentials",
        f"make a secret in a connection and pass that, {_INSTEAD}",
    )


def _load(con: duckdb.DuckDBPyConnection, extension: str, place: OutputPlace) -> None:
    """Load an extension, and install it first where the connection may do so by itself."""
    may_install = con.execute("select current_setting('autoinstall_known_extensions')").fetchone()
    advice = f"run `install {extension}` in DuckDB on a machine with a network, {_INSTEAD}"
    problem = f"{place.path}: DuckDB cannot load its extension {extension}, which reads it"
    try:
        _execute(con, f"load {extension}", problem, advice)
    except HarvesterError:
        if not (may_install and may_install[0]):
            raise
        _execute(con, f"install {extension}", problem, advice)
        _execute(con, f"load {extension}", problem, advice)


def _execute(con: duckdb.DuckDBPyConnection, statement: str, problem: str, advice: str) -> None:
    """Execute a statement. Raises HarvesterError without DuckDB's text, which may quote it."""
    import duckdb  # noqa: PLC0415 - as above

    try:
        con.execute(statement)
    except duckdb.Error:
        raise HarvesterError(problem, advice) from None


_S3_NAMES = {
    "access_key_id": "key_id",
    "secret_access_key": "secret",
    "session_token": "session_token",
    "token": "session_token",
    "default_region": "region",
    "region": "region",
    "endpoint": "endpoint",
    "endpoint_url": "endpoint",
}
"""Options of obstore without ``aws_``, with their names in a DuckDB secret."""


def _s3_settings(place: OutputPlace) -> dict[str, str]:
    """Return the members of a DuckDB secret: the environment's, then the options of the place."""
    variables = {name: text for name, text in environ.items() if name.startswith("AWS_")}
    given: dict[str, str] = {}
    for options in (variables, place.options):
        for key, value in options.items():
            name = _S3_NAMES.get(key.lower().removeprefix("aws_"))
            if name is not None:
                given[name] = value
    endpoint = place.endpoint or given.pop("endpoint", None)
    if endpoint is not None:
        scheme, _, host = endpoint.rpartition("://")
        given |= {"endpoint": host.rstrip("/"), "url_style": "path"}
        given["use_ssl"] = str(scheme != "http").lower()
    # Without keys DuckDB looks where the tools of the cloud look: profiles, roles, metadata.
    elif "key_id" not in given:
        given["provider"] = "credential_chain"
    return {**given, "scope": str(place.path)}


def _scheme(place: OutputPlace) -> str:
    return str(place.path).partition("://")[0]


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"

"""Access of DuckDB to an object store: an extension, and a secret for the place.

An error never has DuckDB's text, which may quote the secret.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec
from os import environ
from pathlib import Path
from typing import TYPE_CHECKING

from harvester.core.errors import HarvesterError
from harvester.verbs.sql.dialects import dialect_of

if TYPE_CHECKING:
    import duckdb

_EXTENSIONS = {"s3": "httpfs", "gs": "httpfs", "az": "azure"}
"""The DuckDB extension that reads a kind of object store."""

_SECRETS = {"s3": "s3", "gs": "gcs", "az": "azure"}
"""The type of a DuckDB secret for a kind of object store."""


def reach_store(
    con: duckdb.DuckDBPyConnection,
    place: str,
    instead: str,
    endpoint: str | None = None,
    options: Mapping[str, str] | None = None,
) -> None:
    """Give a connection the extension and the secret for an object store. Raises HarvesterError.

    A secret that the connection has for this place is used as it is. ``instead`` is what the user
    can do without DuckDB.
    """
    scheme = place.partition("://")[0]
    load_extension(con, _EXTENSIONS[scheme], place, instead)
    known = "select count(*) from which_secret(?, ?)"
    found = con.execute(known, [f"{place}/", _SECRETS[scheme]]).fetchone()
    if found is not None and found[0]:
        return
    if scheme != "s3":
        raise HarvesterError(
            f"{place}: DuckDB cannot use the credentials of this store",
            f"make a secret of type {_SECRETS[scheme]} in a connection and pass that, {instead}",
        )
    given = _s3_settings(place, endpoint, options or {})
    text = dialect_of("duckdb").text
    parts = ["type s3", *(f"{name} {text(value)}" for name, value in given.items())]
    # Of the place, because a connection may have the views of several outputs.
    digest = hashlib.sha256(place.encode()).hexdigest()[:8]
    _execute(
        con,
        f"create or replace temporary secret harvester_{digest} ({', '.join(parts)})",
        f"{place}: DuckDB has refused the credentials",
        f"make a secret in a connection and pass that, {instead}",
    )


def load_extension(
    con: duckdb.DuckDBPyConnection, extension: str, place: str, instead: str
) -> None:
    """Load an extension that is installed, or the file of its package on the index.

    Without either it is installed, where the connection may do so by itself.
    """
    may_install = con.execute("select current_setting('autoinstall_known_extensions')").fetchone()
    package = f"duckdb_extension_{extension}"
    advice = (
        f"`pip install {package.replace('_', '-')}` of DuckDB's version, or run `install"
        f" {extension}` in DuckDB on a machine with a network, {instead}"
    )
    problem = f"{place}: DuckDB cannot load its extension {extension}, which reads it"
    spec = find_spec(package)
    folders = spec.submodule_search_locations if spec else None
    files = [file for folder in folders or () for file in Path(folder).rglob("*.duckdb_extension")]
    for name in (extension, *(dialect_of("duckdb").text(str(file)) for file in files)):
        with suppress(HarvesterError):
            _execute(con, f"load {name}", problem, advice)
            return
    if not (may_install and may_install[0]):
        raise HarvesterError(problem, advice)
    _execute(con, f"install {extension}", problem, advice)
    _execute(con, f"load {extension}", problem, advice)


def _execute(con: duckdb.DuckDBPyConnection, statement: str, problem: str, advice: str) -> None:
    import duckdb  # noqa: PLC0415 - an extra that not every user has

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


def _s3_settings(place: str, endpoint: str | None, options: Mapping[str, str]) -> dict[str, str]:
    """Return the members of a DuckDB secret: the environment's, then the options of the place."""
    variables = {name: text for name, text in environ.items() if name.startswith("AWS_")}
    given: dict[str, str] = {}
    for key, value in (*variables.items(), *options.items()):
        name = _S3_NAMES.get(key.lower().removeprefix("aws_"))
        if name is not None:
            given[name] = value
    address = endpoint or given.pop("endpoint", None)
    if address is not None:
        scheme, _, host = address.rpartition("://")
        given |= {"endpoint": host.rstrip("/"), "url_style": "path"}
        given["use_ssl"] = str(scheme != "http").lower()
    # Without keys DuckDB looks where the tools of the cloud look: profiles, roles, metadata.
    elif "key_id" not in given:
        given["provider"] = "credential_chain"
    return {**given, "scope": place}

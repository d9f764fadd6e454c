"""A REST catalog of Iceberg on loopback, which answers from a SQL catalog.

It knows what an exporter asks for: the configuration, namespaces, and tables that are loaded, made
and changed. Each request must have the token.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from pydantic import BaseModel
from pyiceberg.catalog.rest import CreateTableRequest, TableResponse
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import CommitFailedException, NoSuchTableError
from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC
from pyiceberg.table import CommitTableRequest, StagedTable, Table

TOKEN = "never-shown-anywhere-9876543210"


@contextmanager
def rest_catalog(catalog: SqlCatalog) -> Iterator[str]:
    """Serve a catalog for the block; yield its address."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            """Write no log."""

        def do_GET(self) -> None:
            self._answer(b"")

        def do_POST(self) -> None:
            self._answer(self.rfile.read(int(self.headers["Content-Length"])))

        def _answer(self, body: bytes) -> None:
            status, text = 401, "{}"
            if self.headers["Authorization"] == f"Bearer {TOKEN}":
                path = self.path.partition("?")[0]
                status, text = _answered(catalog, path.split("/")[2:], body)
            self.send_response(status)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def _answered(catalog: SqlCatalog, parts: list[str], body: bytes) -> tuple[int, str]:
    """Return the status and the text of an answer to a request for a path."""
    try:
        found: dict[str, Any] | Table | BaseModel
        match parts, body:
            case ["config"], b"":
                found = {"defaults": {}, "overrides": {}}
            case ["namespaces"], _:
                found = json.loads(body)
                catalog.create_namespace_if_not_exists(json.loads(body)["namespace"][0])
            case ["namespaces", space, "tables"], _:
                asked = CreateTableRequest.model_validate_json(body)
                spec = asked.partition_spec or UNPARTITIONED_PARTITION_SPEC
                found = catalog._create_staged_table(
                    (space, asked.name),
                    asked.table_schema,
                    asked.location,
                    spec,
                    properties=asked.properties,
                )
            case ["namespaces", space, "tables", name], b"":
                found = catalog.load_table((space, name))
            case ["namespaces", space, "tables", name], _:
                change = CommitTableRequest.model_validate_json(body)
                table = StagedTable((space, name), None, "", None, catalog)  # type: ignore[arg-type]
                found = catalog.commit_table(table, change.requirements, change.updates)
            case _:
                return 404, "{}"
    except (CommitFailedException, NoSuchTableError) as error:
        return (409 if isinstance(error, CommitFailedException) else 404), "{}"
    if isinstance(found, Table):
        named = {"metadata": found.metadata, "metadata-location": found.metadata_location}
        found = TableResponse.model_validate(named)
    return 200, found.model_dump_json() if isinstance(found, BaseModel) else json.dumps(found)

"""A real S3 server on loopback: moto, one request at a time, so that its conditions are atomic.

``python -m tests.support.s3_server`` prints its port and serves until its stdin ends. With
``--unable`` it knows no conditions and says so, with ``--careless`` it takes every put, whatever
its conditions. With ``--refusing`` it refuses every request, with secrets in the answer, as the
real one does.

moto ignores a condition that names no version. Here such a put is refused. ``/-/conditions``
returns the conditions of each put, and ``/-/requests`` the method and the path of each request.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
from collections.abc import Iterable, Sequence
from wsgiref.types import StartResponse, WSGIEnvironment

from moto.moto_server.werkzeug_app import create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

REFUSAL = b"""<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>SignatureDoesNotMatch</Code><AWSAccessKeyId>AKIDEXAMPLE</AWSAccessKeyId>
<StringToSign>string-to-sign</StringToSign></Error>"""

CONDITIONS = {"HTTP_IF_MATCH", "HTTP_IF_NONE_MATCH"}

A_VERSION = re.compile(r'"[^"]+"|\*')
"""The value of a condition: a tag, or whatever there is."""

TOLD = "/-/conditions"
"""The log of the server: a list of a path and its conditions for each put."""


REQUESTS = "/-/requests"
"""The same of all requests: a list of a method and a path for each."""


class Server:
    """moto as an application that answers one request after the other."""

    def __init__(self, options: Sequence[str]) -> None:
        self._moto = create_backend_app("s3")
        self._careless = "--careless" in options
        self._unable = "--unable" in options
        self._refusing = "--refusing" in options
        self._one_at_a_time = threading.Lock()
        self._told: list[tuple[str, dict[str, str]]] = []
        self._requests: list[tuple[str, str]] = []

    def __call__(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        if self._refusing:
            start("403 Forbidden", [("Content-Type", "application/xml")])
            return [REFUSAL]
        if environ["PATH_INFO"] == TOLD:
            start("200 OK", [("Content-Type", "application/json")])
            return [json.dumps(self._told).encode()]
        if environ["PATH_INFO"] == REQUESTS:
            start("200 OK", [("Content-Type", "application/json")])
            return [json.dumps(self._requests).encode()]
        query = f"?{environ['QUERY_STRING']}" if environ["QUERY_STRING"] else ""
        self._requests.append((environ["REQUEST_METHOD"], environ["PATH_INFO"] + query))
        conditions = environ.keys() & CONDITIONS if environ["REQUEST_METHOD"] == "PUT" else set()
        if environ["REQUEST_METHOD"] == "PUT":
            self._told.append((environ["PATH_INFO"], {name: environ[name] for name in conditions}))
        if not all(A_VERSION.fullmatch(environ[name]) for name in conditions):
            # Or the next request on this connection would begin with its body.
            environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
            start("400 Bad Request", [("Content-Type", "application/xml")])
            return [b"<Error><Code>InvalidArgument</Code></Error>"]
        if self._unable and conditions:
            start("501 Not Implemented", [("Content-Type", "application/xml")])
            return [b"<Error><Code>NotImplemented</Code></Error>"]
        for name in conditions if self._careless else ():
            environ.pop(name)
        with self._one_at_a_time:
            answer: Iterable[bytes] = self._moto(environ, start)
            return list(answer)


def main() -> None:
    """Serve until stdin ends."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    # Connections are kept, or each request would pay for a new one.
    WSGIRequestHandler.protocol_version = "HTTP/1.1"
    server = make_server("127.0.0.1", 0, Server(sys.argv), threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main()

"""The site of the documentation, as `.ci/full site` builds it, at an address of this machine."""

from __future__ import annotations

import functools
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.support.doc_pages import ROOT

MKDOCS = ROOT / "build/site-venv/bin/mkdocs"
SETTINGS = ROOT / "tools/website/mkdocs.yml"


class QuietHandler(SimpleHTTPRequestHandler):
    """A handler of files that writes no log."""

    def log_message(self, *arguments: object) -> None:
        """Write nothing."""


def build(folder: Path) -> None:
    """Build the site strictly, without a warning."""
    command: list[str | Path] = [MKDOCS, "build", "--quiet", "--strict", "-f", SETTINGS]
    environ = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        [*command, "-d", folder],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a site while the block runs, and yield its address."""
    handler = functools.partial(QuietHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()

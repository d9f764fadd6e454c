"""The documentation's site: built strictly, complete in itself, searchable in two languages."""

from __future__ import annotations

import functools
import os
import re
import subprocess
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.browser.visits import visit
from tests.support.doc_pages import ROOT

pytestmark = pytest.mark.slow

MKDOCS = ROOT / "build/site-venv/bin/mkdocs"
SETTINGS = ROOT / "tools/website/mkdocs.yml"

# Read here, because no test sees the variables of harvester.
REQUIRED = os.environ.get("HARVESTER_REQUIRE_SITE", "") not in {"", "0"}

LOADED = re.compile(
    r"""(?:\ssrc=|<link\s[^>]*href=|url\(|@import\s)["']?((?:https?:)?//[^"')\s]+)"""
)


class QuietHandler(SimpleHTTPRequestHandler):
    """A handler of files that writes no log."""

    def log_message(self, *arguments: object) -> None:
        """Write nothing."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built anew; `.ci/full site` installs MkDocs and requires it."""
    if not MKDOCS.exists():
        (pytest.fail if REQUIRED else pytest.skip)("`.ci/full site` installs MkDocs in build/")
    folder = tmp_path_factory.mktemp("site")
    command: list[str | Path] = [
        MKDOCS,
        "build",
        "--quiet",
        "--strict",
        "-f",
        SETTINGS,
        "-d",
        folder,
    ]
    environ = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """The address at which the site is served."""
    handler = functools.partial(QuietHandler, directory=str(site))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_no_page_loads_anything_from_another_host(site: Path) -> None:
    """Scripts, styles, fonts and pictures are the site's own."""
    found = {
        f"{path.relative_to(site)}: {link}"
        for pattern in ("*.html", "*.css")
        for path in site.rglob(pattern)
        for link in LOADED.findall(path.read_text("utf-8"))
    }
    assert not found


@pytest.mark.parametrize(
    ("page", "word", "expected"),
    [
        ("index.html", "wheelhouse", "install.html"),
        ("index.html", "authoriser", "glossary.html"),
        ("index.html", "stable_token", "credentials.html"),
        ("zh/glossary.html", "已隔离", "zh/glossary.html"),
        ("zh/glossary.html", "历史数据补采", "zh/glossary.html"),
        ("zh/glossary.html", "公众号", "zh/glossary.html"),
    ],
)
def test_search_finds_a_word(
    browser: None, address: str, page: str, word: str, expected: str
) -> None:
    """The search field leads to a page with the word, and asks no other host meanwhile."""
    links = "[...document.querySelectorAll('.md-search-result__link')].map((link) => link.href)"
    found = visit(
        f"{address}/{page}",
        ["click", ".md-search__input"],
        ["fill", ".md-search__input", word],
        ["press", "End"],
        ["appears", ".md-search-result__link"],
        ["evaluate", links],
        quiet=False,
        drawn=False,
    )
    assert not found.errors
    assert any(link.startswith(f"{address}/{expected}") for link in found.results[-1])
    # Blobs are workers that the page's own script starts.
    own = (f"{address}/", "data:", f"blob:{address}/")
    assert [request for request in found.requests if not request.startswith(own)] == []

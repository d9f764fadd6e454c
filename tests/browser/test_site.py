"""The documentation's site: built strictly, complete in itself, searchable in two languages."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.site import MKDOCS, build, served
from tests.browser.visits import visit

pytestmark = pytest.mark.slow

# Read here, because no test sees the variables of harvester.
REQUIRED = os.environ.get("HARVESTER_REQUIRE_SITE", "") not in {"", "0"}

LOADED = re.compile(
    r"""(?:\ssrc=|<link\s[^>]*href=|url\(|@import\s)["']?((?:https?:)?//[^"')\s]+)"""
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built anew; `.ci/full site` installs MkDocs and requires it."""
    if not MKDOCS.exists():
        (pytest.fail if REQUIRED else pytest.skip)("`.ci/full site` installs MkDocs in build/")
    folder = tmp_path_factory.mktemp("site")
    build(folder)
    return folder


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """The address at which the site is served."""
    with served(site) as found:
        yield found


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
        ("reference/run.html", "--until-complete", "cli.html"),
        ("zh/glossary.html", "已隔离", "zh/glossary.html"),
        ("zh/glossary.html", "历史数据补采", "zh/glossary.html"),
        ("zh/glossary.html", "公众号", "zh/glossary.html"),
        ("zh/index.html", "额度", "zh/glossary.html"),
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

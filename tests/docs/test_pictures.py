"""The pictures of docs: each is made by the script, small, and shown on a page."""

from __future__ import annotations

import re

from tests.browser.pictures import FOLDER, MAX_BYTES, PICTURES
from tests.support.doc_pages import PAGES, README, ROOT
from tools.website import cast

CONTRIBUTING = ROOT / "CONTRIBUTING.md"


def test_pictures_are_small_and_shown() -> None:
    """A picture that no page shows, or that no script makes, would grow old unseen."""
    shown = {
        name
        for page in (*PAGES, CONTRIBUTING)
        for name in re.findall(
            r"!\[.+?\]\((?:docs/)?pictures/([\w-]+)\.png\)", page.read_text("utf-8")
        )
    }
    files = {path.stem: path.stat().st_size for path in FOLDER.glob("*.png")}
    assert files.keys() == shown == PICTURES.keys()
    assert max(files.values()) <= MAX_BYTES


def test_the_terminal_is_drawn_from_the_tutorial() -> None:
    """`python -m tools.website.cast` draws it; it loads nothing and has no script."""
    assert f"({cast.PICTURE.relative_to(cast.ROOT)})" in README.read_text("utf-8")
    drawn = cast.PICTURE.read_text("utf-8")
    assert drawn == cast.drawing()
    assert not re.search(r"<script|<image|@import|url\(|@font-face|href", drawn)
    assert "$ harvester run jobs.yaml" in drawn

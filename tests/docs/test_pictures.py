"""The pictures of docs: each is made by the script, small, and shown on a page."""

from __future__ import annotations

import re

from tests.browser.pictures import FOLDER, MAX_BYTES, PICTURES
from tests.support.doc_pages import PAGES


def test_pictures_are_small_and_shown() -> None:
    """A picture that no page shows, or that no script makes, would grow old unseen."""
    shown = {
        name
        for page in PAGES
        for name in re.findall(r"!\[.+?\]\(pictures/([\w-]+)\.png\)", page.read_text("utf-8"))
    }
    files = {path.stem: path.stat().st_size for path in FOLDER.iterdir()}
    assert files.keys() == shown == PICTURES.keys()
    assert max(files.values()) <= MAX_BYTES

"""The length of the guides: a fact stands once, and a page is read to its end."""

from __future__ import annotations

import re

from tests.support.doc_pages import FENCED, ROOT

MAX_WORDS = 25_300

# The data dictionary is generated, and a translation is as long as its page.
GUIDES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *(page for page in ROOT.glob("docs/*.md") if not re.search(r"\.zh\.|datasets", page.name)),
]


def test_the_guides_together_are_short() -> None:
    """Words have a letter and stand outside of snippets; nothing may be added that nothing left."""
    texts = [FENCED.sub("", page.read_text("utf-8")) for page in GUIDES]
    words = [word for text in texts for word in text.split() if re.search(r"[^\W\d_]", word)]
    assert len(words) <= MAX_WORDS

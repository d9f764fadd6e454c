"""Hook of MkDocs: adapts the pages of docs/, which are written for GitHub, to the site."""

from __future__ import annotations

import os
import posixpath
import re
import shutil
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]

# As in hatch_build.py; RFC 2606: no such host exists.
REPOSITORY = os.environ.get("PROJECT_URL") or "https://repository.invalid"

FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
FENCE = re.compile(r"^(```\w+) .*$", re.MULTILINE)
LINK = re.compile(r"(\]\()((?:\.\./)+[^)\s#]*)")


def on_page_markdown(markdown: str, page: Any, **_: object) -> str:
    """Rewrite links out of docs/, and drop the words after a language that tell a test its part."""
    folder = posixpath.dirname(page.file.src_uri)
    if folder == "decisions":
        # Who searches for a word wants to use harvester, and its history last.
        page.meta["search"] = {"boost": 0.1}
    if page.file.src_uri.endswith(".zh.md"):
        markdown = _with_anchors(markdown, ROOT / "docs" / page.file.src_uri)
    markdown = FENCE.sub(r"\1", markdown)
    return LINK.sub(lambda found: found[1] + _target(folder, found[2]), markdown)


def on_post_build(config: Any) -> None:
    """Give each folder of pages the sitemap, for which the theme asks beside them."""
    site = Path(config.site_dir)
    for folder in {page.parent for page in site.rglob("*.html")} - {site}:
        if (site / "sitemap.xml").exists():
            shutil.copy(site / "sitemap.xml", folder)


def _with_anchors(markdown: str, page: Path) -> str:
    """Give the headings of a translation the anchors of its page, so links to both are equal."""
    english = page.with_name(page.name.replace(".zh.md", ".md")).read_text("utf-8")
    anchors = [
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in HEADING.findall(FENCED.sub("", english))
    ]
    # A comment in a snippet looks like a heading.
    parts = re.split(f"({FENCED.pattern})", markdown, flags=FENCED.flags)
    for place in range(0, len(parts), 2):
        parts[place] = HEADING.sub(lambda found: f"{found[0]} {{#{anchors.pop(0)}}}", parts[place])
    return "".join(parts)


def _target(folder: str, link: str) -> str:
    """Return the link as it is, or the address of a file outside of docs/."""
    path = posixpath.normpath(posixpath.join("docs", folder, link))
    if path.startswith("docs/"):
        return link
    kind = "tree" if (ROOT / path).is_dir() else "blob"
    return f"{REPOSITORY}/{kind}/main/{path}"

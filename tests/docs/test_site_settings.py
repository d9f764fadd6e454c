"""The site's settings: its contents have every page, and its hook adapts links and fences."""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import yaml

from tests.support.doc_pages import ROOT
from tools.website.hooks import on_page_markdown

FOLDER = ROOT / "tools/website"
PARTS = [
    *("Start", "Every day", "Use the data", "Review"),
    *("Reference", "How it works", "Glossary"),
]


class Loader(yaml.SafeLoader):
    """A loader that passes over the tags of MkDocs and of Python."""


Loader.add_multi_constructor("!", lambda *_: None)
Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda *_: None)
SETTINGS = yaml.load((FOLDER / "mkdocs.yml").read_text("utf-8"), Loader)


def leaves(part: Any) -> Iterator[str]:
    """Yield the pages of a part of the contents."""
    if isinstance(part, str):
        yield part
    else:
        for inner in part.values() if isinstance(part, dict) else part:
            yield from leaves(inner)


def test_the_contents_have_every_page_in_the_order_of_its_use() -> None:
    """Decisions are reached from the list of them, and translations by their language."""
    assert [name for part in SETTINGS["nav"] for name in part] == PARTS
    docs = ROOT / "docs"
    pages = {
        str(path.relative_to(docs))
        for path in docs.rglob("*.md")
        if not path.name.endswith(".zh.md") and not path.match("decisions/0*.md")
    }
    assert sorted(leaves(SETTINGS["nav"])) == sorted(pages)


def test_every_translation_has_its_page() -> None:
    """A page in Chinese stands beside the page that it translates, and says who has not read it."""
    for path in ROOT.glob("docs/**/*.zh.md"):
        assert path.with_name(path.name.replace(".zh.md", ".md")).exists()
        assert "尚未经中文母语编辑审校" in path.read_text("utf-8"), path


def test_the_search_has_the_short_chinese_terms_of_the_glossary() -> None:
    """Jieba would cut some of them so that the browser does not find them.

    It cuts longer ones into words. One of these alone finds the term as well.
    """
    glossary = (ROOT / "docs/glossary.md").read_text("utf-8")
    rows = re.findall(r"^\| [^|]+ \| ([^|]+) \|", glossary, re.MULTILINE)
    terms = {term for row in rows for term in re.split(r"[/（）]", row)} - {"中文"}
    words = (FOLDER / "words.txt").read_text("utf-8").split()
    assert {term for term in terms if re.fullmatch(r"[\u4e00-\u9fff]{2,3}", term)} == {*words}


def test_the_hook_adapts_links_and_fences() -> None:
    """Links within docs/ stay, also those up from a folder of it."""
    page = SimpleNamespace(file=SimpleNamespace(src_uri="decisions/0001-no-database.md"), meta={})
    links = "[a](../../examples/spark/) [b](../../SECURITY.md#x) [c](../cli.md#y)"
    text = on_page_markdown(f"```yaml broken check\n{links}", page)
    assert text.startswith("```yaml\n")
    assert re.search(r"\[a\]\(https://[^ ]+/tree/main/examples/spark\)", text)
    assert re.search(r"\[b\]\(https://[^ ]+/blob/main/SECURITY.md#x\)", text)
    assert text.endswith("[c](../cli.md#y)")


def test_a_translation_has_the_anchors_of_its_page() -> None:
    """A link to a section leads to it in both languages."""
    page = SimpleNamespace(file=SimpleNamespace(src_uri="credentials.zh.md"))
    text = on_page_markdown((ROOT / "docs/credentials.zh.md").read_text("utf-8"), page)
    assert "## Vault {#vault}\n" in text
    assert "## 在 GitHub 上运行三百个账号 {#three-hundred-accounts-on-github}\n" in text
    assert "# unpack.py FOLDER: a JSON object of appids and AppSecrets on stdin, a file" in text

"""The page as one file: tables, then the data of the map, inert, and the script that draws it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256

from harvester.storage.layout import Tree
from harvester.verbs.page import tables
from harvester.verbs.page.cells import compressed
from harvester.verbs.page.facts import View, data, facts_of, inert_script, rows_of

_HEAD = """<!DOCTYPE html>
<html lang="{lang}">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src '{code}'; \
style-src '{look}'; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
<h1>{title}</h1>
"""


def pieces(view: View, sentence: str, tree: Tree) -> Iterator[str]:
    """Yield the page in pieces, the sentence first. Raises StoreError."""
    script, style, title = data("page.js"), data("page.css"), tables.text(sentence)
    digests = {"code": _digest(script), "look": _digest(style)}
    yield _HEAD.format(lang=view.lang, title=title, style=style, **digests)
    yield tables.attention(view) + tables.expectations(view) + tables.days(view, tree)
    if not view.for_client:
        yield tables.runs(view, tree) + tables.quota(view, tree) + tables.sizes(view, tree)
    yield "\n</main>\n"
    yield f'<script type="application/json" id="facts">{inert_script(facts_of(view))}</script>\n'
    for place, dataset in enumerate(view.datasets.values()):
        days = compressed(rows_of(view, dataset))
        yield f'<script type="text/plain" id="days-{place}">{days}</script>\n'
    yield f"<script>{script}</script>\n</body>\n</html>\n"


def _digest(source: str) -> str:
    return f"sha256-{b64encode(sha256(source.encode()).digest()).decode()}"

"""The page as one file: tables, then the data of the map, inert, and the script that draws it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256

from harvester.verbs.page.cells import compressed
from harvester.verbs.page.facts import View, data, facts_of, inert_script, rows_of
from harvester.verbs.page.tables import text


def pieces(view: View, title: str, body: str) -> Iterator[str]:
    """Yield the page in pieces, so that the days of all accounts are never in memory at once."""
    script, style = data("page.js"), data("page.css")
    policy = (
        f"default-src 'none'; script-src '{_digest(script)}'; style-src '{_digest(style)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    yield (
        f'<!DOCTYPE html>\n<html lang="{view.lang}">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{text(title)}</title>\n<style>{style}</style>\n</head>\n<body>\n"
        f"<main>\n{body}\n</main>\n"
        f'<script type="application/json" id="facts">{inert_script(facts_of(view))}</script>\n'
    )
    for place, dataset in enumerate(view.datasets.values()):
        yield f'<script type="text/plain" id="days-{place}">'
        yield from compressed(rows_of(view, dataset))
        yield "</script>\n"
    yield f"<script>{script}</script>\n</body>\n</html>\n"


def _digest(source: str) -> str:
    return f"sha256-{b64encode(sha256(source.encode()).digest()).decode()}"

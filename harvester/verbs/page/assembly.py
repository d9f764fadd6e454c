"""The page as one file: tables, then the data of the map, inert, and the script that draws it."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator, Mapping
from hashlib import sha256
from importlib import resources

from harvester.verbs.page.cells import compressed
from harvester.verbs.page.facts import View, facts_of, inert_script, rows_of
from harvester.verbs.page.tables import text


def words_of(lang: str) -> Mapping[str, str]:
    """Return the words of a language."""
    found: Mapping[str, str] = json.loads(_data("words.json"))[lang]
    return found


def pieces(view: View, title: str, body: str) -> Iterator[str]:
    """Yield the page in pieces, so that the days of all accounts are never in memory at once."""
    script, style = _data("page.js"), _data("page.css")
    policy = (
        f"default-src 'none'; script-src '{_digest(script)}'; style-src '{_digest(style)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    lang = text(view.words["lang"])
    yield (
        f'<!DOCTYPE html>\n<html lang="{lang}">\n<head>\n<meta charset="utf-8">\n'
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


def _data(name: str) -> str:
    return resources.files("harvester.verbs.page").joinpath(name).read_text("utf-8")


def _digest(source: str) -> str:
    return f"sha256-{b64encode(sha256(source.encode()).digest()).decode()}"

"""Markdown as it is shown on a page, and a check that there is no element but those expected."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator

from markdown_it import MarkdownIt
from markdown_it.token import Token

_MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])

COMMENT = "<!-- -->"
"""The only HTML in a foreign text: it keeps characters apart that act together."""

_OWN_HTML = re.compile(rf"{COMMENT}|<br>|<!-- (end of )?harvester [0-9a-f]{{8}} -->\n*")

TABLE = ("table", "thead", "tbody", "tr", "th", "td")
LIST = ("bullet_list", "list_item", "paragraph")
SUMMARY = (*TABLE, *LIST, "heading", "strong")
"""The elements of a summary."""


def texts_shown(markdown: str, elements: Collection[str] = SUMMARY) -> list[str]:
    """Return the nodes of text of a page. Anything but these elements fails an assertion."""
    nodes = []
    for token in _tokens(_MARKDOWN.parse(markdown)):
        if token.type in {"html_inline", "html_block"}:
            assert _OWN_HTML.fullmatch(token.content), token
        elif token.type in {"text", "text_special"}:
            nodes.append(token.content)
        else:
            element = re.sub("_(open|close)$", "", token.type)
            assert element in {*elements, "inline", "softbreak"}, token
    return nodes


def _tokens(found: Iterable[Token]) -> Iterator[Token]:
    """Yield tokens and those inside of them."""
    for token in found:
        yield token
        yield from _tokens(token.children or ())

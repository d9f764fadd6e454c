r"""Escapes in texts, undone with a way back to the places of the original.

The escapes are those of URLs (``%2b``), JSON and Python (``\u002b``, ``\x2b``, ``\/``) and HTML
(``&amp;``, ``&#43;``), whichever characters they stand for. Texts are bytes in lower case.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from html import unescape
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

_ESCAPE = re.compile(
    rb"%[0-9a-f]{2}"
    rb"|\\(?:u[0-9a-f]{4}|x[0-9a-f]{2}|(?P<plain>[^0-9a-z\s]))"
    rb"|&(?:amp|lt|gt|quot|apos|#[0-9]{1,6}|#x[0-9a-f]{1,5});"
)
_MAX_LAYERS = 3


class Layer(NamedTuple):
    """A text without some escapes, and the place in the original of each byte and of the end."""

    text: bytes
    places: Sequence[int]


def layers(text: bytes) -> Iterator[Layer]:
    """Yield a text as it is, and with its escapes undone once, twice and three times."""
    layer = Layer(text, range(len(text) + 1))
    yield layer
    for _ in range(_MAX_LAYERS):
        # Nearly all texts end here.
        if not _ESCAPE.search(layer.text):
            return
        layer = _undone(layer)
        yield layer


def _undone(layer: Layer) -> Layer:
    """Undo every escape of a text once."""
    text, places = layer
    parts: list[bytes] = []
    found: list[int] = []
    done = 0
    for match in _ESCAPE.finditer(text):
        begin, end = match.span()
        plain = _plain(match)
        parts += text[done:begin], plain
        found += places[done:begin]
        found += [places[begin]] * len(plain)
        done = end
    return Layer(b"".join((*parts, text[done:])), [*found, *places[done:]])


def _plain(match: re.Match[bytes]) -> bytes:
    """Return what an escape stands for, in lower case."""
    escape = match[0]
    if match["plain"]:
        return match["plain"]
    if escape.startswith(b"%"):
        return unquote_to_bytes(escape).lower()
    is_html = escape.startswith(b"&")
    text = unescape(escape.decode()) if is_html else escape.decode("unicode_escape")
    return text.encode("utf-8", "surrogatepass").lower()

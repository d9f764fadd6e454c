r"""Escapes in texts, undone with a way back to the places of the original.

The escapes are those of URLs (``%2b``), JSON and Python (``\u002b``, ``\x2b``, ``\/``) and HTML
(``&amp;``, ``&#43;``), whichever characters they stand for. Texts are bytes in lower case.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

_ESCAPE = re.compile(
    rb"%(?P<byte>[0-9a-f]{2})"
    rb"|\\(?:u(?P<code>[0-9a-f]{4})|x(?P<short>[0-9a-f]{2})|(?P<plain>[^0-9a-z\s]))"
    rb"|&(?:(?P<name>amp|lt|gt|quot|apos)|#(?P<decimal>[0-9]{1,6})|#x(?P<hex>[0-9a-f]{1,5}));"
)
_NAMES = {b"amp": b"&", b"lt": b"<", b"gt": b">", b"quot": b'"', b"apos": b"'"}
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
    kind, digits = match.lastgroup, match[match.lastgroup or 0]
    match kind:
        case "plain":
            return digits
        case "name":
            return _NAMES[digits]
        case "byte":
            return bytes([int(digits, 16)]).lower()
        case _:
            code = int(digits, 10 if kind == "decimal" else 16)
            return chr(code).encode("utf-8", "surrogatepass").lower()

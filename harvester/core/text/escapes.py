r"""Escapes in texts, undone with a way back to the places of the original.

The escapes are those of URLs (``%2b``), JSON and Python (``\u002b``, ``\x2b``, ``\/``) and HTML
(``&amp;``, ``&#43;``), whichever characters they stand for. Texts are bytes in lower case.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_ESCAPE = re.compile(
    rb"%(?P<byte>[0-9a-f]{2})"
    rb"|\\(?:u(?P<code>[0-9a-f]{4})|x(?P<short>[0-9a-f]{2})|(?P<plain>[^0-9a-z\s]))"
    rb"|&(?:(?P<name>amp|lt|gt|quot|apos)|#(?P<decimal>[0-9]{1,6})|#x(?P<hex>[0-9a-f]{1,5}));"
)
_NAMES = {b"amp": b"&", b"lt": b"<", b"gt": b">", b"quot": b'"', b"apos": b"'"}
_MAX_LAYERS = 3


class Layer(NamedTuple):
    """A text without some escapes, and where each of its bytes begins and ends in the original."""

    text: bytes
    begins: list[int]
    ends: list[int]

    def original(self, begin: int, end: int) -> tuple[int, int]:
        """Return the part of the original that a part of the text stands for."""
        return self.begins[begin], self.ends[end - 1]


def layers(text: bytes) -> Iterator[Layer]:
    """Yield a text with its escapes undone once, twice and three times, as far as it has some."""
    # Nearly all lines end here.
    if not (b"%" in text or b"\\" in text or b"&" in text):
        return
    places = range(len(text))
    layer = Layer(text, [*places], [place + 1 for place in places])
    for _ in range(_MAX_LAYERS):
        before, layer = layer, _undone(layer)
        if layer.text == before.text:
            return
        yield layer


def _undone(layer: Layer) -> Layer:
    """Undo every escape of a text once."""
    text, begins, ends = layer
    found = Layer(b"", [], [])
    parts: list[bytes] = []
    done = 0
    for match in _ESCAPE.finditer(text):
        parts += (text[done : match.start()], plain := _plain(match))
        found.begins.extend(begins[done : match.start()])
        found.ends.extend(ends[done : match.start()])
        begin, done = match.span()
        found.begins.extend([begins[begin]] * len(plain))
        found.ends.extend([ends[done - 1]] * len(plain))
    found.begins.extend(begins[done:])
    found.ends.extend(ends[done:])
    return found._replace(text=b"".join((*parts, text[done:])))


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

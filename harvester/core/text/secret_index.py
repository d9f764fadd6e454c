"""Index of secret values that finds any twenty consecutive bytes of them in a text.

Such a piece holds one of the blocks of six bytes at every 15th byte of its value. So
only these blocks are kept, and the bytes around a block that is found in a text are compared with
its value. Values and texts are bytes in lower case. Each step of `add` leaves an index that can be
searched, so threads need no lock.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias

PIECE = 20
"""Bytes of a value from which on a part of it is found."""

SHORTEST = 8
"""Minimum bytes of a value. One of fewer than `PIECE` bytes is found only as a whole."""

_BLOCK = 6
_STEP = PIECE - _BLOCK + 1

Span: TypeAlias = tuple[int, int]
"""The first byte of a part of a text, and the one after its last."""


def united(spans: Iterable[Span]) -> list[Span]:
    """Return the spans in order, with those joined that overlap or touch."""
    found: list[Span] = []
    for begin, end in sorted(spans):
        if found and begin <= found[-1][1]:
            found[-1] = found[-1][0], max(end, found[-1][1])
        else:
            found.append((begin, end))
    return found


class SecretIndex:
    """The known values by their blocks."""

    def __init__(self) -> None:
        self._values: dict[bytes, bytes] = {}
        # Short values, and the pieces around a block of which another value is kept.
        self._pieces: set[bytes] = set()

    def add(self, value: bytes) -> None:
        """Add a value. One of fewer than `SHORTEST` bytes is left out: it may be a word."""
        if len(value) < SHORTEST:
            return
        first = PIECE - _BLOCK
        if len(value) < PIECE:
            self._pieces.add(value)
            first = 0
        for at in range(first, len(value) - _BLOCK + 1, _STEP):
            if self._values.setdefault(value[at : at + _BLOCK], value) != value:
                self._pieces.update(value[begin:end] for begin, end in _pieces_around(value, at))

    def find(self, text: bytes) -> Iterator[Span]:
        """Yield where a text holds values or pieces of them; the spans may overlap."""
        values = self._values
        places = range(len(text) - _BLOCK + 1)
        for at in [at for at in places if text[at : at + _BLOCK] in values]:
            value = values[text[at : at + _BLOCK]]
            for begin, end in _pieces_around(text, at):
                piece = text[begin:end]
                if piece in value or piece in self._pieces:
                    yield begin, end
            for end in range(at + SHORTEST, min(at + PIECE, len(text) + 1)):
                if text[at:end] in self._pieces:
                    yield at, end


def _pieces_around(data: bytes, at: int) -> Iterator[Span]:
    """Yield the pieces of the least length that hold the block at a place."""
    for begin in range(max(0, at - _STEP + 1), min(at, len(data) - PIECE) + 1):
        yield begin, begin + PIECE

"""Index of secret values that finds any twelve consecutive bytes of them in a text.

Such a piece holds one of the blocks of six bytes that begin at every seventh byte of its value. So
only these blocks are stored, and a block that is found in a text is extended to both sides. Values
and texts are in lower case.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Iterator
from typing import TypeAlias

from harvester.core.text.block_table import BLOCK, WINDOW, BlockTable

PIECE = WINDOW
"""Bytes of a value from which on a part of it is found."""

SHORTEST = 8
"""Minimum bytes of a value. One of fewer than `PIECE` bytes is found only as a whole."""

_STEP = PIECE - BLOCK + 1
_SHARED_BY = 3
"""Number of values whose common beginning is public, as that of all refresh tokens."""

_MIN_SECRET_LETTERS = 4
"""Letters and digits beside public words from which on a piece counts as secret."""

_APPID = rb"wx[0-9a-f]{16}"
_MARKS = string.punctuation.encode()
_LETTER = re.compile(rb"[0-9a-z\x80-\xff]")

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
    """The known values, the blocks of which they are made, and the words that stay readable."""

    def __init__(self) -> None:
        # A NUL stands before and after each value.
        self._text = bytearray(1)
        self._table = BlockTable(self._text)
        self._new: list[bytes] = []
        self._hashes: set[int] = set()
        self._short: set[bytes] = set()
        self._common: set[bytes] = set()
        self._first: dict[int, int] = {}
        self._shared: dict[int, tuple[int, bytes]] = {}
        self._alphabet = b""
        self._runs: re.Pattern[bytes] | None = None
        self._public: set[bytes] = set()
        self._public_pattern: re.Pattern[bytes] | None = None

    def add(self, value: bytes) -> None:
        """Add a value. One of fewer than `SHORTEST` bytes is left out: it may be a word."""
        key = hash(value)
        if len(value) < SHORTEST or key in self._hashes:
            return
        self._hashes.add(key)
        unseen = value.translate(None, self._alphabet)
        if unseen:
            self._alphabet = bytes(sorted({*self._alphabet, *unseen}))
            self._runs = None
        if len(value) < PIECE:
            self._short.add(value)
            self._runs = None
        else:
            # Stored when a text is searched that may hold a value: most texts cannot.
            self._new.append(value)

    def __len__(self) -> int:
        return len(self._hashes)

    def permit(self, words: Iterable[bytes]) -> None:
        """Keep words readable, such as names of datasets, though they stand in a value."""
        self._public.update(filter(None, words))
        self._public_pattern = None

    def find(self, text: bytes) -> list[Span]:
        """Return where a text holds values or pieces of them, in order, without overlaps."""
        runs = [run.span() for run in self._run_pattern().finditer(text)]
        runs = [run for run in runs if not self._public_words().fullmatch(text, *run)]
        if not runs:
            return []
        self._store_new()
        found = united(
            span
            for run in runs
            for search in (self._short_values, self._pieces)
            for span in search(text, *run)
        )
        return [span for span in found if not self._is_public(text[slice(*span)])]

    def _run_pattern(self) -> re.Pattern[bytes]:
        """Return the pattern of runs of characters that the values are made of."""
        if self._runs is None:
            letters = b"".join(b"\\x%02x" % letter for letter in self._alphabet)
            shortest = SHORTEST if self._short else PIECE
            self._runs = re.compile(b"[%b]{%d,}" % (letters, shortest) if letters else b"(?!)")
        return self._runs

    def _public_words(self) -> re.Pattern[bytes]:
        if self._public_pattern is None:
            longest_first = sorted(self._public, key=len, reverse=True)
            self._public_pattern = re.compile(b"|".join((_APPID, *map(re.escape, longest_first))))
        return self._public_pattern

    def _store_new(self) -> None:
        # Taken first, because a warning that is printed meanwhile searches this index too.
        new, self._new = self._new, []
        if new:
            self._table.make_room(sum(len(value) // _STEP + 1 for value in new))
            for value in new:
                self._store(value)

    def _store(self, value: bytes) -> None:
        start = len(self._text)
        self._text += value
        self._text += b"\0"
        self._compare_beginnings(value, start)
        for at in self._table.add_blocks(value, start, _STEP):
            # Only the first place of a block is stored. All others are found by the windows around
            # the block, so that values with common parts make no long chains.
            self._common.add(value[at : at + BLOCK])
            for begin in range(max(0, at + BLOCK - PIECE), min(at, len(value) - PIECE) + 1):
                self._table.add_window(value[begin : begin + PIECE], start + begin)

    def _compare_beginnings(self, value: bytes, start: int) -> None:
        """Note how far this value begins like the others with the same first bytes."""
        head = hash(value[:PIECE])
        first = self._first.setdefault(head, start)
        if first == start:
            return
        number, shared = self._shared.get(head, (1, self._value_at(first)[:-PIECE]))
        # The end of a value is never public, even if another value continues it.
        pairs = enumerate(zip(shared, value[:-PIECE], strict=False))
        length = min(len(shared), max(0, len(value) - PIECE))
        length = next((place for place, (one, other) in pairs if one != other), length)
        self._shared[head] = number + 1, shared[:length]

    def _value_at(self, start: int) -> bytes:
        return bytes(self._text[start : self._text.index(0, start)])

    def _is_public(self, piece: bytes) -> bool:
        """Return whether a piece is a public beginning, or public words and little else."""
        if any(
            number >= _SHARED_BY and piece in shared for number, shared in self._shared.values()
        ):
            return True
        if hash(piece) in self._hashes:
            return False
        letters_left = _LETTER.findall(self._public_words().sub(b"", piece))
        if len(letters_left) < _MIN_SECRET_LETTERS:
            return True
        name = piece.strip(_MARKS)
        return any(name in word for word in self._public)

    def _short_values(self, text: bytes, begin: int, end: int) -> Iterator[Span]:
        for at in range(begin, end - SHORTEST + 1) if self._short else ():
            for size in range(SHORTEST, min(PIECE, end - at + 1)):
                if text[at : at + size] in self._short:
                    yield at, at + size

    def _pieces(self, text: bytes, begin: int, end: int) -> Iterator[Span]:
        slots, last = self._table.slots, len(self._table.slots) - 1
        shift = done = 0
        for at in range(begin, end - BLOCK + 1):
            block = text[at : at + BLOCK]
            # The slot is looked at first, because nearly all blocks of a text are unknown.
            if not slots[hash(block) & last] or not (place := self._table.place(block)):
                continue
            # The blocks that follow in the same piece say nothing new.
            if at >= done or place - at != shift:
                first, after = self._extended(text, at, place)
                if after - first >= PIECE:
                    shift, done = place - at, after
                    yield first, after
            if block in self._common:
                for first in range(max(begin, at + BLOCK - PIECE), min(at, end - PIECE) + 1):
                    if self._table.place(text[first : first + PIECE]):
                        yield first, first + PIECE

    def _extended(self, text: bytes, at: int, place: int) -> Span:
        """Return the part of a text around ``at`` that is equal to a value around ``place``."""
        values, first, after = self._text, at, at + BLOCK
        shift = place - at
        while first and values[first - 1 + shift] and text[first - 1] == values[first - 1 + shift]:
            first -= 1
        while after < len(text) and values[after + shift] and text[after] == values[after + shift]:
            after += 1
        return first, after

"""Masking of the secrets that a run knows.

Every text that is printed, logged or recorded passes this module. Known secrets are found by their
value, whole or in part, in any case and through escapes. Other secrets are found by the name before
them, as in ``access_token=…``.

The known secrets belong to the context of a run: `start_record` starts a record of them, each
`Secret` that is made in this context enters it, and it is gone with the context. A text that is
written outside of any run, such as the error of a thread, is searched for the secrets of all runs
under way.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from contextvars import Context, ContextVar
from typing import Any, ParamSpec, TypeAlias, TypeVar
from weakref import WeakSet

from harvester.core.text import escapes
from harvester.core.text.secret_index import SecretIndex, Span, united
from harvester.core.text.secret_words import MASK, mask_named

P = ParamSpec("P")
T = TypeVar("T")

Lock: TypeAlias = AbstractContextManager[Any]

_CHUNK, _OVERLAP = 64 * 1024, 4 * 1024
"""Bytes of a text that are searched at a time, and those that are searched twice.

The overlap is longer than any piece behind escapes. In chunks, the lock is free now and then, and
the places of the bytes behind escapes take little memory.
"""

_ADDRESS = re.compile(r"https?://([^/?#@\s]+)(?=[/?#]|$)", re.IGNORECASE)


class _Record:
    """The secrets of one run. All threads of the run use it, so it has a lock."""

    def __init__(self, lock: Lock) -> None:
        self._lock = lock
        self._index = SecretIndex()

    def add(self, value: str) -> None:
        """Add a secret. Of an address the host stays readable."""
        address = _ADDRESS.match(value)
        with self._lock:
            if address:
                self._index.permit(map(_bytes_of, (address[0], address[1])))
            self._index.add(_bytes_of(value))

    def permit(self, words: Iterable[str]) -> None:
        """Keep words readable."""
        with self._lock:
            self._index.permit(map(_bytes_of, words))

    def find(self, text: bytes) -> Iterator[Span]:
        """Yield where secrets are in a text, as it is or behind escapes; they may overlap."""
        for start in range(0, max(1, len(text) - _OVERLAP), _CHUNK - _OVERLAP):
            with self._lock:
                found = self._find_in_chunk(text[start : start + _CHUNK].lower())
            yield from ((start + first, start + end) for first, end in found)

    def _find_in_chunk(self, text: bytes) -> list[Span]:
        if not self._index:
            return []
        found = self._index.find(text)
        for layer in escapes.layers(text):
            found += (layer.original(*span) for span in self._index.find(layer.text))
        return found


_CURRENT: ContextVar[_Record | None] = ContextVar("secrets of the run", default=None)
_RUNS: WeakSet[_Record] = WeakSet()


def start_record(lock: Lock) -> None:
    """Start the record of secrets of this context, unless it has one.

    The lock serves the threads of the run; it must be one that a thread can take twice, because a
    warning may be printed while a text is searched.
    """
    if _CURRENT.get() is None:
        record = _Record(lock)
        _CURRENT.set(record)
        _RUNS.add(record)


def in_no_run(function: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
    """Call a function outside of any run, so that it masks the secrets of all runs under way.

    For what a process prints once for all its runs: any of them may hold the error of another.
    """
    return Context().run(function, *given, **named)


def conceal(value: str) -> None:
    """Enter a secret into the record of this context, so that all functions here mask it.

    Outside of a run there is no record, and the value is not kept.
    """
    record = _CURRENT.get()
    if record is not None:
        record.add(value)


def permit(*words: str) -> None:
    """Keep names readable, such as those of datasets and hosts, though they stand in a secret."""
    record = _CURRENT.get()
    if record is not None:
        record.permit(words)


def masked(text: str) -> str:
    """Return the text with ``***`` for every known secret, for harvester's own messages.

    Any twelve characters of a secret are found, unless they are an appid, a permitted name or a
    beginning that three secrets share. Overlapping values are masked together. Truncate a text only
    afterwards, because a shorter part of a secret is not recognised.
    """
    data = text.encode("utf-8", "surrogatepass")
    safe = masked_bytes(data)
    return text if safe is data else safe.decode("utf-8", "surrogatepass")


def masked_bytes(data: bytes) -> bytes:
    """Mask as `masked` does in UTF-8, and leave all other bytes unchanged, broken ones too."""
    own = _CURRENT.get()
    records = [*_RUNS] if own is None else [own]
    parts: list[bytes] = []
    done = 0
    for span in united(span for record in records for span in record.find(data)):
        begin, end = _whole_characters(data, *span)
        parts += (data[done:begin], MASK.encode())
        done = end
    return b"".join((*parts, data[done:])) if parts else data


def _whole_characters(data: bytes, begin: int, end: int) -> Span:
    """Extend a part of a text to whole characters, because the rest must be text."""
    while begin and data[begin] & 0xC0 == 0x80:
        begin -= 1
    while end < len(data) and data[end] & 0xC0 == 0x80:
        end += 1
    return begin, end


def redacted(text: str) -> str:
    """Mask as `masked` does, and values named token, secret or ticket, for foreign texts."""
    return mask_named(masked(text))


def redacted_bytes(data: bytes) -> bytes:
    """Mask an answer as `redacted` does and leave all other bytes unchanged."""
    return redacted(data.decode(errors="surrogateescape")).encode(errors="surrogateescape")


def _bytes_of(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass").lower()

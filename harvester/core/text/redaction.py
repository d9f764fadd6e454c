"""Masking of the secrets that a run knows.

Every text that is printed, logged or recorded passes through this module. Known secrets are found
by their value: whole or in part, in upper or lower case, plain or escaped. Other secrets are found
by the name before them, as in ``access_token=…``.

The known secrets belong to the context of a run. `start_record` starts their record, each `Secret`
that is made in this context enters it, and the record ends with the context. A text that is written
outside of any run, such as the error of a thread, is searched for the secrets of all runs under
way.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextvars import Context, ContextVar
from typing import ParamSpec, TypeVar
from weakref import WeakSet

from harvester.core.text.escapes import layers
from harvester.core.text.secret_index import SecretIndex, Span, united
from harvester.core.text.secret_words import MASK, mask_named

P = ParamSpec("P")
T = TypeVar("T")

_CHUNK, _OVERLAP = 64 * 1024, 4 * 1024
"""Bytes of a text that are searched at a time, and those that are searched twice.

The overlap is longer than any piece behind escapes. In chunks, the places of the bytes behind
escapes take little memory.
"""

_HOST = re.compile(r"\Ahttps?://[^/?#@\s]+(?=[/?#]|$)", re.IGNORECASE)

_CURRENT: ContextVar[SecretIndex | None] = ContextVar("secrets of the run", default=None)
_RUNS: WeakSet[SecretIndex] = WeakSet()


def start_record() -> None:
    """Start the record of secrets of this context, unless it has one."""
    if _CURRENT.get() is None:
        record = SecretIndex()
        _CURRENT.set(record)
        _RUNS.add(record)


def in_no_run(function: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
    """Call a function outside of any run, so that it masks the secrets of all runs under way.

    For what a process prints once for all its runs: any of them may hold the error of another.
    """
    return Context().run(function, *given, **named)


def conceal(value: str) -> None:
    """Enter a secret into the record of this context, so that all functions here mask it.

    Of an address the host stays readable. Outside of a run there is no record, and the value is
    not kept.
    """
    record = _CURRENT.get()
    if record is not None:
        secret = _HOST.sub("", value).encode("utf-8", "surrogatepass").lower()
        # What looks like an escape in the value is undone with those of a text.
        for layer in layers(secret):
            record.add(layer.text)


def masked(text: str) -> str:
    """Return the text with ``***`` for every known secret, for harvester's own messages.

    Any twenty characters of a secret are found. Overlapping values are masked together. Truncate a
    text only afterwards, because a shorter part of a secret is not recognised.
    """
    data = text.encode("utf-8", "surrogatepass")
    safe = masked_bytes(data)
    return text if safe is data else safe.decode("utf-8", "surrogatepass")


def masked_bytes(data: bytes) -> bytes:
    """Mask as `masked` does in UTF-8, and leave all other bytes unchanged, broken ones too."""
    parts: list[bytes] = []
    done = 0
    for span in united(_found(data)):
        begin, end = _whole_characters(data, *span)
        parts += (data[done:begin], MASK.encode())
        done = end
    return b"".join((*parts, data[done:])) if parts else data


def _found(data: bytes) -> Iterator[Span]:
    """Yield where known secrets are in a text, as it is or behind escapes; they may overlap."""
    own = _CURRENT.get()
    records = [*_RUNS] if own is None else [own]
    for start in range(0, max(1, len(data) - _OVERLAP), _CHUNK - _OVERLAP) if records else ():
        for text, places in layers(data[start : start + _CHUNK].lower()):
            for begin, end in (span for record in records for span in record.find(text)):
                yield start + places[begin], start + places[end]


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

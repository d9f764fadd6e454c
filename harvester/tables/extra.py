"""Undeclared members of a row, as the text that ``_extra`` has."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from harvester.core.text.redaction import masked

_ESCAPED = json.JSONEncoder(allow_nan=False, separators=(",", ":"), sort_keys=True)
_READABLE = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True
)

MAX_BYTES = 64 << 10
"""Maximum length of what is kept of a row's undeclared members."""

_LITTLE_BYTES = 1 << 10


def extra_text(members: dict[str, Any]) -> str:
    """Return members as compact sorted JSON, escaped only if UTF-8 cannot encode it otherwise.

    Secrets are masked. Raises ValueError for NaN and infinity, RecursionError for members nested
    too deeply.
    """
    return _encoded(_without_secrets(members)).decode()


def bounded_text(members: dict[str, Any]) -> tuple[str, int]:
    """Return the text of the members that fit into MAX_BYTES, in the order of their names.

    The number is the length of all members in bytes if they do not fit, else 0. Raises as
    `extra_text` does.
    """
    # The length comes first, because masking takes a hundred times as long as encoding.
    length = len(_encoded(members))
    if length <= MAX_BYTES:
        return extra_text(members), 0
    return extra_text(dict(_fitting(members))), length


def _fitting(members: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the members that fit, until little room is left: there may be a million."""
    room = MAX_BYTES - len("{}")
    for name in sorted(members):
        # Escapes only lengthen a text, so what fits with them fits without.
        length = len(_ESCAPED.encode({name: members[name]})) - len("{}") + len(",")
        if length <= room:
            yield name, members[name]
            room -= length
        if room < _LITTLE_BYTES:
            return


def _encoded(members: dict[str, Any]) -> bytes:
    try:
        return _READABLE.encode(members).encode()
    except UnicodeEncodeError:
        return _ESCAPED.encode(members).encode()


def _without_secrets(value: Any) -> Any:
    """Return a value of JSON with its texts masked, because a server may echo a token in a row."""
    match value:
        case str():
            return masked(value)
        case dict():
            return {masked(name): _without_secrets(inner) for name, inner in value.items()}
        case list():
            return [_without_secrets(inner) for inner in value]
        case _:
            return value

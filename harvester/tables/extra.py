"""Undeclared members of a row, as the text that ``_extra`` has."""

from __future__ import annotations

import json
from typing import Any

from harvester.core.text.redaction import masked
from harvester.tables.columns import is_utf8_encodable
from harvester.tables.record_layout import Members

_ESCAPED = json.JSONEncoder(allow_nan=False, separators=(",", ":"), sort_keys=True)
_READABLE = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True
)


def extra_text(members: Members) -> str:
    """Return members as compact sorted JSON, escaped only if UTF-8 cannot encode it otherwise.

    Secrets are masked. Raises ValueError for NaN and infinity, RecursionError for members nested
    too deeply.
    """
    shown = _without_secrets(members)
    text = _READABLE.encode(shown)
    return text if is_utf8_encodable(text) else _ESCAPED.encode(shown)


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

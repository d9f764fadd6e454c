"""Shapes of answers: the paths of their members and their types, without a value."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

from harvester.core.text.inert_text import inert

MAX_PATHS = 200
"""Most members of an answer that are shown."""

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_WORD = re.compile(r"\S*\d\S{4,}|\S{24,}")
"""A word that may be an address, an id or a part of a secret."""


def shape_of(body: bytes) -> dict[str, dict[str, int]] | None:
    """Return the types of each member of a JSON answer with their numbers, None if it is none."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    found: dict[str, Counter[str]] = {}
    _look(value, "", found)
    shown = sorted(found.items())[:MAX_PATHS]
    return {inert(path): dict(sorted(types.items())) for path, types in shown}


def _look(value: Any, path: str, found: dict[str, Counter[str]]) -> None:
    found.setdefault(path or ".", Counter())[_type_of(value)] += 1
    if isinstance(value, dict):
        for name, inner in value.items():
            _look(inner, f"{path}.{str(name)[:60]}", found)
    elif isinstance(value, list):
        for inner in value:
            _look(inner, f"{path}[]", found)


def _type_of(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return "date" if _DAY.fullmatch(value) else "text" if value else "empty text"
        case _:
            return "list" if isinstance(value, list) else "object"


def without_ids(message: str) -> str:
    """Return an error message of WeChat without request ids, addresses and the like."""
    return inert(_WORD.sub("…", message))

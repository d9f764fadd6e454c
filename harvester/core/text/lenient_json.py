"""A JSON parser that tolerates control characters, broken UTF-8 and lone surrogates."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import orjson

from harvester.core.errors import BadAnswer


class Parsed(NamedTuple):
    """A JSON document. ``flaw`` is the reason why strict JSON refuses it; empty if it is valid."""

    value: Any
    flaw: str


def parse(body: bytes) -> Parsed:
    """Parse a body as JSON, tolerating the flaws that WeChat is known to send.

    Control characters in texts are kept, broken UTF-8 and lone surrogates are replaced, NaN and
    numbers beyond a double become floats; each of these is a flaw. Raises BadAnswer if the body is
    not one complete JSON document.
    """
    try:
        return Parsed(orjson.loads(body), "")
    except orjson.JSONDecodeError as error:
        # Only the message is kept, because the exception holds the whole body.
        why = error.msg
    return _parse_leniently(body, why)


def is_document(body: bytes) -> bool:
    """Return whether a body is one complete JSON document, flaws tolerated."""
    try:
        parse(body)
    except BadAnswer:
        return False
    return True


def _parse_leniently(body: bytes, why: str) -> Parsed:
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        text, why = body.decode("utf-8-sig", "replace"), "broken UTF-8"
    try:
        encoded = json.dumps(json.loads(text, strict=False), ensure_ascii=False)
    except (ValueError, RecursionError):
        encoded = ""
    if not encoded:
        # Raised outside of the handler, because the exception above holds the body.
        raise BadAnswer(_describe_non_json(body))
    # Encode and parse again, because a lone surrogate cannot be written to a file.
    return Parsed(json.loads(encoded.encode("utf-8", "replace")), why)


def _describe_non_json(body: bytes) -> str:
    if not body.strip():
        return "an empty body instead of JSON"
    if body.lstrip()[:1] == b"<":
        return f"HTML instead of JSON, {len(body)} bytes"
    return f"not one whole JSON document, {len(body)} bytes"

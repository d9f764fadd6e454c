"""JSON as WeChat sends it: control characters, broken UTF-8 and lone surrogates are forgiven."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import orjson

from harvester.core.errors import BadAnswer


class Parsed(NamedTuple):
    """A JSON document, and the ``flaw`` for which strict JSON refused it; empty if it did not."""

    value: Any
    flaw: str


def parse(body: bytes) -> Parsed:
    """Read a body as JSON, forgiving what WeChat is known to send.

    Control characters in texts are kept, broken UTF-8 and lone surrogates are replaced, NaN and
    numbers beyond a double become floats, and each of them is a flaw. Raises BadAnswer if the body
    is not one whole JSON document.
    """
    try:
        return Parsed(orjson.loads(body), "")
    except orjson.JSONDecodeError as error:
        # Only its words are kept: the exception itself holds the whole body.
        why = error.msg
    return _parse_leniently(body, why)


def is_document(body: bytes) -> bool:
    """Whether a body is one whole JSON document, flaws forgiven."""
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
        raise BadAnswer(_no_json(body))
    # There and back once more, since a lone surrogate is a text that nobody can write to a file.
    return Parsed(json.loads(encoded.encode("utf-8", "replace")), why)


def _no_json(body: bytes) -> str:
    if not body.strip():
        return "an empty body instead of JSON"
    if body.lstrip()[:1] == b"<":
        return f"HTML instead of JSON, {len(body)} bytes"
    return f"not one whole JSON document, {len(body)} bytes"

"""Encodes data calls and decides whether an answer is rows or a refusal.

Answers are judged by their bytes alone, because WeChat sends JSON as ``text/plain``, errors with
HTTP 200, and sometimes control characters or broken UTF-8 inside a text. An answer must be one
complete JSON document, because an HTTP client may report a truncated body as a success.

No error repeats text of an answer, except its errmsg, which is made safe first.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from harvester.core.calendar import Day, day_text
from harvester.core.contradictions import failure_in
from harvester.core.errors import BadAnswer, Malformed, SaidFailure
from harvester.core.model import Refusal, Window
from harvester.core.text.lenient_json import parse
from harvester.core.text.safe_text import safe_text

PERMANENT_STATUS = frozenset({404, 412})
"""HTTP errors for a wrong path (404) and for a body without Content-Length (412).

They are refusals like an errcode, because repeating cannot help. All others are temporary.
"""

_MAX_ERRCODE = 10**9
"""Maximum errcode. WeChat's have at most seven digits; a longer number may be part of a secret."""

_REQUEST_ID = re.compile(
    r"\s*(?:rid: ?([0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{1,8})|hint: ?\[([A-Za-z0-9_.~@!-]{1,64})\])\s*$"
)


_REF_DATE = b'"ref_date"'
_DATED = re.compile(rb'"ref_date"\s*:\s*"(\d{4}-\d\d-\d\d)"')


# Cached, because all accounts of a run are asked for the same days.
@lru_cache(maxsize=4_096)
def days_body(begin: Day, end: Day) -> bytes:
    """Return the body that asks a datacube endpoint for a window of these days."""
    return f'{{"begin_date":"{day_text(begin)}","end_date":"{day_text(end)}"}}'.encode()


def refusal_of(status: int, body: bytes) -> Refusal | None:
    """Return WeChat's refusal of a data call; None if the answer is a list of rows.

    Raises Malformed for JSON that is neither (``{}``, a ``list`` that is null, an ``errmsg``
    without ``errcode``), SaidFailure for an empty list beside an ``errmsg`` that is not "ok", and
    BadAnswer for anything else, such as HTML or another HTTP status.
    """
    # Not parsed here, because the transport has checked that the body is complete, and rows are
    # parsed when they are published; what cannot be parsed then is quarantined.
    if status == 200 and _looks_like_rows(body):
        return None
    answer = members_of(status, body)
    if isinstance(answer, Refusal):
        return answer
    rows = answer.get("list")
    if not isinstance(rows, list):
        raise Malformed("the answer has neither a list nor an errcode")
    if not rows and (name := failure_in(answer)) is not None:
        # Without its rid, which would make each answer a cause of its own.
        raise SaidFailure(f"no rows, and an errmsg: {_refusal(0, answer[name]).errmsg}")
    return None


def answers_another_window(window: Window, body: bytes) -> bool:
    """Return whether the first and the last row of an answer are of days outside of its window.

    Such an answer was given to another request of the account. A few stray rows are no sign.
    """
    first = body.find(_REF_DATE)
    # Most answers begin with a row of the window's last day, or of its only one.
    if body.startswith(day_text(window.end).encode(), first + len(_REF_DATE) + 2):
        return False
    return _is_outside(window, body, first) and _is_outside(window, body, body.rfind(_REF_DATE))


def _is_outside(window: Window, body: bytes, at: int) -> bool:
    found = _DATED.match(body, at) if at >= 0 else None
    if found is None:
        return False
    return not day_text(window.begin) <= found[1].decode() <= day_text(window.end)


def _looks_like_rows(body: bytes) -> bool:
    if not (body.startswith(b'{"list":[') and body.endswith(b"]}")):
        return False
    # With a single closing bracket, the list is the answer's only member.
    return body.find(b"]") == len(body) - 2 or (
        body.count(b'"list"') == 1 and b'"errcode"' not in body
    )


def members_of(status: int, body: bytes) -> dict[str, Any] | Refusal:
    """Return an answer's members, or WeChat's refusal. Raises BadAnswer."""
    if status in PERMANENT_STATUS:
        return Refusal(status, f"HTTP {status}", "")
    if status != 200:
        raise BadAnswer(f"HTTP {status}")
    answer = parse(body).value
    if not isinstance(answer, dict):
        raise Malformed("the answer is JSON, but not an object")
    code = answer.get("errcode")
    if code is None:
        return answer
    errcode = whole_number(code)
    if errcode is None or abs(errcode) > _MAX_ERRCODE:
        raise Malformed("the errcode is not a number")
    return _refusal(errcode, answer.get("errmsg")) if errcode else answer


def _refusal(errcode: int, errmsg: object) -> Refusal:
    message = errmsg if isinstance(errmsg, str) else ""
    tail = _REQUEST_ID.search(message[-120:])
    if tail is None:
        return Refusal(errcode, safe_text(message), "")
    rid = safe_text(tail[1] or tail[2])
    return Refusal(errcode, safe_text(message[: len(message) - len(tail[0])]), rid)


def whole_number(value: object) -> int | None:
    """Read an integer, also as a text or a float; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = int(value)
    except (ValueError, OverflowError):
        return None
    return number if isinstance(value, str) or number == value else None
